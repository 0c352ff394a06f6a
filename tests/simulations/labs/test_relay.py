"""The relay's way with frames: what is lost, what is late, and that the rest arrives as it was sent."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.labs.hosted.packets import cut, datagrams
from simulations.labs.hosted.relay import DELAYED, Fate, Port, Statistics
from tests.simulations.labs.frames import frame, read

SHAPES = [pytest.param(tcp, six, id=f"{'tcp' if tcp else 'udp'}{6 if six else 4}") for tcp in (0, 1) for six in (0, 1)]


@pytest.mark.parametrize(("tcp", "six"), SHAPES)
def test_any_run_of_datagrams_is_a_frame(tcp: bool, six: bool) -> None:
    payload = Random(1).randbytes(5 * 1000 + 1)
    whole = frame(payload, 1000, tcp=tcp, six=six)
    assert datagrams(whole) == 6
    for first in range(6):
        for end in range(first + 1, 6 + (first > 0)):
            seen = read(cut(whole, first, end))
            assert seen.payload == payload[first * 1000 : end * 1000]
            assert seen.single == (end - first == 1)
            assert seen.offset == (first * 1000 if tcp else 0)
            assert seen.finished == (tcp and end == 6)


def test_a_single_datagram_counts_as_one() -> None:
    whole = frame(bytes(3000), 1000, tcp=False, six=False)
    assert [datagrams(cut(whole, 1, 2)), datagrams(cut(whole, 0, 2)), datagrams(bytes(60))] == [1, 2, 1]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    loss=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    reorder=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 100),
)
def test_every_datagram_is_lost_late_or_in_its_place(sizes: list[int], loss: float, reorder: float, seed: int) -> None:
    if loss + reorder > 1:
        reorder = 0.0
    fate, statistics = Fate(Port("p", "", 0.02, loss, reorder), Random(seed)), Statistics()
    number, lost, late = 0, 0, 0
    for size in sizes:
        names = [(number + index).to_bytes(4) for index in range(size)]
        number += size
        sent = frame(b"".join(names), 4, tcp=False, six=False) if size > 1 else bytes(42) + names[0]
        passed = fate.of(sent, statistics)
        on_time = [name for delay, part in passed if delay == 0.02 for name in _names(part, size)]
        behind = [name for delay, part in passed if delay == 0.02 + DELAYED for name in _names(part, size)]
        assert sorted(on_time) == on_time
        assert set(on_time) | set(behind) <= set(names)
        assert len(set(on_time) | set(behind)) == len(on_time) + len(behind)
        late += len(behind)
        lost += size - len(on_time) - len(behind)
    assert (statistics.datagrams, statistics.lost, statistics.late) == (number, lost, late)
    if not loss:
        assert lost == 0


def _names(part: bytes, size: int) -> list[bytes]:
    payload = part[42:] if size == 1 else read(part).payload
    return [payload[at : at + 4] for at in range(0, len(payload), 4)]


def test_as_much_is_lost_as_was_asked_for() -> None:
    sent = frame(bytes(40 * 1000), 1000, tcp=False, six=False)
    for loss in (0.01, 0.1, 0.5):
        fate, statistics = Fate(Port("p", "", loss=loss), Random(3)), Statistics()
        for _ in range(2000):
            fate.of(sent, statistics)
        assert statistics.lost / statistics.datagrams == pytest.approx(loss, rel=0.1)


def test_frames_that_are_not_hit_are_not_touched() -> None:
    sent = frame(bytes(40 * 1000), 1000, tcp=False, six=False)
    ((delay, passed),) = Fate(Port("p", "", delay=0.5), Random(1)).of(sent, Statistics())
    assert delay == 0.5
    assert passed is sent
