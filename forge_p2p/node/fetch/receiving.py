"""A fetch, driven: wants to peers, arrivals to the placer, back-pressure from the disk to the network.

    produce --want()--> Swarm --requests--> sessions --chunks--> inbox --> store --> ready --> place --credit--> Swarm

The window of `Swarm` is the only bound that is needed: what is asked for or in the inbox or in a writer's hands is
never more than it, whatever peers do, because sessions drop what was not asked for.

Whoever finds peers adds and removes them: `sourcing` the one of a ticket, `swarming` the members of a network.
"""

import logging
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import trio

from forge_p2p.content.align import Pair
from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.content.summary import HeardSummary
from forge_p2p.errors import CorruptChunk, PeerError
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.fetch.hope import Hope
from forge_p2p.node.fetch.intake import PACE, PLACERS, STORE_BYTES_EDGE, Intake, Waiting
from forge_p2p.node.fetch.likely import Hearsay
from forge_p2p.node.fetch.placing import Destination, NodeTarget, Placer, Raw, Slot
from forge_p2p.node.fetch.resolving import Resolving
from forge_p2p.node.groups import unwrapped
from forge_p2p.node.sessions.handlers import ChunkSource
from forge_p2p.node.until import Until
from forge_p2p.proto.swarm import Distance, Item, PeerStatistics, Request, Swarm, SwarmLimits
from forge_p2p.proto.timers import TokenBucket
from forge_p2p.store.base import Ingest
from forge_p2p.wire.codes import Code

LOG = logging.getLogger("forge")

TELL_INTERVAL = 0.1
"""Seconds between two reports of progress: one may cost as much as placing a chunk."""

Wanted = tuple[Hash, int, Slot]
Feed = Callable[["Receiver"], Awaitable[None]]


@dataclass(slots=True)
class Counts:
    """Bytes of raw content that came from peers, and bytes in place."""

    fetched: int = 0
    placed: int = 0


