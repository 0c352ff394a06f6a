"""Operation: edge restore. A node made again from its bucket: the records of names, and all that is kept there.

    records there ─▶ those that hold and are undisputed ─▶ refs.lmdb ─▶ content of every pin ─▶ pinned here

It can be cut at any moment and begun again: records are put if absent, content that is here is not fetched. What one
name or pin lacks is told, and holds up no other.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from forge_p2p.bucket.mirrors import Mirrors
from forge_p2p.content.catalogue import PinEntry, State
from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.content.ref import BadRef, RefRecord, written_seq
from forge_p2p.content.refname import fault_of
from forge_p2p.errors import BucketError, CorruptChunk, Malformed, NotFound, PeerError, UsageError
from forge_p2p.ids import NetworkId
from forge_p2p.node.edge.checking import Checker
from forge_p2p.node.edge.naming import named_here
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.edge.results import EdgeRestore, RestoredName
from forge_p2p.node.fetch.prefetching import prefetch
from forge_p2p.node.local import Report
from forge_p2p.node.operations.adding import keep_added
from forge_p2p.node.operations.getting import is_whole
from forge_p2p.node.refs.retention import pin_target
from forge_p2p.node.results import Progress
from forge_p2p.proto.reassembly import reassembled
from forge_p2p.wire.messages import printable

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.membership.networks import Joined
    from forge_p2p.node.network import Network

SHOWN: Final = 100
"""Lines told of what is wrong; a bucket may hold any amount of it."""


async def restore(
    network: "Network", *, expected: Sequence[str] = (), follows: Mapping[str, int] | None = None, report: Report
) -> EdgeRestore:
    """Makes this node what its bucket knows. `expected`: names that should be there, as a person writes them.
    `follows`: those that will be followed, and how many versions of each stay, so that none is let go before. Raises
    `UsageError` without a bucket, `NotFound` for one that is empty, `BucketError` when it cannot be asked,
    `DiskFull`."""
    started = time.monotonic()
    edge = await trio.to_thread.run_sync(lambda: network.node.edge)
    members = await network.members()
    state = await trio.to_thread.run_sync(edge.catalogue.refresh)
    recovery = Recovery(network, members, edge)
    report(Progress("restore"))
    for joined in members.memberships.joined():
        await trio.to_thread.run_sync(recovery.read_logs, joined)
    if not state.seq and not recovery.names:
        hint = "is that its address? correct it, and begin with an empty home again"
        raise NotFound(f"nothing was ever kept in {edge.where}", hint=hint)
    await trio.to_thread.run_sync(recovery.miss, expected)
    await trio.to_thread.run_sync(recovery.follow, follows or {})
    await recovery.fetch_pins(state, report)
    return EdgeRestore(
        url=edge.record.url,
        node_id=network.node.node_id.hex(),
        names=recovery.names,
        pins=recovery.pins,
        fetched_bytes=recovery.fetched_bytes,
        refused=_shown(recovery.refused),
        problems=_shown(recovery.problems),
        skipped=recovery.skipped,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pin of the bucket keeps, here. `record`: of what name it is the content, if it is one's."""

    pin: str
    root: Root
    network: NetworkId | None = None
    name: str = ""
    seq: int = 0
    record: RefRecord | None = None


