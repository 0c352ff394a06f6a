"""How fast one peer is, and so how much is asked of it at once.

What is asked of a peer covers its bandwidth-delay product and a margin: enough that it never waits for us, not so much
that a slow peer sits on what others could bring. Both factors are moving averages. As TCP does, the pipeline starts
with a guess and grows by what arrives, doubling in each round trip, until the measured rate bounds it; a failure halves
it. It never falls below one chunk, so that a peer that has become better can show it.

A peer that had nothing more to send for us was not measured but waited for: such a sample may raise the rate, and
hardly lowers it. A bucket answers with whole ranges and is asked again only when they are here: of it several such
times make one sample. What was measured of little or long ago does not rule out a bucket for good: `hoped` says what is
worth trying.
"""

from math import exp2, inf

from forge_p2p.proto.swarm.base import SwarmLimits

SAMPLE = 0.1
"""Seconds that a sample of the rate covers, at least: shorter ones measure bursts."""
MEMORY = 1.0
"""Seconds after which a sample weighs a half."""

_DOUBLINGS = 32


class Pace:
    """Bytes and seconds of one peer, on the caller's clock. `ranges`: it answers with whole ranges, as buckets do."""

    __slots__ = (
        "_brought",
        "_bytes",
        "_last",
        "_limits",
        "_mark",
        "_measured",
        "_quiet",
        "_ranges",
        "_sampled_at",
        "delay",
        "early",
        "limit",
        "outstanding",
        "rate",
    )

    def __init__(self, limits: SwarmLimits, *, ranges: bool = False) -> None:
        self._limits = limits
        self._ranges = ranges
        self.rate: float | None = None
        """Bytes a second; `None` until measured."""
        self.early = 0.0
        """The same, but all samples of the first `MEMORY` seconds weigh alike: the first is of little,
        and mostly the delay."""
        self.delay = 0.0
        """From a question to the first bytes of its answer, when nothing else was asked."""
        self.limit = limits.pipeline_first
        """Bytes to have asked for."""
        self.outstanding = 0
        self._mark = 0.0
        self._bytes = 0
        self._quiet = False
        """Nothing has come since it was asked with nothing else under way."""
        self._brought = 0
        """Bytes in all."""
        self._last = 0.0
        """When the last of them came, or it was asked with nothing else under way."""
        self._sampled_at = 0.0
        self._measured = 0.0
        """Seconds, `MEMORY` at most."""

    def asked(self, size: int, now: float) -> None:
        """So many bytes more are asked for."""
        if not self.outstanding:
            if self._ranges:
                self._mark += now - self._last  # the time between does not count
            else:
                self._mark, self._bytes = now, 0
            self._last = now
            self._quiet = True
        self.outstanding += size

    def arrived(self, size: int, awaited: int, now: float) -> None:
        """So many came, of which `awaited` count as asked for."""
        if self._quiet:
            self._quiet = False
            waited = now - self._last
            self.delay = waited if not self.delay or waited < self.delay else self.delay + (waited - self.delay) / 8
        self.outstanding -= awaited
        self._last = now
        self._bytes += size
        self._brought += size
        self.limit += size
        elapsed = now - self._mark
        if elapsed >= SAMPLE or (self.rate is None and self.outstanding <= 0 < elapsed):
            self._sample(self._bytes / elapsed, elapsed)
            self._mark, self._bytes, self._sampled_at = now, 0, now
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
            self._last = self._mark = self._sampled_at = now
            self._bytes = 0

    def expected(self, size: int) -> float:
        """Seconds until `size` bytes more would be here."""
        if not self.rate:
            return self._limits.late
        return self.delay + (self.outstanding + size) / self.rate

    def hoped(self, now: float) -> float:
        """Bytes a second that it may bring when it is tried again: `inf` until it has brought `pipeline_first` bytes,
        then its rate, that of what no sample covers yet included, and doubled for each `patience` seconds for which it
        was not measured."""
        if self.rate is None or self._brought < self._limits.pipeline_first:
            return inf
        seconds = max(self._measured + self._last - self._mark, SAMPLE)
        seen = (self.early * self._measured + self._bytes) / seconds
        return max(self.rate, seen) * exp2(min((now - self._sampled_at) / self._limits.patience, _DOUBLINGS))

    def _sample(self, rate: float, elapsed: float) -> None:
        self.early += (rate - self.early) * elapsed / (self._measured + elapsed)
        self._measured = min(self._measured + elapsed, MEMORY)
        if self.rate is None:
            self.rate = rate
            return
        weight = elapsed / (elapsed + MEMORY)
        if self.outstanding <= 0:
            weight = max(weight, 0.25) if rate > self.rate else weight / 8
        self.rate += (rate - self.rate) * weight
