"""Who has told of what was sent, and how long it takes those who were sent something to pass it on.

A node that many fetch from hears from them what they have (HOLDINGS). Once two have told of a chunk it is *spreading*:
one of them has it from the other, or will give it to the next. One alone who tells of it may be slow, dead or a liar.
How long passing on takes where everybody's processors are busy is learned from the time between the first telling of a
chunk and the second: four times its median, which few who are slow do not move, and which needs no list (Q. Ma, S.
Muthukrishnan and M. Sandler, "Frugal Streaming for Estimating Quantiles", 2013). As with TCP's round trips nothing is
learned from what was sent twice, of which nobody can say what was passed on (P. Karn and C. Partridge, 1987).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Peer = TypeVar("Peer", bound=Hashable)

SPREADING = 10.0
"""Seconds, at most, since anybody told of a chunk, for which one that two have told of counts as on its way to all."""
TELLERS = 8
"""Remembered of each chunk. Whoever tells of it after them changes nothing, so that no two who tell of it again and
again keep it from others."""

_ENOUGH = 4.0
_STEP = 1.1

Times = Callable[[int], int]
"""How often the chunk with these first 64 bits was sent."""


@dataclass(slots=True)
class _Told(Generic[Peer]):
    """The first who told of a chunk, and when anybody did so last."""

    by: list[Peer]
    at: float


class Spread(Generic[Peer]):
    """What was told, on the caller's clock: of `most` chunks, the latest."""

    def __init__(self, most: int, times: Times) -> None:
        self._most = most
        self._times = times
        self._told: OrderedDict[int, _Told[Peer]] = OrderedDict()
        self._median = 0.0

    def __len__(self) -> int:
        return len(self._told)

    @property
    def patience(self) -> float:
        """Seconds after which what somebody has was not passed on, and will not be; 0 as long as nothing is known."""
        return _ENOUGH * self._median

    def told(self, peer: Peer, prefixes: Iterable[int], now: float) -> None:
        """A peer has these chunks. Of what was sent to nobody nothing is remembered."""
        for prefix in prefixes:
            told = self._told.get(prefix)
            if told is None:
                self._first(peer, prefix, now)
            elif peer not in told.by and len(told.by) < TELLERS:
                if len(told.by) == 1 and self._times(prefix) == 1:
                    self._learn(now - told.at)
                told.at = now
                told.by.append(peer)

    def gone(self, peer: Peer) -> None:
        """What a peer told of cannot be had from it any more."""
        for prefix in [prefix for prefix, told in self._told.items() if peer in told.by]:
            told = self._told[prefix]
            told.by.remove(peer)
            if not told.by:
                del self._told[prefix]

    def tellers(self, prefix: int) -> list[Peer]:
        """Some who have told of a chunk; not to be changed."""
        told = self._told.get(prefix)
        return told.by if told is not None else []

    def quiet(self, prefix: int, now: float) -> float:
        """For how long nobody has told of a chunk that somebody has told of."""
        return now - self._told[prefix].at

    def _first(self, peer: Peer, prefix: int, now: float) -> None:
        if self._times(prefix):
            self._told[prefix] = _Told([peer], now)
            if len(self._told) > self._most:
                self._told.popitem(last=False)

    def _learn(self, seconds: float) -> None:
        if not self._median:
            self._median = seconds
        else:
            self._median *= _STEP if seconds > self._median else 1 / _STEP
