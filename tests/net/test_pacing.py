"""The selector lets a busy thread pause, on a clock of the test's own."""

import socket
from collections.abc import Iterator

import pytest

from forge_p2p.net import pacing
from forge_p2p.net.pacing import BURST, SHARE, PacedSelector


class Clock:
    """Stands in for the module `time`: sleeping takes time, and only `work` takes the processor's."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 5.0
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.used

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


@pytest.fixture
def selector(clock: Clock) -> Iterator[PacedSelector]:
    with PacedSelector() as selector:
        yield selector


def test_a_burst_is_free(clock: Clock, selector: PacedSelector) -> None:
    for _ in range(10):
        clock.work(BURST / 10)
        selector.select(0)
    assert clock.slept == 0


def test_a_flood_gets_its_share(clock: Clock, selector: PacedSelector) -> None:
    before = clock.now
    for _ in range(10_000):
        clock.work(0.001)
        selector.select(0)
    assert 10 - BURST - 0.1 <= (clock.now - before) * SHARE <= 10 - BURST + 0.1


def test_a_quiet_time_is_credited_but_not_hoarded(clock: Clock, selector: PacedSelector) -> None:
    clock.work(3 * BURST)
    for _ in range(1000):
        selector.select(0)
    clock.slept = 0.0
    clock.now += 1_000_000
    selector.select(0)
    clock.work(0.9 * BURST)
    selector.select(0)
    assert clock.slept == 0
    clock.work(0.3 * BURST)
    selector.select(0)
    assert clock.slept > 0


def test_it_still_selects(selector: PacedSelector) -> None:
    near, far = socket.socketpair()
    with near, far:
        selector.register(near, 1)
        assert selector.select(0) == []
        far.send(b"x")
        assert [key.fileobj for key, _ in selector.select(0)] == [near]
