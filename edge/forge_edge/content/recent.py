"""What was had a moment ago and may be handed on for a while, in memory: bounded in bytes and in age, least recently
used out first. Being used makes nothing younger."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most `limit` bytes, as `cost` counts them; 0 keeps nothing. `clock` gives seconds."""

    def __init__(self, limit: int, cost: Callable[[V], int], clock: Callable[[], float] = time.monotonic) -> None:
        self.size = 0
        self._limit = limit
        self._cost = cost
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def find(self, key: K) -> V | None:
        """What is kept under a key, if it is here and still good."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: K, value: V, seconds: float) -> None:
        """Keeps it for that long, unless it is larger than all that is kept: then it pushes nothing out."""
        self._drop(key)
        cost = self._cost(value)
        if cost > self._limit:
            return
        self._kept[key] = self._clock() + seconds, value
        self.size += cost
        while self.size > self._limit:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: K) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self.size -= self._cost(old[1])
