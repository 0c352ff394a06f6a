"""What the gateway counts, for Prometheus. Labels are few and never from a request: no path, no name, no token.

What is counted in hot loops is a plain integer, and read when it is asked for.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forge_p2p.store.base import Statistics

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)

Read = Callable[[], float]


class Load:
    """What is going on now."""

    def __init__(self) -> None:
        self.connections = 0
        self.answering = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.deserted = asyncio.Event()
        """No connection is left."""
        self.deserted.set()

    def connected(self) -> None:
        """Somebody has connected."""
        self.connections += 1
        self.deserted.clear()

    def disconnected(self) -> None:
        """A connection is gone, and all that was written to it sent or lost."""
        self.connections -= 1
        if not self.connections:
            self.deserted.set()

    def begin(self) -> None:
        """A request is being answered."""
        self.answering += 1
        self.idle.clear()

    def end(self) -> None:
        """It was answered."""
        self.answering -= 1
        if not self.answering:
            self.idle.set()


class Metrics:
    """All metrics of one gateway, in a registry of its own. `statistics` is asked for the store's at every scrape, and
    blocks for a moment; `gauges` and `totals` are read then, by name."""

    def __init__(
        self,
        statistics: Callable[[], Statistics],
        gauges: Mapping[str, tuple[str, Read]],
        totals: Mapping[str, tuple[str, Read]],
    ) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "family", "status")
        self.requests = Counter("forge_gateway_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            "forge_gateway_request_seconds",
            "From a request's headers to the end of its answer.",
            ("family",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.sent = self._counter("response_bytes", "Bytes of bodies sent.")
        self.taken = self._counter("upload_bytes", "Bytes of bodies taken and acknowledged.")
        self.limited = self._counter("limited", "Requests refused for coming too fast.")
        self.refused = self._counter("refused", "Requests with no good credential.")
        self.hits = self._counter("answer_hits", "Answers taken ready from memory.")
        self.failures = self._counter("failures", "Answers that were the gateway's own fault.")
        self.node_up = Gauge(
            "forge_gateway_node_up", "Whether the node answered when last asked.", registry=self.registry
        )
        self.registry.register(_ReadCollector(gauges, totals))
        self.registry.register(_StoreCollector(statistics))

        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, family: str, status: int, size: int, seconds: float) -> None:
        """Counts a request. The children of its labels are looked up once: it costs as much as counting."""
        key = method, family, status
        found = self._answers.get(key)
        if found is None:
            found = self.requests.labels(method, family, str(status)), self.seconds.labels(family)
            self._answers[key] = found
        found[0].inc()
        found[1].observe(seconds)
        self.sent.inc(size)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"forge_gateway_{name}", text, registry=self.registry)

    def render(self) -> bytes:
        """The text format. Blocks for a moment."""
        return generate_latest(self.registry)


class _ReadCollector(Collector):
    def __init__(self, gauges: Mapping[str, tuple[str, Read]], totals: Mapping[str, tuple[str, Read]]) -> None:
        self._gauges = gauges
        self._totals = totals

    def collect(self) -> Iterable[Metric]:
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(f"forge_gateway_{name}", text, read())
        for name, (text, read) in self._totals.items():
            yield CounterMetricFamily(f"forge_gateway_{name}", text, read())


class _StoreCollector(Collector):
    def __init__(self, statistics: Callable[[], Statistics]) -> None:
        self._statistics = statistics

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        now = self._statistics()
        values = {
            "disk_bytes": ("Bytes the store takes on disk.", now.disk_bytes),
            "quota_bytes": ("The store's quota; 0: none.", now.quota),
            "free_bytes": ("Free bytes of its file system.", now.free_bytes),
            "chunks": ("Chunks in the store.", now.total.chunks),
            "raw_bytes": ("Bytes of content in the store.", now.total.raw_bytes),
            "pins": ("Pins.", now.pins),
            "quarantined_chunks": ("Damaged chunks that have not come back.", now.quarantined),
        }
        for name, (text, value) in values.items():
            yield GaugeMetricFamily(f"forge_store_{name}", text, value)
