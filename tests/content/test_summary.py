"""Summaries never say that something is lacking that is there, and take no bytes that are no summary."""

import random
from collections.abc import Iterable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.summary import CAPACITY_MAX, CAPACITY_MIN, OwnSummary, Summary, decode_summary
from forge_p2p.errors import Malformed
from forge_p2p.ids import Hash


def hashes(seed: int, count: int) -> list[Hash]:
    chance = random.Random(seed)
    return [Hash(chance.randbytes(32)) for _ in range(count)]


def summary(chunks: Iterable[Hash], salt: int = 7) -> Summary:
    made = Summary(salt, 4096, 3)
    made.add(chunks)
    return made


def test_what_is_there_is_never_lacking() -> None:
    here, elsewhere = hashes(1, 4000), hashes(2, 10_000)
    for each in (summary(here), decode_summary(summary(here).encode())):
        assert each.lacks(here) == []
        assert len(each.lacks(elsewhere)) > 9700
        assert (each.generation, each.capacity) == (3, 4096)


def test_nodes_err_about_different_chunks() -> None:
    here, elsewhere = hashes(1, 4000), hashes(2, 20_000)
    wrong = [set(elsewhere) - set(summary(here, salt).lacks(elsewhere)) for salt in (1, 2)]
    assert len(wrong[0] & wrong[1]) < min(map(len, wrong)) / 4


def test_what_is_nearly_empty_is_small() -> None:
    made = Summary(1, 1 << 20)
    made.add(hashes(1, 100))
    assert len(made.encode()) < 5000


@given(st.binary(max_size=100), st.integers(0, 60), st.integers(0, 255))
def test_broken_summaries_are_malformed_or_summaries(tail: bytes, at: int, value: int) -> None:
    data = bytearray(summary(hashes(1, 10)).encode())
    data[at % len(data)] = value
    for broken in (bytes(data), bytes(data) + tail, tail, bytes(data[:21]) + tail):
        try:
            decode_summary(broken)
        except Malformed:
            continue


@pytest.mark.parametrize("capacity", [0, CAPACITY_MIN - 1, CAPACITY_MAX + 1])
def test_capacities_out_of_bounds(capacity: int) -> None:
    with pytest.raises(ValueError, match="a summary is made for"):
        Summary(1, capacity)
    data = bytearray(summary([]).encode())
    data[17:21] = capacity.to_bytes(4, "big")
    with pytest.raises(Malformed):
        decode_summary(bytes(data))


BITS = {"a bomb": bytes(64 << 20), "another size": bytes(5000), "another number": b"\xff" * 8 + bytes(4907)}


@pytest.mark.parametrize("bits", BITS)
def test_bits_of_another_size_or_kind(bits: str) -> None:
    with pytest.raises(Malformed):
        decode_summary(summary([]).encode()[:21] + zstandard.compress(BITS[bits]))


def test_coming_and_going() -> None:
    here = hashes(1, 100)
    own = OwnSummary(5, lambda: here, generation=10)
    assert own.current().lacks(here) == []
    here += hashes(2, 100)
    own.arrived(here[100:])
    assert own.current().lacks(here) == []
    gone = here.pop()
    own.leaving()
    own.leaving()
    assert own.generation == 11, "an ended generation does not end again"
    assert own.current().generation == 11
    assert own.current().lacks([gone]) == [gone]
    more = hashes(3, 2000)
    here += more
    own.arrived(more)
    assert own.generation == 12, "more than it was made for"
    assert own.current().lacks(here) == []
    assert own.current().capacity >= 2 * len(here)