@dataclass(slots=True)
class Recovery:
    """What was restored so far. `skipped`: pins of networks that this node is not in."""

    network: "Network"
    members: "Members"
    edge: Edge
    names: list[RestoredName] = field(default_factory=list)
    pins: int = 0
    fetched_bytes: int = 0
    refused: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: int = 0

    def read_logs(self, joined: "Joined") -> None:
        """The logs of one network's names, into the store of records. Blocks."""
        node, judge = self.network.node, self.members.names.book.judge(joined.network)
        for name, found, unreadable in Mirrors(self.edge.bucket, joined.network).found():
            self.refused += unreadable
            log = reassembled(judge, name, found, time.time())
            self.refused += log.refused
            if not log.records:
                continue
            before = node.refs.head(joined.network, name)
            try:
                node.refs.put_all(log.records)
            except BadRef as error:
                self.problems.append(f"{joined.name}/{name}: {error.message}")
                continue
            new = sum(1 for record in log.records if before is None or record.seq > before.seq)
            self.names.append(RestoredName(joined.name, name, log.records[-1].seq, new))

    def miss(self, expected: Sequence[str]) -> None:
        """Tells of names of which no record is here. Blocks."""
        for what in expected:
            try:
                named = named_here(self.network.node, what, "")
            except UsageError as error:
                self.problems.append(f"{what}: {error.message}")
                continue
            if self.network.node.refs.head(named.network, named.name) is None:
                self.problems.append(f"{what}: no record of it is in the bucket; was it ever mirrored?")

    def follow(self, follows: Mapping[str, int]) -> None:
        """Notes that names are followed. Blocks."""
        for what, keep in follows.items():
            with suppress(UsageError):  # of a network that this node is not in
                named = named_here(self.network.node, what, "")
                self.network.node.refs.follow(named.network, named.name, keep)

    async def fetch_pins(self, state: State, report: Report) -> None:
        """The content of every pin, pinned as it was."""
        plan = await trio.to_thread.run_sync(self._plan, state)
        broken = await trio.to_thread.run_sync(self._broken, state)
        for number, wanted in enumerate(plan):
            report(Progress("restore", items=number, items_total=len(plan)))
            await self._fetch(wanted, broken.get(wanted.pin, ""))

    def _plan(self, state: State) -> list[Wanted]:
        """What is to be fetched, of all pins. Blocks."""
        plan = []
        for pin in state.pins.values():
            try:
                wanted = self._wanted(pin)
            except Malformed as error:
                self.refused.append(f"{pin.name}: {error.message}")
                continue
            if wanted is not None:
                plan.append(wanted)
        return plan

    def _wanted(self, pin: PinEntry) -> Wanted | None:
        """`None`: it is of a network that this node is not in. Raises `Malformed` for what is no pin."""
        root = parse_pinned(pin)
        if pin.name == format_link(root):
            return Wanted(pin.name, root)
        network_text, name, seq = record_pinned(pin)
        joined = {each.network.hex(): each.network for each in self.members.memberships.joined()}
        network = joined.get(network_text)
        if network is None:
            self.skipped += 1
            return None
        record = next(iter(self.network.node.refs.range(network, name, seq, 1)), None)
        if record is None:
            self.problems.append(f"{pin.name}: record {seq} is not in the bucket; the home of the name has it")
        elif record.target != root:
            self.refused.append(f"{pin.name}: keeps something else than the record says, which counts")
            root = record.target
        return Wanted(pin.name, root, network, name, seq, record)

    def _broken(self, state: State) -> dict[str, str]:
        """The pins of which something has gone from the bucket, and what; tells the blobs that are missing. Blocks."""
        checker = Checker(self.edge, self.network.node.store, quick=True, tell=lambda done, total: None)
        checker.run()
        self.problems += checker.blob_problems()
        if any(entry.index.blob in checker.bad for entry in state.indexes.values()):
            return dict.fromkeys(state.pins, "what is where cannot be told without the index that is missing")
        return checker.broken_pins

    async def _fetch(self, wanted: Wanted, broken: str) -> None:
        """Content that is here, or in the bucket as a whole; everything is verified on its way into the store."""
        if await trio.to_thread.run_sync(is_whole, self.network.node, wanted.root):
            await trio.to_thread.run_sync(self._pin, wanted)
        elif broken:
            self.problems.append(f"{wanted.pin}: {broken}")
            return
        else:
            try:
                pin = partial(self._pin, wanted)
                counts = await prefetch(self.network, wanted.root, "", pin, edge_only=True)
            except (NotFound, CorruptChunk, PeerError, BucketError, Malformed) as error:
                self.problems.append(f"{wanted.pin}: {error.message}")
                await trio.to_thread.run_sync(self.edge.catalogue.refresh)  # unless it is the bucket as a whole
                return
            self.fetched_bytes += counts.fetched
        self.pins += 1

    def _pin(self, wanted: Wanted) -> None:
        """Keeps it, as the network's where a record says that it is. Blocks."""
        if wanted.network is None:
            keep_added(self.network.node, wanted.root)
            return
        pin_target(self.network.node, wanted.network, wanted.name, wanted.seq, wanted.root)
        if wanted.record is not None:
            self.members.holdings.keep(wanted.network, wanted.root, origin=False)


def _shown(lines: Sequence[str]) -> list[str]:
    """Lines that quote what strangers may have written."""
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [*map(printable, lines[:SHOWN]), *more]


def parse_pinned(pin: PinEntry) -> Root:
    """What a pin keeps. Raises `Malformed`."""
    try:
        return parse_link(pin.root)
    except UsageError as error:
        raise Malformed(f"{pin.root[:80]!r} is no link") from error


def record_pinned(pin: PinEntry) -> tuple[str, str, int]:
    """The network (hex), name and number that a pin of a record has. Raises `Malformed`."""
    folder, _, number = pin.name.rpartition("/")
    network, _, name = folder.partition("/")
    seq = written_seq(number)
    if fault_of(name) or not seq:
        raise Malformed("names neither a link nor a record")
    return network, name, seq
