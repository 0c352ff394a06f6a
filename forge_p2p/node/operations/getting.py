"""Operation: get. A link's content, wherever it is, becomes files at the destination.

    listing -> plan (what is right already?) -> wants, small files first -> store and files -> commit -> in place

The store commits before the destination is put in place, so that whoever sees the result can share it on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forge_p2p.content import walk
from forge_p2p.content.link import Kind, Root
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.content.pathtext import path_bytes
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.errors import CorruptChunk, ForgeError, NotFound
from forge_p2p.node.acquainted import Acquainted
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.results import GetResult, Progress
from forge_p2p.node.sources import Sources
from forge_p2p.node.target import parse_target
from forge_p2p.store.base import Keep
from forge_p2p.workspace.blob import plan_file
from forge_p2p.workspace.ledger import Outcome
from forge_p2p.workspace.plan import Check, RestorePlan, plan_restore
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.scan import Scan, find_restored

if TYPE_CHECKING:
    from forge_p2p.node.fetch.fetching import Fetching
    from forge_p2p.node.fetch.receiving import Counts
    from forge_p2p.node.network import Network

PROBLEMS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Options:
    """How a destination is compared and written. `check`: every file there is read and compared, whatever its times
    say. `outside_links`: symlinks that could lead out of the destination are made too. `beforehand`: called in a worker
    thread with all that the snapshot holds, before the destination is looked at."""

    check: bool = False
    outside_links: bool = False
    beforehand: Callable[[Sequence[Entry]], object] = lambda entries: None


def already_there(
    node: LocalNode,
    *,
    what: str,
    destination: str,
    peers: Sequence[str] = (),
    in_network: str = "",
    report: Report,
    **options: Any,
) -> GetResult | None:
    """The result when the destination holds the content already and nothing has to be fetched; else `None`."""
    started = time.monotonic()
    target = parse_target(what, peers, in_network)
    wanted = Options(**options)
    report(Progress("scan"))
    if not wanted.check:
        found = find_restored(path_bytes(destination), target.root, node.stat_cache, node.look)
        if found is not None:
            return _unchanged(target.root, destination, found, started)
    try:
        entries = listing_here(node, target.root)
    except (NotFound, CorruptChunk):
        return None
    plan = plan_destination(node, target.root, entries, destination, wanted)
    if plan.write:
        plan.close()
        return None
    with RestoreWriter(plan, node.stat_cache) as writer:
        outcome = writer.finish()
    return _result(target.root, destination, plan.entries, outcome, started)


async def get(
    network: "Network",
    *,
    what: str,
    destination: str,
    peers: Sequence[str] = (),
    in_network: str = "",
    previous: str = "",
    edge_only: bool = False,
    report: Report,
    **options: Any,
) -> GetResult:
    """Fetches what is missing and restores everything. `in_network`: where to look for a link, by name; everywhere when
    empty. `previous`: a link to what is here and much like it, and which whoever is asked may know of; when empty, what
    was restored at the destination, as far as they know of it anyway. `edge_only`: from the bucket alone. `options`:
    see `Options`. Raises `UsageError`, `HostileSnapshot`, `NotFound`, `PeerError`, `Refused`, `DiskError`, `DiskFull`;
    whatever arrived before stays in the store for the next run."""
    import trio

    from forge_p2p.node.fetch.fetching import fetching
    from forge_p2p.node.fetch.restoring import Restoring

    started = time.monotonic()
    target = parse_target(what, peers, in_network)
    earlier = parse_link(previous) if previous else None
    report(Progress("connect"))
    async with fetching(network, target, edge_only=edge_only) as fetch:
        restoring = Restoring(fetch, target.root, destination, Options(**options), report, earlier)
        try:
            counts = await fetch.run(restoring.produce, restoring.progress)
            report(Progress("restore"))
            await fetch.commit()
            await trio.to_thread.run_sync(keep_cached, network.node, target.root)
            await fetch.keep()
            if counts.fetched:
                await trio.to_thread.run_sync(Sources(network.node.home).remember, target.root, what)
                await trio.to_thread.run_sync(Acquainted(network.node.home).remember, target.root, fetch.knowing())
                await trio.to_thread.run_sync(fetch.remember, "complete")
            outcome = await trio.to_thread.run_sync(restoring.finish)
        finally:
            restoring.close()
        return _result(target.root, destination, restoring.entries, outcome, started, counts, fetch)


def listing_here(node: LocalNode, root: Root) -> list[Entry]:
    """What a tree holds, from the store; nothing for a blob. Raises `NotFound` unless the whole listing is here."""
    if root.kind is Kind.BLOB:
        return []
    return [entry for page in walk.entries(root.link, node.store.read) for entry in page]


def is_whole(node: LocalNode, root: Root) -> bool:
    """Whether the store has everything that a root needs. Blocks."""
    try:
        return not node.store.missing(walk.reach(root, node.store.read))
    except (NotFound, CorruptChunk):
        return False


def plan_destination(
    node: LocalNode, root: Root, entries: Sequence[Entry], destination: str, options: Options
) -> RestorePlan:
    """What has to be written at `destination`. Raises as `plan_restore` and `plan_file`."""
    path = path_bytes(destination)
    how = Check.CONTENT if options.check else Check.CACHE
    if root.kind is Kind.BLOB:
        return plan_file(path, root, node.stat_cache, check=how)
    return plan_restore(path, root, entries, node.stat_cache, check=how, outside_links=options.outside_links)


def keep_cached(node: LocalNode, root: Root) -> None:
    """Keeps what was fetched for others and for the next time, until the room is needed."""
    node.store.pin(f"get/{format_link(root)}", root, Keep.CACHED)


def _unchanged(root: Root, destination: str, found: Scan, started: float) -> GetResult:
    sizes = [item.size for item in found.items if item.is_file]
    return GetResult(
        link=format_link(root),
        destination=destination,
        files=len(sizes),
        unchanged=len(sizes),
        bytes=sum(sizes),
        fetched_bytes=0,
        wire_sent=0,
        wire_received=0,
        seconds=time.monotonic() - started,
        problems=[],
        peer="",
    )


def _result(
    root: Root,
    destination: str,
    entries: Sequence[Entry],
    outcome: Outcome,
    started: float,
    counts: "Counts | None" = None,
    fetch: "Fetching | None" = None,
) -> GetResult:
    files = [entry for entry in entries if entry.kind == EntryKind.FILE]
    if not counts and outcome.failures and not outcome.written and not outcome.unchanged:
        raise ForgeError(f"nothing could be restored: {outcome.failures[0]}")
    sent, received = fetch.wire() if fetch else (0, 0)
    sources = [each for each in fetch.sources() if each.fetched] if fetch else []
    return GetResult(
        link=format_link(root),
        destination=destination,
        files=len(files),
        unchanged=outcome.unchanged,
        bytes=sum(entry.size for entry in files),
        fetched_bytes=counts.fetched if counts else 0,
        wire_sent=sent,
        wire_received=received,
        seconds=time.monotonic() - started,
        problems=[str(failure) for failure in outcome.failures[:PROBLEMS_SHOWN]],
        peer=fetch.who() if fetch else "",
        sources=sources,
    )
