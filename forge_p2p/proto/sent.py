"""How often this node has sent each chunk, and what it has just sent to whom: so that those who fetch the same at the
same time are given different parts, and get the others' from each other.

The counts are kept by the first 8 bytes of a hash, in two generations: when the younger is full the older is forgotten.
What is forgotten counts as never sent, which costs a little evenness and nothing else.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from forge_p2p.ids import Hash

Peer = TypeVar("Peer", bound=Hashable)

GENERATION = 65_536
"""Chunks; two generations are 8 GB of content and 20 MB of memory."""

RECENT = 3.0
"""Seconds for which a chunk that has left counts as on its way to a peer, and from there to others: the peer's pipeline
(0.4 s), the route, storing and telling take about one, more on a loaded machine."""
RECENT_BUSY = 10.0
"""The same while others wait to be served: then there is something better to send than what somebody has."""

QUEUED_MAX = 60.0
"""Seconds for which a chunk that waits here to leave counts as on its way: fifty peers share a narrow uplink, and the
first batches of all of them take as long as everything does. A peer that takes nothing for longer holds up nobody."""

_KEY = 8

Queued = Callable[[Peer, int], bool]
"""Whether any of what answers a peer's request still waits here to leave."""


@dataclass(slots=True)
class _OnWay(Generic[Peer]):
    """`seen_at`: when it was last seen waiting here, or chosen."""

    peer: Peer
    request: int
    chosen_at: float
    seen_at: float


class Sent(Generic[Peer]):
    """What was sent, on the caller's clock."""

    def __init__(
        self,
        generation: int = GENERATION,
        recent: float = RECENT,
        recent_busy: float = RECENT_BUSY,
        queued: Queued[Peer] = lambda peer, request: False,
    ) -> None:
        self._generation = generation
        self._seconds = recent
        self._seconds_busy = recent_busy
        self._queued = queued
        self._counts: dict[bytes, int] = {}
        self._older: dict[bytes, int] = {}
        self._recent: OrderedDict[bytes, _OnWay[Peer]] = OrderedDict()

    def count(self, chunk: Hash) -> int:
        """How often a chunk was sent."""
        key = chunk[:_KEY]
        found = self._counts.get(key)
        return self._older.get(key, 0) if found is None else found

    def add(self, chunk: Hash, peer: Peer, request: int, now: float) -> None:
        """A chunk is being sent, in answer to a request."""
        key = chunk[:_KEY]
        self._counts[key] = self.count(chunk) + 1
        self._recent[key] = _OnWay(peer, request, now, now)
        self._recent.move_to_end(key)
        if len(self._counts) > self._generation:
            self._older, self._counts = self._counts, {}
        self._expire(now)

    def take_back(self, chunk: Hash) -> None:
        """It was not sent after all."""
        key = chunk[:_KEY]
        self._recent.pop(key, None)
        self._counts[key] = max(0, self.count(chunk) - 1)

    def elsewhere(self, chunk: Hash, peer: Peer, now: float, *, busy: bool) -> bool:
        """Whether a chunk was just sent to another peer, or is still to leave to one. `busy`: others wait to be
        served."""
        key = chunk[:_KEY]
        found = self._recent.get(key)
        if found is None or found.peer == peer:
            return False
        self._waits(key, found, now)
        return now - found.seen_at < (self._seconds_busy if busy else self._seconds)

    def _waits(self, key: bytes, found: _OnWay[Peer], now: float) -> bool:
        """Whether a chunk is still to leave; then it counts from now on."""
        if now - found.chosen_at >= QUEUED_MAX or not self._queued(found.peer, found.request):
            return False
        found.seen_at = now
        self._recent.move_to_end(key)
        return True

    def _expire(self, now: float) -> None:
        recent = self._recent
        while recent:
            key, oldest = next(iter(recent.items()))
            if now - oldest.seen_at < self._seconds_busy:
                return
            if not self._waits(key, oldest, now):
                del recent[key]
