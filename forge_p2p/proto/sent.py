"""How often this node has sent each chunk, and what it has just sent to whom: so that those who fetch the same at the
same time are given different parts, and get the others' from each other.

What somebody else has told of, too, is left to them for as long as it spreads (`spread`), and what is still to leave
here is never given once more, not even to the peer that it leaves to: where it waits for long, that asks again.

The counts are kept by the first 8 bytes of a hash, in two generations: when the younger is full the older is forgotten.
What is forgotten counts as never sent, which costs a little evenness and nothing else.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from forge_p2p.ids import Hash, prefix_of
from forge_p2p.proto.spread import SPREADING, Spread

Peer = TypeVar("Peer", bound=Hashable)

GENERATION = 65_536
"""Chunks; two generations are 8 GB of content and 20 MB of memory."""

RECENT = 3.0
"""Seconds for which a chunk that has left counts as on its way to a peer, and from there to others: the peer's pipeline
(0.4 s), the route, storing and telling take about one. More on a loaded machine, as far as is learned of that."""
RECENT_LEAST = 1.5
"""The same where more is known."""
RECENT_BUSY = 10.0
"""The same while others wait to be served: then there is something better to send than what somebody has."""

QUEUED_MAX = 60.0
"""Seconds for which a chunk that waits here to leave counts as on its way: fifty peers share a narrow uplink, and the
first batches of all of them take as long as everything does. A peer that takes nothing for longer holds up nobody."""

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
        self._counts: dict[int, int] = {}
        self._older: dict[int, int] = {}
        self._recent: OrderedDict[int, _OnWay[Peer]] = OrderedDict()
        self.spread: Spread[Peer] = Spread(generation, self._times)

    def count(self, chunk: Hash) -> int:
        """How often a chunk was sent."""
        return self._times(prefix_of(chunk))

    def _times(self, key: int) -> int:
        found = self._counts.get(key)
        return self._older.get(key, 0) if found is None else found

    def add(self, chunk: Hash, peer: Peer, request: int, now: float) -> None:
        """A chunk is being sent, in answer to a request."""
        key = prefix_of(chunk)
        self._counts[key] = self._times(key) + 1
        self._recent[key] = _OnWay(peer, request, now, now)
        self._recent.move_to_end(key)
        if len(self._counts) > self._generation:
            self._older, self._counts = self._counts, {}
        self._expire(now)

    def take_back(self, chunk: Hash) -> None:
        """It was not sent after all."""
        key = prefix_of(chunk)
        self._recent.pop(key, None)
        self._counts[key] = max(0, self._times(key) - 1)

    def gone(self, peer: Peer) -> None:
        """What was sent to a peer will not come from it."""
        for key in [key for key, found in self._recent.items() if found.peer == peer]:
            del self._recent[key]
        self.spread.gone(peer)

    def elsewhere(self, chunk: Hash, peer: Peer, now: float, *, busy: bool) -> bool:
        """Whether a chunk is still to leave here, was just sent to another peer, or spreads among others. `busy`:
        others wait to be served."""
        key = prefix_of(chunk)
        found = self._recent.get(key)
        if found is not None and self._waits(key, found, now):
            return True
        seconds = self._seconds_busy if busy else self._patience()
        if tellers := self.spread.tellers(key):
            spreads = len(tellers) > 1 or peer in tellers  # that has got it since it asked
            longer = max(self._seconds, min(2 * seconds, SPREADING))
            if self.spread.quiet(key, now) < (longer if spreads else seconds):
                return True
        return found is not None and found.peer != peer and now - found.seen_at < seconds

    def _patience(self) -> float:
        """Seconds after which what one peer has counts as not passed on."""
        learned = self.spread.patience
        return min(max(learned, RECENT_LEAST), self._seconds_busy) if learned else self._seconds

    def _waits(self, key: int, found: _OnWay[Peer], now: float) -> bool:
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
