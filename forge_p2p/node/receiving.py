"""A fetch, driven: wants to peers, arrivals to the placer, back-pressure from the disk to the network.

    produce --want()--> Fetch --requests--> sessions --chunks--> inbox --> store --> ready --> place --credit--> Fetch

The window of `Fetch` is the only bound that is needed: what is asked for or in the inbox or in a writer's hands is
never more than it, whatever peers do, because sessions drop what was not asked for.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import CorruptChunk, ForgeError, NotFound, PeerError, Refused
from forge_p2p.ids import Hash
from forge_p2p.node.groups import unwrapped
from forge_p2p.node.peer import PeerSession
from forge_p2p.node.placing import Arrival, Destination, NodeTarget, Placer, Raw, Slot, check_size, group_of
from forge_p2p.proto.fetch import Fetch, Item, Request
from forge_p2p.store.base import Ingest
from forge_p2p.wire.codes import Code

STORE_BYTES = 1 * 1024 * 1024
PLACE_BYTES = 4 * 1024 * 1024
"""Most bytes in one call of a worker thread; when little has arrived, a call has little."""

RETRY_DELAY = 0.2
RETRY_DELAY_MAX = 5.0
"""Seconds between attempts to reach a peer that was there, doubled each time."""

Wanted = tuple[Hash, int, Slot]
Connect = Callable[[], Awaitable[PeerSession]]


@dataclass(slots=True)
class _Waiting:
    """A chunk that is on its way: its size as offered to the window, and who waits for it."""

    item: Item
    urgent: bool
    slots: list[Slot]


@dataclass(slots=True)
class Counts:
    """Bytes of raw content that came from peers, and bytes in place."""

    fetched: int = 0
    placed: int = 0


class Receiver:
    """One fetch. `produce` calls `want` and `node`; `run` returns when all that was wanted is in place. `patience`:
    seconds for which a peer that went away is waited for."""

    def __init__(
        self, placer: Placer, ingest: Ingest, on_placed: Callable[[Counts], None], *, patience: float = 60.0
    ) -> None:
        self.counts = Counts()
        self._placer = placer
        self._ingest = ingest
        self._on_placed = on_placed
        self._patience = patience
        self._fetch = Fetch()
        self._waiting: dict[Hash, _Waiting] = {}
        self._inbox: deque[tuple[PeerSession, EncodedChunk]] = deque()
        self._ready: deque[tuple[_Waiting, Raw]] = deque()
        self._ready_filled = trio.Event()
        self._busy = 0
        self._changed = trio.Condition()
        self._pump_wanted = trio.Event()
        self._inbox_filled = trio.Event()
        self._progressed = False

    async def run(self, connect: Connect, produce: Callable[["Receiver"], Awaitable[None]]) -> None:
        """Connects when something has to be fetched, and again when a connection is lost. Raises `NotFound`,
        `PeerError`, `Refused`, `DiskError`."""
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_connected, connect)
                nursery.start_soon(self._pump)
                nursery.start_soon(self._store)
                nursery.start_soon(self._place)
                await produce(self)
                async with self._changed:
                    while self._waiting or self._inbox or self._ready or self._busy or not self._fetch.idle:
                        await self._changed.wait()
                nursery.cancel_scope.cancel()

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
                self._waiting[chunk] = _Waiting(item, urgent, [slot])
                items.append(item)
            else:
                present.append((chunk, size, slot))
        await self._place_stored(present)
        await self._offer(items, urgent)

    def restore_to(self, destination: Destination) -> None:
        """Where files go from now on."""
        self._placer.destination = destination

    async def taken(self, target: NodeTarget) -> Raw:
        """The content of a chunk wanted into `target`, once it is there."""
        async with self._changed:
            while target.content is None:
                await self._changed.wait()
        content, target.content = target.content, None
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
                self._waiting[chunk] = _Waiting(again[-1], True, [slot])
        await self._offer(again, urgent=True)
        placed = sum(size for _, size, slot in present if not isinstance(slot.target, NodeTarget))
        self._placed(placed - sum(size for _, size, _ in lost))
        await self._notify()

    async def _offer(self, items: list[Item], urgent: bool) -> None:
        if not items:
            return
        if not urgent:
            async with self._changed:
                while self._fetch.room < len(items):
                    await self._changed.wait()
        self._fetch.offer(items, urgent)
        self._pump_wanted.set()
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # Called by sessions, synchronously, from their receive loops.

    def chunks(self, session: PeerSession, number: int, chunks: Sequence[tuple[int, EncodedChunk]]) -> None:
        """Chunks of request `number` arrived."""
        if not self._fetch.received(number, [index for index, _ in chunks]):
            return
        for _, chunk in chunks:
            self._inbox.append((session, chunk))
        self._inbox_filled.set()

    def missing(self, number: int, indexes: Sequence[int]) -> None:
        """The peer lacks these of request `number`."""
        self._fetch.missing(number, indexes)
        self._pump_wanted.set()

    def ended(self, number: int, code: Code) -> None:
        """Request `number` is over, well or not."""
        self._fetch.ended(number)
        self._pump_wanted.set()

    async def _pump(self) -> None:
        while True:
            await self._pump_wanted.wait()
            self._pump_wanted = trio.Event()
            for request in self._fetch.next_requests():
                await self._send(request)
            if self._fetch.peers and self._fetch.hopeless():
                lost = self._fetch.hopeless()
                raise NotFound(
                    f"the peer does not have {len(lost)} of the chunks, first {lost[0].hash.hex()[:16]}…",
                    hint="the share may have been removed or its source damaged; ask for a new ticket",
                )
            await self._notify()

    async def _send(self, request: Request) -> None:
        session = request.peer
        if not isinstance(session, PeerSession):
            raise TypeError(session)
        try:
            await session.request(request.number, [item.hash for item in request.items], request.urgent, self)
        except PeerError:
            self._fetch.ended(request.number)
            if session.ended.is_set():
                self._fetch.remove_peer(session)

    async def _store(self) -> None:
        """Stores what is in the inbox. First thing, and by itself: what is in the store survives a kill."""
        while True:
            await self._inbox_filled.wait()
            session, batch = self._take_batch()
            if session is None:
                self._inbox_filled = trio.Event()
                continue
            self._busy += 1
            try:
                contents = await trio.to_thread.run_sync(self._placer.store, batch)
                self._stored([chunk for chunk, _ in batch], contents)
            except CorruptChunk as error:
                self._distrust(session, [chunk for chunk, _ in batch], error)
            finally:
                self._busy -= 1
            self._pump_wanted.set()
            await self._notify()

    def _take_batch(self) -> tuple[PeerSession | None, list[Arrival]]:
        """Arrivals of one session, about `STORE_BYTES` of them."""
        if not self._inbox:
            return None, []
        session = self._inbox[0][0]
        batch: dict[Hash, Arrival] = {}
        size = 0
        while self._inbox and self._inbox[0][0] is session and size < STORE_BYTES:
            chunk = self._inbox.popleft()[1]
            waiting = self._waiting.get(chunk.hash)
            if waiting is not None:
                batch[chunk.hash] = (chunk, group_of(waiting.slots))
                size += chunk.size
        return session, list(batch.values())

    def _stored(self, chunks: Sequence[EncodedChunk], contents: Sequence[Raw]) -> None:
        """Hands content on to those who wait for it."""
        for chunk, content in zip(chunks, contents, strict=True):
            waiting = self._waiting.pop(chunk.hash)
            self._fetch.stored(waiting.item.size)
            self.counts.fetched += chunk.size
            for slot in waiting.slots:
                check_size(chunk, slot)
            self._ready.append((waiting, content))
        self._progressed = True
        self._ready_filled.set()

    async def _place(self) -> None:
        """Places what has been stored."""
        while True:
            await self._ready_filled.wait()
            batch: list[tuple[_Waiting, Raw]] = []
            size = 0
            while self._ready and size < PLACE_BYTES:
                batch.append(self._ready.popleft())
                size += len(batch[-1][1])
            if not batch:
                self._ready_filled = trio.Event()
                continue
            self._busy += 1
            try:
                contents = [(slot, content) for waiting, content in batch for slot in waiting.slots]
                await trio.to_thread.run_sync(self._placer.place, contents)
            finally:
                self._busy -= 1
            self._fetch.written(sum(waiting.item.size for waiting, _ in batch))
            self._placed(sum(len(content) for slot, content in contents if not isinstance(slot.target, NodeTarget)))
            self._pump_wanted.set()
            await self._notify()

    def _placed(self, size: int) -> None:
        self.counts.placed += size
        self._on_placed(self.counts)

    def _distrust(self, session: PeerSession, chunks: Sequence[EncodedChunk], error: CorruptChunk) -> None:
        """A peer that sends wrong bytes is left for good; what it sent is asked of others."""
        session.blame(PeerError(f"the peer at {session.where} sent wrong bytes: {error.message}"))
        self._fetch.remove_peer(session)
        for chunk in chunks:
            waiting = self._waiting[chunk.hash]
            self._fetch.stored(waiting.item.size)
            self._fetch.written(waiting.item.size)
            self._fetch.offer([waiting.item], waiting.urgent)

    async def _keep_connected(self, connect: Connect) -> None:
        """Holds one session while there is something to fetch. A peer that was there and goes away is waited for; one
        that never was, that refuses or that breaks the protocol is not."""
        was_there = False
        given_up_at = math.inf
        delay = RETRY_DELAY
        while True:
            async with self._changed:
                while not self._fetch.pending:
                    await self._changed.wait()
            self._progressed = False
            try:
                session = await connect()
            except PeerError as error:
                reason: ForgeError = error
                again = was_there
            else:
                reason = await self._hold(session)
                was_there = was_there or session.peer_id is not None
                again = was_there and session.retryable
            if self._progressed or given_up_at == math.inf:
                given_up_at = trio.current_time() + self._patience
                delay = RETRY_DELAY
            if not again or isinstance(reason, Refused):
                raise reason
            if trio.current_time() + delay > given_up_at:
                hint = "what has arrived is kept: the same command goes on where this one stopped"
                raise PeerError(f"{reason.message}; it did not come back", hint=hint) from reason
            await trio.sleep(delay)
            delay = min(2 * delay, RETRY_DELAY_MAX)

    async def _hold(self, session: PeerSession) -> ForgeError:
        """Fetches by `session` until it ends; why it did."""
        self._fetch.add_peer(session)
        self._pump_wanted.set()
        await session.ended.wait()
        self._fetch.remove_peer(session)
        return session.reason or PeerError(f"the peer at {session.where} closed the connection")
