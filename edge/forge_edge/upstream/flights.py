"""Single flight: whoever wants a piece that is on its way already shares it, from its first byte, as it arrives.

A piece is at most `PIECE` bytes at a multiple of `PIECE`, so that readers of any ranges meet in the same pieces. There
are never more than `FLIGHTS` on their way, which bounds their memory; a piece is forgotten when it has landed and its
last reader is done: then the node's store has it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from forge_p2p.errors import PeerError

PIECE: Final = 4 * 1024 * 1024
FLIGHTS: Final = 16

Key = tuple[str, ...]
Start = Callable[[], AsyncIterator[bytes]]


class _Flight:
    """One piece on its way. Its chunks are only added to, so readers need no copies."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.changed = asyncio.Event()
        self.over = False
        self.error: Exception | None = None
        self.task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Flights:
    """All pieces that are on their way."""

    def __init__(self) -> None:
        self._under_way: dict[Key, _Flight] = {}
        self._room = asyncio.Semaphore(FLIGHTS)
        self.started = 0
        self.joined = 0

    async def read(self, key: Key, start: Start) -> AsyncGenerator[bytes]:
        """The piece called `key`, fetched by `start` unless somebody else is fetching it. Raises what `start` does."""
        flight = self._under_way.get(key)
        if flight is None:
            flight = self._under_way[key] = _Flight()
            flight.task = asyncio.create_task(self._run(key, flight, start))
            self.started += 1
        else:
            self.joined += 1
        at = 0
        while True:
            changed = flight.changed
            while at < len(flight.chunks):
                yield flight.chunks[at]
                at += 1
            if flight.error is not None:
                raise flight.error
            if flight.over:
                return
            await changed.wait()

    async def _run(self, key: Key, flight: _Flight, start: Start) -> None:
        try:
            async with self._room:
                async for chunk in start():
                    flight.chunks.append(chunk)
                    flight.wake()
        except asyncio.CancelledError:
            flight.error = PeerError("the gateway is going down")
            raise
        except Exception as error:  # noqa: BLE001 (it is raised again, at everybody who waits)
            flight.error = error
        finally:
            flight.over = True
            self._under_way.pop(key, None)
            flight.wake()

    def cancel(self) -> None:
        """Ends all of them."""
        for flight in list(self._under_way.values()):
            if flight.task is not None:
                flight.task.cancel()
