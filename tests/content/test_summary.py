"""Summaries never say that something is lacking that is there, and take no bytes that are no summary."""

import random
from collections.abc import Iterable, Sequence

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.summary import (
    ADDED_MAX,
    CAPACITY_MAX,
    CAPACITY_MIN,
    SUMMARY_MAX,
    TOLD_MAX,
    HeardSummary,
    OwnSummary,
    Summary,
    Update,
    decode_summary,
)
from forge_p2p.errors import Malformed
from forge_p2p.ids import Hash, pack_prefixes, prefix_of, unpack_prefixes


def prefixes(seed: int, count: int) -> list[int]:
    chance = random.Random(seed)
    return [chance.getrandbits(64) for _ in range(count)]


def summary(chunks: Iterable[int], salt: int = 7) -> Summary:
    made = Summary(salt, 4096, 3)
    made.add(chunks)
    return made


def lacks(one: Summary | HeardSummary, chunks: Sequence[int]) -> list[int]:
    likely = set(one.among(chunks))
    return [chunk for chunk in chunks if chunk not in likely]


def test_what_is_there_is_never_lacking() -> None:
    here, elsewhere = prefixes(1, 4000), prefixes(2, 10_000)
    for each in (summary(here), decode_summary(summary(here).encode())):
        assert lacks(each, here) == []
        assert len(lacks(each, elsewhere)) > 9700
        assert (each.generation, each.capacity) == (3, 4096)


@given(st.lists(st.binary(min_size=32, max_size=32)))
def test_prefixes_travel_as_hashes_begin(hashes: list[bytes]) -> None:
    chunks = [prefix_of(Hash(each)) for each in hashes]
    packed = pack_prefixes(chunks)
    assert packed == b"".join([each[:8] for each in hashes])
    assert list(unpack_prefixes(packed)) == chunks


def test_nodes_err_about_different_chunks() -> None:
    here, elsewhere = prefixes(1, 4000), prefixes(2, 20_000)
    wrong = [set(summary(here, salt).among(elsewhere)) for salt in (1, 2)]
    assert len(wrong[0] & wrong[1]) < min(map(len, wrong)) / 4


def test_what_is_nearly_empty_is_small() -> None:
    made = Summary(1, 1 << 20)
    made.add(prefixes(1, 100))
    assert len(made.encode()) < 5000


@given(st.binary(max_size=100), st.integers(0, 60), st.integers(0, 255))
def test_broken_summaries_are_malformed_or_summaries(tail: bytes, at: int, value: int) -> None:
    data = bytearray(summary(prefixes(1, 10)).encode())
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
    here = prefixes(1, 100)
    own = OwnSummary(5, lambda: here, generation=10)
    assert lacks(own.current(), here) == []
    here += prefixes(2, 100)
    own.arrived(here[100:])
    assert lacks(own.current(), here) == []
    gone = here.pop()
    own.leaving()
    own.leaving()
    assert own.generation == 11, "an ended generation does not end again"
    assert own.current().generation == 11
    assert lacks(own.current(), [gone]) == [gone]
    more = prefixes(3, 2000)
    here += more
    own.arrived(more)
    assert own.generation == 12, "more than it was made for"
    assert lacks(own.current(), here) == []
    assert own.current().capacity >= 2 * len(here)


def test_what_was_heard_is_not_told_again() -> None:
    here = prefixes(1, 5000)
    own, heard = OwnSummary(5, lambda: here, generation=10), HeardSummary()
    assert heard.among(here) == []
    first = own.since(heard.generation, heard.position)
    heard.receive(first)
    assert lacks(heard, here) == []
    own.arrived(more := prefixes(2, 50))
    second = own.since(heard.generation, heard.position)
    assert (second.summary, len(second.added)) == (b"", 8 * 50)
    heard.receive(second)
    assert lacks(heard, more) == []
    assert own.since(heard.generation, heard.position).size == 0
    other = HeardSummary()
    other.receive(own.since(0, 0))
    assert lacks(other, here + more) == [], "who comes later is told both at once"
    own.leaving()
    anew = own.since(heard.generation, heard.position)
    assert anew.summary
    heard.receive(anew)
    assert lacks(heard, here) == []
    assert lacks(heard, more) != [], "a new generation names what is left"


