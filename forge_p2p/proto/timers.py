"""Deadlines and rates on the caller's clock."""

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_SLACK = 64


class Deadlines(Generic[Key]):
    """At most one deadline a key. A cancelled one stays in the heap until it comes up or half of the heap is dead."""

    __slots__ = ("_due", "_heap", "_sequence")

    def __init__(self) -> None:
        self._due: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: Key, when: float) -> None:
        # The sequence number keeps the order of equal times that of setting, and keys out of comparisons.
        self._sequence += 1
        self._due[key] = (when, self._sequence)
        heapq.heappush(self._heap, (when, self._sequence, key))
        if len(self._heap) > 2 * len(self._due) + _SLACK:
            self._heap = [(when, number, key) for key, (when, number) in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: Key) -> None:
        self._due.pop(key, None)

    def clear(self) -> None:
        self._due.clear()
        self._heap.clear()

    def next(self) -> float | None:
        """When the earliest is due."""
        while self._heap:
            when, number, key = self._heap[0]
            if self._due.get(key) == (when, number):
                return when
            heapq.heappop(self._heap)
        return None

    def pop(self, now: float) -> Key | None:
        """Takes out the earliest that is due at `now`."""
        when = self.next()
        if when is None or when > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._due[key]
        return key


@dataclass(slots=True)
class TokenBucket:
    """`burst` at once, `rate` a second in the long run. It may run into debt; who waits the debt out keeps the rate."""

    rate: float
    burst: float
    tokens: float
    filled: float = 0.0

    @classmethod
    def full(cls, rate: float, burst: float) -> "TokenBucket":
        return cls(rate, burst, burst)

    def take(self, amount: float, now: float) -> float:
        """Takes `amount` and returns the seconds until the debt is paid, 0 when there is none."""
        self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.rate) - amount
        self.filled = now
        return max(0.0, -self.tokens / self.rate)

    def debt(self, now: float) -> float:
        """Seconds until nothing is owed; what rounding leaves over counts as nothing, so who waits them out is free."""
        wait = self.take(0.0, now)
        return wait if wait > 1e-6 else 0.0

    def try_take(self, amount: float, now: float) -> bool:
        """Takes `amount` if it is there, else nothing."""
        self.take(0.0, now)
        if self.tokens < amount:
            return False
        self.tokens -= amount
        return True
