"""Deltas that have arrived: each becomes its chunk, verified, in a worker thread, before the intake takes it."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import trio

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.errors import CorruptChunk
from forge_p2p.ids import Hash
from forge_p2p.node.fetch.bases import Bases
from forge_p2p.node.sessions.handlers import ChunkSource

BATCH_BYTES = 1024 * 1024
"""Raw bytes resolved in one call of a worker thread."""


class ResolvingHandler(Protocol):
    """Whom the outcome is reported to."""

    def resolved(self, session: ChunkSource, chunks: Sequence[EncodedChunk]) -> None:
        """These are what was asked for."""

    def unresolved(self, session: ChunkSource, chunks: Sequence[Hash], error: CorruptChunk | None) -> None:
        """These have to be fetched whole. `error`: the peer sent it; `None`: the base has gone."""


class Resolving:
    """Use `arrived` from any callback; `run` in a task of its own."""

    def __init__(self, bases: Bases, handler: ResolvingHandler) -> None:
        self._bases = bases
        self._handler = handler
        self._inbox: deque[tuple[ChunkSource, DeltaChunk]] = deque()
        self._filled = trio.Event()

    def arrived(self, session: ChunkSource, deltas: Sequence[DeltaChunk]) -> None:
        """Takes deltas from a peer."""
        self._inbox.extend([(session, delta) for delta in deltas])
        self._filled.set()

    async def run(self) -> None:
        """Resolves what arrives, until cancelled."""
        while True:
            await self._filled.wait()
            batch = self._take_batch()
            if not batch:
                self._filled = trio.Event()
                continue
            outcomes = await trio.to_thread.run_sync(self._resolve, [delta for _, delta in batch])
            for (session, delta), outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, EncodedChunk):
                    self._handler.resolved(session, [outcome])
                else:
                    self._handler.unresolved(session, [delta.hash], outcome)

    def _take_batch(self) -> list[tuple[ChunkSource, DeltaChunk]]:
        batch: list[tuple[ChunkSource, DeltaChunk]] = []
        size = 0
        while self._inbox and size < BATCH_BYTES:
            batch.append(self._inbox.popleft())
            size += batch[-1][1].size
        return batch

    def _resolve(self, deltas: Sequence[DeltaChunk]) -> list[EncodedChunk | CorruptChunk | None]:
        outcomes: list[EncodedChunk | CorruptChunk | None] = []
        for delta in deltas:
            try:
                outcomes.append(self._bases.resolve(delta))
            except CorruptChunk as error:
                outcomes.append(error)
        return outcomes