class Receiver:
    """One fetch. `run` returns when all that `produce` wanted is in place. `on_stored` is told, batch by batch, of
    chunks that are in the store, verified, those that were there before included. `grace`: see `Hope`. `downlink`: how
    fast content may come in."""

    def __init__(
        self,
        placer: Placer,
        ingest: Ingest,
        on_placed: Callable[[Counts], None],
        *,
        on_stored: Callable[[Sequence[Hash]], None] = lambda chunks: None,
        grace: float = 0.0,
        downlink: TokenBucket | None = None,
    ) -> None:
        self.counts = Counts()
        self.progressed = False
        """Something was stored since this was last reset."""
        self._placer = placer
        self._ingest = ingest
        self._on_placed = on_placed
        self._on_stored = on_stored
        self._told_at = -math.inf
        self._downlink = downlink
        self._swarm = Swarm(random.Random(), SwarmLimits() if downlink is None else SwarmLimits.within(downlink.rate))
        self._hope = Hope(self._swarm, grace)
        self._hearsay = Hearsay(self._swarm)
        self._distrusted: set[NodeId] = set()
        self._waiting: dict[Hash, Waiting] = {}
        self._intake = Intake(placer, self._waiting, self)
        self._until = Until()
        self._pump_wanted = trio.Event()
        self._bases = placer.bases()
        self._resolving = Resolving(self._bases, self)

    async def run(self, feed: Feed, produce: Callable[["Receiver"], Awaitable[None]]) -> None:
        """`feed` adds and removes sources until cancelled, and raises when there is no hope for any. `produce` calls
        `want` and `taken`. Raises what they raise, `NotFound`, `DiskError`."""
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(feed, self)
                nursery.start_soon(self._pump)
                nursery.start_soon(self._resolving.run)
                nursery.start_soon(self._intake.store)
                for _ in range(PLACERS):
                    nursery.start_soon(self._intake.place)
                await produce(self)
                await self._until.true(lambda: not self._waiting and self._intake.idle and self._swarm.idle)
                nursery.cancel_scope.cancel()
        self._on_placed(self.counts)

    # Sources; called by `feed`, synchronously.

    def add_source(
        self,
        session: ChunkSource,
        *,
        distance: Distance = Distance.OTHER,
        complete: bool = True,
        origin: bool = False,
    ) -> None:
        """A peer may be asked: for everything if it is `complete`, else for what `holds` tells. An `origin` is spared.
        One that has sent wrong bytes is not asked again, whatever session it comes in."""
        if session.peer_id is not None and session.peer_id in self._distrusted:
            return
        now = trio.current_time()
        self._swarm.add_peer(session, now, distance=distance, complete=complete, origin=origin)
        if distance is Distance.EDGE:
            self._intake.store_bytes = STORE_BYTES_EDGE
        self._pump_wanted.set()

    def holds(self, session: ChunkSource, prefixes: Sequence[int]) -> None:
        """A peer has these chunks: the first 64 bits of each hash."""
        self._swarm.holds(session, prefixes, trio.current_time())
        self._pump_wanted.set()

    def completed(self, session: ChunkSource, *, origin: bool) -> None:
        """A peer has everything now."""
        self._swarm.completed(session, trio.current_time(), origin=origin)
        self._pump_wanted.set()

    def may_have(self, session: ChunkSource, summary: HeardSummary, distance: Distance) -> None:
        """A peer seems to have what its summary names."""
        if session.peer_id not in self._distrusted:
            self._hearsay.add(session, summary, distance)
            self._pump_wanted.set()

    def lacks_bases(self, session: ChunkSource) -> None:
        """A peer does not have the version that bases are of."""
        self._bases.lacks(session)

    def hides_bases(self, session: ChunkSource) -> None:
        """A peer is not to learn of the version that bases are of."""
        self._bases.hide_from(session)

    def remove_source(self, session: ChunkSource, reason: str) -> None:
        """A peer is not to be asked any more; `reason` is for `statistics`."""
        self._hearsay.remove(session)
        self._swarm.remove_peer(session, reason, trio.current_time())
        self._pump_wanted.set()

    async def needed(self) -> None:
        """Returns when there is something to fetch."""
        await self.much_wanted(1)

    async def much_wanted(self, least: int) -> int:
        """Returns when so many raw bytes are to be fetched, and how many."""
        await self._until.true(lambda: self._swarm.pending_bytes >= least)
        return self._swarm.pending_bytes

    def statistics(self) -> list[PeerStatistics]:
        """What came from which session, and why some are avoided; those that are gone too. `peer` is the session."""
        return self._swarm.statistics()

    # Wants; called by `produce`.

    async def want(self, wanted: Sequence[Wanted], urgent: bool = False) -> None:
        """Puts in place what is stored already and fetches the rest, returning as soon as it is queued. One caller at a
        time, so that nothing gets on its way between the look at the store and the offer."""
        ask = [chunk for chunk, _, _ in wanted if chunk not in self._waiting]
        missing = set(await trio.to_thread.run_sync(self._ingest.missing, ask)) if ask else set()
        present: list[Wanted] = []
        items: list[Item] = []
        for chunk, size, slot in wanted:
            waiting = self._waiting.get(chunk)
            if waiting is not None:
                waiting.slots.append(slot)
            elif chunk in missing:
                item = Item(chunk, size)
                self._waiting[chunk] = Waiting(item, urgent, [slot])
                items.append(item)
            else:
                present.append((chunk, size, slot))
        if present:
            self._on_stored([chunk for chunk, _, _ in present])
        await self._place_stored(present)
        await self._offer(items, urgent)

    def restore_to(self, destination: Destination) -> None:
        """Where files go from now on."""
        self._placer.destination = destination

    def pair(self, pairs: Iterable[Pair]) -> None:
        """Chunks that may be wanted, each with one that may be here and much like it."""
        self._bases.pair(pairs)

    async def taken(self, target: NodeTarget) -> Raw:
        """The content of a chunk wanted into `target`, once it is there."""
        await self._until.true(lambda: target.content is not None)
        content, target.content = target.content, None
        assert content is not None
        return content

    async def _place_stored(self, present: Sequence[Wanted]) -> None:
        """Places what the store has. What it turns out not to have, or not whole, is fetched after all."""
        if not present:
            return
        lost = await trio.to_thread.run_sync(self._placer.place_stored, present)
        again = []
        for chunk, size, slot in lost:
            if chunk in self._waiting:
                self._waiting[chunk].slots.append(slot)
            else:
                again.append(Item(chunk, size))
                self._waiting[chunk] = Waiting(again[-1], True, [slot])
        await self._offer(again, urgent=True)
        placed = sum(size for _, size, slot in present if not isinstance(slot.target, NodeTarget))
        self._placed(placed - sum(size for _, size, _ in lost))
        self._until.changed()

    async def _offer(self, items: list[Item], urgent: bool) -> None:
        if not items:
            return
        if not urgent:
            await self._until.true(lambda: self._swarm.room >= len(items))
        self._swarm.offer(items, urgent)
        self._hearsay.offered(items)
        self._pump_wanted.set()
        self._until.changed()

    # Called by sessions, synchronously, from their receive loops.

    def chunks(self, session: ChunkSource, number: int, chunks: Sequence[tuple[int, EncodedChunk]]) -> None:
        """Chunks of request `number` arrived."""
        fresh = self._swarm.received(number, [index for index, _ in chunks], trio.current_time())
        if len(fresh) < len(chunks):
            wanted = set(fresh)
            chunks = [each for each in chunks if each[0] in wanted]
        if chunks:
            if self._downlink is not None:
                self._downlink.take(sum([len(chunk.data) for _, chunk in chunks]), trio.current_time())
            self._intake.gathers = self._swarm.piecemeal
            self._intake.arrived(session, chunks)

    def deltas(self, session: ChunkSource, number: int, deltas: Sequence[tuple[int, DeltaChunk]]) -> None:
        """As `chunks`."""
        fresh = set(self._swarm.received(number, [index for index, _ in deltas], trio.current_time()))
        if self._downlink is not None:
            self._downlink.take(sum([len(delta.data) for _, delta in deltas]), trio.current_time())
        self._resolving.arrived(session, [delta for index, delta in deltas if index in fresh])

    def baseless(self, session: ChunkSource, number: int, indexes: Sequence[int]) -> None:
        """The peer has these of request `number`, and not the bases: it is asked again, with signatures."""
        self._bases.lacks(session)
        self._swarm.declined(number, indexes)
        self._pump_wanted.set()

    def missing(self, number: int, indexes: Sequence[int]) -> None:
        """The peer lacks these of request `number`."""
        self._swarm.missing(number, indexes)
        self._pump_wanted.set()

    def ended(self, number: int, code: Code) -> None:
        """Request `number` is over, well or not."""
        self._swarm.ended(number, code, trio.current_time())
        self._pump_wanted.set()

    # Tasks

    async def _pump(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await self._pump_due()
                if self._downlink is not None:
                    await trio.sleep(self._downlink.debt(trio.current_time()))
                if self._swarm.piecemeal:
                    await trio.sleep(PACE)
                self._pump_wanted = trio.Event()
                now = trio.current_time()
                self._swarm.handle_timeout(now)
                by_session: dict[ChunkSource, list[Request]] = {}
                for request in self._swarm.next_requests(now):
                    by_session.setdefault(_session(request.peer), []).append(request)
                for session, requests in by_session.items():
                    if self._swarm.peers > 1:
                        nursery.start_soon(self._send, session, requests)  # a peer that reads nothing holds up no other
                    else:
                        await self._send(session, requests)
                for peer, number in self._swarm.take_given_up():
                    _session(peer).give_up(number)
                self._hope.check(now)
                self._until.changed()

    async def _pump_due(self) -> None:
        if self._pump_wanted.is_set():
            await trio.lowlevel.checkpoint()
            return
        due = self._swarm.next_deadline()
        with trio.move_on_at(min(math.inf if due is None else due, self._hope.ends_at)):
            await self._pump_wanted.wait()

    async def _send(self, session: ChunkSource, requests: Sequence[Request]) -> None:
        for request in requests:
            hashes = [item.hash for item in request.items]
            # Who never heard of this content is not told of the earlier version either.
            hints = None if self._swarm.is_likely(session) else await self._bases.hints(session, request.items)
            if hints is not None and not self._swarm.under_way(request.number):
                continue  # it was given up while the bases were looked for
            try:
                await session.request(
                    request.number,
                    hashes,
                    request.urgent,
                    self,
                    max_bytes=request.max_bytes,
                    sparing=request.sparing,
                    hints=hints,
                )
            except PeerError as error:
                self._swarm.ended(request.number, Code.GONE, trio.current_time())
                if session.ended.is_set():
                    self.remove_source(session, error.message)

    # What becomes of what arrives; called by the intake.

    def stored(self, chunks: Sequence[EncodedChunk], waiting: Sequence[Waiting]) -> None:
        self._swarm.stored(sum([each.item.size for each in waiting]))
        self.counts.fetched += sum([chunk.size for chunk in chunks])
        self.progressed = True
        self._on_stored([chunk.hash for chunk in chunks])
        self._pump_wanted.set()
        self._until.changed()

    def placed(self, waiting: Sequence[Waiting], contents: Sequence[tuple[Slot, Raw]]) -> None:
        self._swarm.written(sum([each.item.size for each in waiting]))
        self._placed(sum(len(content) for slot, content in contents if not isinstance(slot.target, NodeTarget)))
        self._pump_wanted.set()
        self._until.changed()

    def corrupt(self, session: ChunkSource, chunks: Sequence[EncodedChunk], error: CorruptChunk) -> None:
        """The peer is left for good; what it sent is asked of others."""
        reason = PeerError(f"the peer at {session.where} sent wrong bytes: {error.message}")
        session.blame(reason)
        if session.peer_id is not None:
            self._distrusted.add(session.peer_id)
        self.remove_source(session, reason.message)
        self._offer_again([chunk.hash for chunk in chunks])

    def resolved(self, session: ChunkSource, chunks: Sequence[EncodedChunk]) -> None:
        self._intake.arrived(session, [(0, chunk) for chunk in chunks])

    def unresolved(self, session: ChunkSource, chunks: Sequence[Hash], error: CorruptChunk | None) -> None:
        """Who sent a wrong delta is asked for whole chunks from now on: if these are wrong too, it is left."""
        self._bases.drop(chunks)
        if error is not None and session.peer_id is not None:
            LOG.warning("%s sent a wrong delta and is asked for none any more: %s", session.where, error.message)
            self._bases.poisoners.add(session.peer_id)
        self._offer_again(chunks)

    def _offer_again(self, chunks: Sequence[Hash]) -> None:
        for chunk in chunks:
            waiting = self._waiting[chunk]
            self._swarm.stored(waiting.item.size)
            self._swarm.written(waiting.item.size)
            self._swarm.offer([waiting.item], waiting.urgent)
        self._pump_wanted.set()
        self._until.changed()

    def _placed(self, size: int) -> None:
        self.counts.placed += size
        now = trio.current_time()
        if now >= self._told_at + TELL_INTERVAL:
            self._told_at = now
            self._on_placed(self.counts)


def _session(peer: object) -> ChunkSource:
    return cast("ChunkSource", peer)
