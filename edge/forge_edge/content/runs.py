"""Runs of content that were read from the store and verified a moment ago, for all who want the same bytes.

A run is up to `STEP` bytes, read and checked once, and never from this memory again: it is named by the hash of its
content, so it cannot become wrong, only unwanted. Whoever wants a run that is being read waits for it. A reader
that still sends a run keeps it alive for as long.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from forge_edge.content.recent import Recent
from forge_p2p.content.link import Link

STEP: Final = 1024 * 1024
"""Bytes read in one call of a thread: the hop costs a tenth of the time at 256 KiB, little from 1 MiB on."""

RUN_AGE: Final = 60.0
"""Seconds for which a run is handed on; after them what the store has lost, or found rotten, is gone from here, too."""

Raw = bytes | memoryview
Here = tuple[int, list[Raw]]
"""How many bytes of content, and these or a form of them."""

Key = tuple[Link, int, int, bool]
"""A content, first byte, the one after the last, and whether as zstd frames."""

Started = Callable[[], "asyncio.Future[Here]"]


class Runs(Recent[Key, Here]):
    """`limit` bytes of them; 0 keeps none, and shares only what is being read. `clock` gives seconds."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(limit, lambda here: sum(map(len, here[1])), clock)
        self.hits = 0
        self._reading: dict[Key, asyncio.Future[Here]] = {}

    def find(self, key: Key) -> Here | None:
        """A run, if it is here and still good."""
        found = super().find(key)
        if found is not None:
            self.hits += 1
        return found

    def read(self, key: Key, start: Started) -> "asyncio.Future[Here]":
        """A run that is not here, by whoever is reading it or by `start`. Cancelling what is returned ends no reading:
        others may wait for it."""
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = start()
            reading.add_done_callback(lambda done: self._finished(key, done))
        else:
            self.hits += 1
        return asyncio.shield(reading)

    def _finished(self, key: Key, done: "asyncio.Future[Here]") -> None:
        del self._reading[key]
        if done.cancelled() or done.exception() is not None:
            return
        here = done.result()
        _, start, stop, _ = key
        if here[0] >= stop - start:  # what lacks may have come by the next time
            self.put(key, here, RUN_AGE)
