"""One timer for many deadlines: a heap and a single sleeping task, no task a timer.

Deadlines of a QUIC connection move with every packet, nearly always to later. So an entry is left where it is when its
deadline moves back; it then fires early, and its owner sets a new one.
"""

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Calls `fire(owner, now)` at or after each time set, on trio's clock."""

    def __init__(self, fire: Callable[[T, float], None]) -> None:
        self._fire = fire
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()
        self._sleep = trio.CancelScope()

    def set(self, owner: T, when: float) -> None:
        heapq.heappush(self._heap, (when, next(self._order), owner))
        self._sleep.deadline = min(self._sleep.deadline, when)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self._fire_due(trio.current_time())
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf) as self._sleep:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()

    def _fire_due(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            self._fire(heapq.heappop(self._heap)[2], now)
