"""A virtual clock: what is to happen, in order of time, and of entry at equal times. Nothing else knows of time, so the
same seed gives the same trace."""

import heapq
from collections.abc import Callable
from typing import Any


class Clock:
    """Events of one simulation."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._entered = 0

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Calls at a time, which may be past: then it is the next."""
        self._entered += 1
        heapq.heappush(self._heap, (when, self._entered, call, arguments))

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Calls so many seconds from now."""
        self.at(self.now + seconds, call, *arguments)

    def run(self, until: float, over: Callable[[], bool]) -> None:
        """Plays events until it is `over`, or time `until`, or nothing is left to happen."""
        heap = self._heap
        while heap and not over():
            when, _, call, arguments = heapq.heappop(heap)
            if when > until:
                return
            self.now = max(self.now, when)
            self.events += 1
            call(*arguments)
