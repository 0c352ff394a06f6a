"""How fast one peer is, and so how much is asked of it at once.

What is asked of a peer covers its bandwidth-delay product and a margin: enough that it never waits for us, not so much
that a slow peer sits on what others could bring. Both factors are moving averages. As TCP does, the pipeline starts
with a guess and grows by what arrives, doubling in each round trip, until the measured rate bounds it; a failure halves
it. It never falls below one chunk, so that a peer that has become better can show it.

A peer that had nothing more to send for us was not measured but waited for: such a sample may raise the rate, and
hardly lowers it.
"""

from forge_p2p.proto.swarm.base import SwarmLimits

SAMPLE = 0.1
"""Seconds that a sample of the rate covers, at least: shorter ones measure bursts."""
MEMORY = 1.0
"""Seconds after which a sample weighs a half."""


class Pace:
    """Bytes and seconds of one peer, on the caller's clock."""

    __slots__ = ("_bytes", "_limits", "_mark", "_quiet", "delay", "limit", "outstanding", "rate")

    def __init__(self, limits: SwarmLimits) -> None:
        self._limits = limits
        self.rate: float | None = None
        """Bytes a second; `None` until measured."""
        self.delay = 0.0
        """From a question to the first bytes of its answer, when nothing else was asked."""
        self.limit = limits.pipeline_first
        """Bytes to have asked for."""
        self.outstanding = 0
        self._mark = 0.0
        self._bytes = 0
        self._quiet = False

    def asked(self, size: int, now: float) -> None:
        """So many bytes more are asked for."""
        if not self.outstanding:
            self._mark, self._bytes, self._quiet = now, 0, True
        self.outstanding += size

    def arrived(self, size: int, awaited: int, now: float) -> None:
        """So many came, of which `awaited` count as asked for."""
        elapsed = now - self._mark
        if self._quiet:
            self._quiet = False
            self.delay = elapsed if not self.delay or elapsed < self.delay else self.delay + (elapsed - self.delay) / 8
        self.outstanding -= awaited
        self._bytes += size
        self.limit += size
        if elapsed >= SAMPLE or (self.rate is None and self.outstanding <= 0 < elapsed):
            self._sample(self._bytes / elapsed, elapsed)
            self._mark, self._bytes = now, 0
        if self.rate is not None:
            enough = int(self.rate * (self.delay + self._limits.margin))
            self.limit = max(min(self.limit, enough), self._limits.pipeline_least)

    def dropped(self, size: int) -> None:
        """So many will not come."""
        self.outstanding -= size

    def failed(self, now: float) -> None:
        """What was asked came late or not at all."""
        self.limit = max(self.limit // 2, self._limits.pipeline_least)
        elapsed = now - self._mark
        if self.outstanding and elapsed > SAMPLE:
            seen = self._bytes / elapsed
            self.rate = seen if self.rate is None else min(self.rate, max(seen, self.rate / 2))
            self._mark, self._bytes = now, 0

    def expected(self, size: int) -> float:
        """Seconds until `size` bytes more would be here."""
        if not self.rate:
            return self._limits.late
        return self.delay + (self.outstanding + size) / self.rate

    def _sample(self, rate: float, elapsed: float) -> None:
        if self.rate is None:
            self.rate = rate
            return
        weight = elapsed / (elapsed + MEMORY)
        if self.outstanding <= 0:
            weight = max(weight, 0.25) if rate > self.rate else weight / 8
        self.rate += (rate - self.rate) * weight
