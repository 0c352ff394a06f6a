"""One timer for many deadlines: a heap and a single sleeping task, no task a timer.

Deadlines of a QUIC connection move with every packet, nearly always to later. So nothing is moved in the heap: an entry
that is early fires all the same, and its owner sets what is due then. A new entry is made only where the owner has none
that fires in time, which keeps an owner's entries few: each is earlier than all it had before.
"""

import heapq
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

import trio

T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class _Slot(Generic[T]):
    """An owner, `None` once forgotten, and the times of its entries, latest first."""

    owner: T | None
    times: list[float] = field(default_factory=list)


class Deadlines(Generic[T]):
    """Calls `fire(owner, now)` at or before each time set, on trio's clock: the owner looks what is due."""

    def __init__(self, fire: Callable[[T, float], None]) -> None:
        self._fire = fire
        self._slots: dict[T, _Slot[T]] = {}
        self._heap: list[tuple[float, int, _Slot[T]]] = []
        self._order = count()
        self._sleep = trio.CancelScope()

    def set(self, owner: T, when: float) -> None:
        slot = self._slots.get(owner)
        if slot is None:
            slot = self._slots[owner] = _Slot(owner)
        if slot.times and slot.times[-1] <= when:
            return
        slot.times.append(when)
        heapq.heappush(self._heap, (when, next(self._order), slot))
        self._sleep.deadline = min(self._sleep.deadline, when)

    def forget(self, owner: T) -> None:
        """It will not be called again, and nothing here keeps it alive."""
        slot = self._slots.pop(owner, None)
        if slot is not None:
            slot.owner = None

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self._fire_due(trio.current_time())
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf) as self._sleep:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()

    def _fire_due(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            slot = heapq.heappop(self._heap)[2]
            slot.times.pop()
            if slot.owner is None:
                continue
            if not slot.times:
                del self._slots[slot.owner]
            self._fire(slot.owner, now)
