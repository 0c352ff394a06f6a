"""What has arrived: from the sessions into the store, and from there into place, each by a task of its own."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import CorruptChunk
from forge_p2p.ids import Hash
from forge_p2p.node.fetch.placing import Arrival, Placer, Raw, Slot, arrival, check_size
from forge_p2p.node.sessions.handlers import ChunkSource
from forge_p2p.node.until import Until
from forge_p2p.proto.swarm import Item

STORE_BYTES, STORE_BYTES_EDGE = 1 * 1024 * 1024, 4 * 1024 * 1024
"""Most bytes stored in one call, of peers, and where a bucket brings megabytes at once: 1 GB then takes 2.2 s
of processor time instead of 2.6."""

PACE = 0.05
"""Seconds for which arrivals from several sources are gathered. Measured with four: 20 s of processor time a GB
without, 15 with it, for each chunk has its worker thread's call, its look for requests, and its word to followers."""

ENOUGH = 8
"""Chunks that are not waited for more: half a megabyte at the usual size. Waiting for each megabyte took 50 ms of it: a
bucket beside a slow peer came at 20 MB/s."""

PLACE_BYTES = 4 * 1024 * 1024
"""Most bytes in one call of a worker thread; when little has arrived, a call has little."""

PLACERS = 2
"""Tasks that place: making small files is the kernel's work, and one thread of it keeps a fetch of many waiting."""

SECOND_BYTES = 1024 * 1024
"""Stored and not placed, beyond which one task does not place alone: a call of a worker thread costs as much as a few
chunks."""


@dataclass(slots=True)
class Waiting:
    """A chunk that is on its way: its size as offered to the window, and who waits for it."""

    item: Item
    urgent: bool
    slots: list[Slot]


class IntakeHandler(Protocol):
    """Whom the intake reports to."""

    def stored(self, chunks: Sequence[EncodedChunk], waiting: Sequence[Waiting]) -> None:
        """These are in the store now."""

    def placed(self, waiting: Sequence[Waiting], contents: Sequence[tuple[Slot, Raw]]) -> None:
        """These are where they were wanted."""

    def corrupt(self, session: ChunkSource, chunks: Sequence[EncodedChunk], error: CorruptChunk) -> None:
        """A peer has sent wrong bytes; none of these was taken."""


Batch = dict[Hash, tuple[ChunkSource, Arrival]]


class Intake:
    """`waiting`: the chunks that somebody waits for; what is stored is taken out of it."""

    def __init__(self, placer: Placer, waiting: dict[Hash, Waiting], handler: IntakeHandler) -> None:
        self.gathers = False
        """Whether arrivals come from several sources."""
        self.store_bytes = STORE_BYTES
        self._placer = placer
        self._waiting = waiting
        self._handler = handler
        self._inbox: deque[tuple[ChunkSource, EncodedChunk]] = deque()
        self._ready: deque[tuple[Waiting, Raw]] = deque()
        self._inbox_filled = trio.Event()
        self._ready_bytes = 0
        self._placing = 0
        self._to_place = Until()
        self._storing = 0

    @property
    def idle(self) -> bool:
        """All that arrived is in place."""
        return not (self._inbox or self._ready or self._storing or self._placing)

    def arrived(self, session: ChunkSource, chunks: Sequence[tuple[int, EncodedChunk]]) -> None:
        """Takes chunks from a peer, unverified."""
        self._inbox.extend([(session, chunk) for _, chunk in chunks])
        self._inbox_filled.set()

    async def store(self) -> None:
        """Stores what is in the inbox. First thing, and by itself: what is in the store survives a kill."""
        while True:
            await self._inbox_filled.wait()
            if self.gathers and len(self._inbox) < ENOUGH:  # with more there is nothing to gather
                await trio.sleep(PACE)
            batch = self._take_batch()
            if not batch:
                self._inbox_filled = trio.Event()
                continue
            self._storing += 1
            try:
                await self._store_batch(batch)
            finally:
                self._storing -= 1

    async def _store_batch(self, batch: Batch) -> None:
        """Stores a batch; if something in it is wrong, once more for each of its peers, to find out whose that is."""
        arrivals = [each for _, each in batch.values()]
        sessions = {session for session, _ in batch.values()}
        chunks = [each.chunk for each in arrivals]
        try:
            contents = await trio.to_thread.run_sync(self._placer.store, arrivals)
        except CorruptChunk as error:
            if len(sessions) == 1:
                self._handler.corrupt(sessions.pop(), chunks, error)
                return
            for session in sessions:
                await self._store_batch({chunk: each for chunk, each in batch.items() if each[0] is session})
            return
        waiting = [self._waiting.pop(chunk.hash) for chunk in chunks]
        for chunk, each in zip(chunks, waiting, strict=True):
            for slot in each.slots:
                check_size(chunk, slot)
        self._ready.extend(zip(waiting, contents, strict=True))
        self._ready_bytes += sum([len(content) for content in contents])
        self._to_place.changed()
        self._handler.stored(chunks, waiting)

    def _take_batch(self) -> Batch:
        """About `store_bytes` of arrivals."""
        batch: Batch = {}
        size = 0
        while self._inbox and size < self.store_bytes:
            session, chunk = self._inbox.popleft()
            waiting = self._waiting.get(chunk.hash)
            if waiting is not None:
                batch[chunk.hash] = (session, arrival(chunk, waiting.slots))
                size += chunk.size
        return batch

    async def place(self) -> None:
        """Places what has been stored. May run in several tasks."""
        while True:
            await self._to_place.true(self._has_to_place)
            batch: list[Waiting] = []
            contents: list[tuple[Slot, Raw]] = []
            size = 0
            while self._ready and size < PLACE_BYTES:
                waiting, content = self._ready.popleft()
                batch.append(waiting)
                contents += [(slot, content) for slot in waiting.slots]
                size += len(content)
            self._ready_bytes -= size
            self._placing += 1
            try:
                await trio.to_thread.run_sync(self._placer.place, contents)
            finally:
                self._placing -= 1
            self._to_place.changed()
            self._handler.placed(batch, contents)

    def _has_to_place(self) -> bool:
        """Whether another task is to place what is ready."""
        return bool(self._ready) and (not self._placing or self._ready_bytes >= SECOND_BYTES)
