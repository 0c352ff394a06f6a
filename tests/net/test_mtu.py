"""Datagram sizes: from the route, from memory, by force; and what is made of losses."""

import pytest

from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address
from forge_p2p.net.mtu import (
    ANSWERS,
    LARGEST,
    MAX_REMEMBERED,
    REMEMBERED,
    SMALLEST,
    TRIES,
    USUAL,
    DatagramSizes,
    PathWatch,
)
from forge_p2p.net.mtu import route_size as size_of_route

HERE = Address("127.0.0.1", 9)


def test_loopback_takes_the_largest() -> None:
    assert size_of_route(HERE) == LARGEST
    assert size_of_route(Address("::1", 9)) == LARGEST


def test_no_route_is_said_at_once() -> None:
    with pytest.raises(PeerError, match=r"cannot reach 255\.255\.255\.255 port 9"):
        size_of_route(Address("255.255.255.255", 9))


def test_a_forced_size_asks_nobody() -> None:
    assert DatagramSizes(1300).choose(Address("255.255.255.255", 9), 0.0) == 1300


def test_limits_are_remembered_for_a_host_and_a_while() -> None:
    sizes = DatagramSizes(0)
    sizes.remember(HERE, USUAL, now=100.0)
    assert sizes.choose(Address(HERE.host, 10), 100.0 + REMEMBERED - 1) == USUAL
    assert sizes.choose(Address("127.0.0.2", 9), 100.0) == LARGEST
    assert sizes.choose(HERE, 101.0 + REMEMBERED) == LARGEST


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    sizes = DatagramSizes(0)
    sizes.remember(HERE, USUAL, now=0.0)
    for number in range(MAX_REMEMBERED):
        sizes.remember(Address(f"10.0.{number // 256}.{number % 256}", 9), SMALLEST, now=1.0)
    assert sizes.choose(HERE, 2.0) == LARGEST
    assert len(sizes._limits) == MAX_REMEMBERED


class Engine:
    """Counters as an engine has them, set by hand."""

    def __init__(self) -> None:
        self.lost = 0
        self.probe_timeouts = 0
        self.round_trip = 0.01
        self.datagram_size = LARGEST
        self.large_outstanding = 0
        self.pings = 0

    def outstanding(self, size: int) -> int:
        assert size in (USUAL, SMALLEST)
        return self.large_outstanding

    def ping(self) -> None:
        self.pings += 1

    def limit_datagrams(self, size: int) -> None:
        self.datagram_size = size


LARGE = [(bytes(LARGEST), ("127.0.0.1", 9))]
SMALL = [(bytes(SMALLEST), ("127.0.0.1", 9))]


def watched() -> tuple[Engine, PathWatch, list[int]]:
    engine, narrowed = Engine(), list[int]()
    return engine, PathWatch(engine, narrowed.append), narrowed  # type: ignore[arg-type]


def until_judged(watch: PathWatch) -> None:
    assert watch.deadline is not None
    watch.step(watch.deadline)


def test_without_losses_nothing_is_done() -> None:
    engine, watch, _ = watched()
    watch.sent(LARGE)
    watch.step(1.0)
    assert watch.deadline is None
    assert engine.pings == 0


def test_a_path_on_which_large_ones_arrive_is_cleared() -> None:
    engine, watch, narrowed = watched()
    engine.lost, engine.large_outstanding = 1, 10
    watch.step(1.0)
    watch.heard()
    engine.large_outstanding, engine.lost = 0, 10  # ten were under way, nine of them got lost
    until_judged(watch)
    assert (watch.deadline, narrowed) == (None, [])


def test_a_path_on_which_none_arrives_is_narrowed_step_by_step() -> None:
    engine, watch, narrowed = watched()
    for size in (USUAL, SMALLEST):
        engine.probe_timeouts += 1
        watch.step(1.0)
        watch.sent(LARGE * TRIES + SMALL * 50)
        watch.heard()
        engine.lost += TRIES
        until_judged(watch)
        for _ in range(ANSWERS):
            assert engine.datagram_size > size
            watch.heard()
            until_judged(watch)
        assert engine.datagram_size == size
    assert narrowed == [USUAL, SMALLEST]
    engine.lost += 1
    watch.step(1.0)
    assert watch.deadline is None, "there is nothing smaller"


def test_few_losses_and_a_silent_peer_prove_nothing() -> None:
    engine, watch, narrowed = watched()
    engine.probe_timeouts = 1
    watch.step(1.0)
    watch.sent(LARGE * (TRIES - 1))
    watch.heard()
    engine.large_outstanding = TRIES - 1
    until_judged(watch)
    assert watch.deadline is not None
    assert narrowed == []

    engine, watch, narrowed = watched()
    engine.probe_timeouts = 1
    watch.step(1.0)
    watch.sent(LARGE * 50)
    engine.large_outstanding = 50
    for _ in range(20):
        until_judged(watch)
    assert narrowed == []
    assert engine.pings == 21, "it goes on asking"


def test_what_is_heard_counts_once_it_was_asked_for_and_several_times() -> None:
    """What tells of the large ones may lie unread, here or at the other side."""
    engine, watch, narrowed = watched()
    engine.probe_timeouts = 1
    watch.step(1.0)
    watch.sent(LARGE * 50)
    engine.large_outstanding = 50
    for _ in range(ANSWERS):
        watch.heard()
        until_judged(watch)
        until_judged(watch)
        assert narrowed == []
    watch.heard()
    until_judged(watch)
    assert narrowed == [USUAL]


def test_nothing_large_under_way_is_no_evidence() -> None:
    engine, watch, narrowed = watched()
    engine.lost = 1
    watch.step(1.0)
    watch.sent(SMALL * 20)
    watch.heard()
    until_judged(watch)
    assert (watch.deadline, narrowed) == (None, [])
