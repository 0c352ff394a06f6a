"""Operation: edge push. What a link or a name stands for, to the bucket."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.catalogue import CatalogueRecord, State
from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link, is_link, parse_link
from forge_p2p.errors import NotFound, UsageError
from forge_p2p.node.edge.managing import status
from forge_p2p.node.edge.mirroring import mirror_log
from forge_p2p.node.edge.naming import folder_of, named_here, pinned_seqs
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.edge.results import EdgePush, EdgeStatus
from forge_p2p.node.edge.uploading import Uploaded, Uploader
from forge_p2p.node.local import Report
from forge_p2p.node.refs.retention import RETAINED, retained
from forge_p2p.node.results import Progress
from forge_p2p.store.base import Keep

if TYPE_CHECKING:
    from forge_p2p.node.network import Network


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is pushed: its root, the pin that keeps it, and the folder of pins of which only the `keep` newest stay; of
    a name the record that says so."""

    root: Root
    pin: str
    folder: str = ""
    network: str = ""
    record: bytes = b""
    keep: int = RETAINED

    def unpins(self, state: State) -> list[str]:
        """The pins of older records that go with this push."""
        if not self.folder:
            return []
        seqs = pinned_seqs(self.folder, state)
        newest = sorted({*seqs, int(self.pin.rpartition("/")[2])})[-self.keep :]
        return [f"{self.folder}{seq}" for seq in seqs if seq not in newest]


async def push(
    network: "Network", *, what: str, in_network: str = "", records: bool = False, report: Report
) -> EdgePush:
    """Uploads what the bucket lacks of a link's or a name's content. `records`: and of the name's log. Raises
    `UsageError`, `NotFound`, what `pull` does to find out what a name stands for, `BucketError`, `BucketRefused`,
    `DiskFull`."""
    started = time.monotonic()
    if records and is_link(what):
        raise UsageError("a link has no records", hint="leave --records out, or give the name")
    edge = await trio.to_thread.run_sync(lambda: network.node.edge)
    pushed, notes = await _named(network, what, in_network)
    before = replace(edge.traffic)
    try:
        done = await _upload(network, edge, pushed, report)
    except NotFound:
        if not (await network.members()).chosen(pushed.network):
            raise
        from forge_p2p.node.fetch.prefetching import prefetch

        keep = partial(network.node.store.pin, f"get/{format_link(pushed.root)}", pushed.root, Keep.CACHED)
        await prefetch(network, pushed.root, pushed.network, keep)
        done = await _upload(network, edge, pushed, report)
    copied = await trio.to_thread.run_sync(mirror_log, network.node, what, in_network) if records else 0
    return EdgePush(
        name=pushed.pin,
        link=format_link(pushed.root),
        unchanged=done.unchanged,
        chunks=done.chunks,
        new_chunks=done.new_chunks,
        bundles=done.bundles,
        objects=edge.traffic.written - before.written,
        requests=edge.traffic.requests - before.requests,
        sent=edge.traffic.sent - before.sent,
        received=edge.traffic.received - before.received,
        seconds=time.monotonic() - started,
        notes=notes,
        records=copied,
    )


async def _named(network: "Network", what: str, in_network: str) -> tuple[Pushed, list[str]]:
    if is_link(what):
        root = parse_link(what)
        return Pushed(root, format_link(root), network=in_network), []
    from forge_p2p.node.refs.naming import parse_name
    from forge_p2p.node.refs.pulling import resolve

    members = await network.members()
    named = parse_name(members.memberships.joined(), what, in_network)
    record, notes = await resolve(members, named)
    folder = folder_of(named)
    pin = f"{folder}{record.seq}"
    keep = await trio.to_thread.run_sync(retained, network.node, named.network, named.name)
    return Pushed(record.target, pin, folder, named.joined.name, record.encode(), keep), notes


async def _upload(network: "Network", edge: Edge, pushed: Pushed, report: Report) -> Uploaded:
    token = trio.lowlevel.current_trio_token()

    def tell(done: int, total: int) -> None:
        trio.from_thread.check_cancelled()
        token.run_sync_soon(report, Progress("push", items=done, items_total=total))

    uploader = Uploader(edge, network.node.store, pushed.root, pushed.pin, pushed.unpins, tell, pushed.record)
    return await trio.to_thread.run_sync(uploader.run)


async def drop(network: "Network", *, what: str, in_network: str = "", report: Report) -> EdgeStatus:
    """Keeps a link, or all that was pushed of a name, in the bucket no longer; a collection then deletes what nothing
    else needs. Raises `NotFound`, and as `push`."""
    edge = await trio.to_thread.run_sync(lambda: network.node.edge)
    folder = ""
    if not is_link(what):
        folder = folder_of(await trio.to_thread.run_sync(named_here, network.node, what, in_network))
    pin = format_link(parse_link(what)) if is_link(what) else ""

    def step(state: State) -> CatalogueRecord | None:
        unpins = [name for name in state.pins if name == pin or (folder and name.startswith(folder))]
        if not unpins:
            raise NotFound(f"{what!r} is not kept in {edge.where}", hint="forge edge status lists what is")
        return edge.catalogue.record(state, unpins=[*unpins])

    await trio.to_thread.run_sync(edge.catalogue.refresh)
    await trio.to_thread.run_sync(edge.catalogue.commit, step)
    return await trio.to_thread.run_sync(lambda: status(network.node, report=report))