def test_many_additions_are_encoded_anew() -> None:
    here = prefixes(1, 2 * ADDED_MAX)
    own, heard, behind = OwnSummary(5, lambda: here, generation=1), HeardSummary(), HeardSummary()
    for each in (heard, behind):
        each.receive(own.since(0, 0))
    more = prefixes(2, ADDED_MAX)
    own.arrived(more[:-5])
    heard.receive(own.since(heard.generation, heard.position))
    own.arrived(more[-5:] + prefixes(3, 2000))
    for each in (heard, behind, HeardSummary()):
        told = own.since(each.generation, each.position)
        assert len(told.summary) > 1000
        assert not told.added
        each.receive(told)
        assert lacks(each, here + more) == []


def test_the_largest_fits_its_frame() -> None:
    own = OwnSummary(5, lambda: prefixes(1, TOLD_MAX - 100), generation=1)
    assert len(own.since(0, 0).summary) <= SUMMARY_MAX


steps = st.lists(st.one_of(st.integers(1, 400), st.just("gone"), st.just("asked")), max_size=30)


@given(steps)
def test_who_asks_now_and_then_knows_what_is_there(run: list[int | str]) -> None:
    """Whatever comes and goes: after each answer nothing that is there is taken to be lacking."""
    here: list[int] = []
    own, heard, seed = OwnSummary(9, lambda: list(here), generation=1), HeardSummary(), 0
    for step in [*run, "asked"]:
        if isinstance(step, int):
            seed += 1
            arrived = prefixes(seed, step)
            here += arrived
            own.arrived(arrived)
        elif step == "gone":
            own.leaving()
            del here[: len(here) // 2]
        else:
            heard.receive(own.since(heard.generation, heard.position))
            assert lacks(heard, here) == []


GOOD = OwnSummary(5, lambda: prefixes(1, 50), generation=7).since(0, 0)


@pytest.mark.parametrize(
    "told",
    [
        Update(7, 5, b"", b""),
        Update(8, 0, GOOD.summary, b""),
        Update(7, 0, GOOD.summary[:-1], b""),
        Update(3, 0, Summary(1, 2 * TOLD_MAX, 3).encode(), b""),
        Update(7, 0, GOOD.summary, bytes(7)),
        Update(7, 0, GOOD.summary, bytes(8 * ADDED_MAX + 8)),
        Update(7, 0, GOOD.summary[:21] + zstandard.compress(bytes(8 << 20)), b""),
        Update(7, 5000, GOOD.summary, b"".join([each.to_bytes(8, "big") for each in prefixes(2, 5000)])),
    ],
    ids=[
        "from nothing",
        "another generation",
        "cut",
        "too large",
        "half a prefix",
        "too many",
        "bomb",
        "more than it is made for",
    ],
)
def test_wrong_updates_are_malformed_and_nothing_is_known_then(told: Update) -> None:
    heard = HeardSummary()
    with pytest.raises(Malformed):
        heard.receive(told)
    assert (heard.among(prefixes(1, 50)), heard.generation, heard.position) == ([], 0, 0)


def test_going_on_from_what_was_not_told() -> None:
    for told in (Update(8, 3, b"", b""), Update(7, GOOD.position - 1, b"", b"")):
        heard = HeardSummary()
        heard.receive(GOOD)
        with pytest.raises(Malformed):
            heard.receive(told)


def test_all_ones_say_nothing() -> None:
    raw = bytearray(Summary(1, 4096)._bits.save_bytes())
    raw[8:] = b"\xff" * (len(raw) - 8)
    lie = summary([]).encode()[:21] + zstandard.compress(bytes(raw))
    with pytest.raises(Malformed, match="names more"):
        HeardSummary().receive(Update(3, 0, lie, b""))
