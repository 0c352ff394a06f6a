"""Exact differences of sets, whatever they are, and whatever the other side says."""

import random
from collections.abc import Callable, Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.reconcile import (
    ANSWER_BYTES,
    LEAF,
    MARK,
    NAMES_MAX,
    Answer,
    HashSet,
    Question,
    Reconciliation,
    answer,
)
from forge_p2p.errors import Malformed
from forge_p2p.ids import Hash
from forge_p2p.wire.bodies import decode_body, encode_body
from forge_p2p.wire.fields import FrameType
from forge_p2p.wire.sets import Reconcile, Reconciled

SALT = bytes(range(32))


def hashes(seed: int, count: int) -> list[Hash]:
    chance = random.Random(seed)
    return [Hash(chance.randbytes(32)) for _ in range(count)]


def heard(body: Reconcile | Reconciled) -> tuple[Reconcile | Reconciled, int]:
    """What arrives at the other side, and in how many bytes."""
    encoded = encode_body(body)
    arrived = decode_body(body.TYPE, memoryview(encoded))
    assert isinstance(arrived, Reconcile | Reconciled)
    return arrived, len(encoded)


def reconcile(here: Iterable[bytes], there: Iterable[bytes], width: int = 32) -> tuple[Reconciliation, int]:
    """What comes out, and the bytes both ways."""
    asking, answering = Reconciliation(HashSet.of(here, width), SALT), HashSet.of(there, width)
    size = 0
    while (question := asking.next_question()) is not None:
        asked, asked_size = heard(Reconcile(SALT, question))
        assert isinstance(asked, Reconcile)
        told, told_size = heard(Reconciled(answer(answering, asked.question)))
        assert isinstance(told, Reconciled)
        asking.receive(told.answer)
        size += asked_size + told_size
    return asking, size


near = st.builds(lambda head, tail: head.ljust(31, b"\x00") + bytes([tail]), st.binary(max_size=2), st.integers(0, 255))
"""Hashes that somebody has chosen, with many leading digits in common."""


@given(st.sets(near, max_size=300), st.sets(near, max_size=300))
def test_differences_are_exact(here: set[bytes], there: set[bytes]) -> None:
    found, _ = reconcile(here, there)
    assert found.missing == there - here
    assert found.extra == here - there


@given(st.sets(near, max_size=300), st.sets(near, max_size=300))
def test_differences_of_prefixes_are_exact(here: set[bytes], there: set[bytes]) -> None:
    ours, theirs = ({each[-8:] for each in hashes} for hashes in (here, there))
    found, _ = reconcile(ours, theirs, width=8)
    assert found.missing == theirs - ours
    assert found.extra == ours - theirs


@pytest.mark.parametrize("common", [0, 1, LEAF, LEAF + 1, 5000])
@pytest.mark.parametrize(("missing", "extra"), [(0, 0), (1, 0), (0, 1), (40, 60), (2000, 0), (0, 2000)])
def test_sets_of_all_sizes(common: int, missing: int, extra: int) -> None:
    both, theirs, ours = hashes(1, common), hashes(2, missing), hashes(3, extra)
    found, size = reconcile(both + ours, [*theirs, *both])
    assert (found.missing, found.extra) == (set(theirs), set(ours))
    assert size < 3000 + 700 * (missing + extra)
    short = [[each[:8] for each in side] for side in (both + ours, [*theirs, *both], theirs, ours)]
    found, size = reconcile(short[0], short[1], width=8)
    assert (found.missing, found.extra) == (set(short[2]), set(short[3]))
    assert size < 3000 + 600 * (missing + extra)


def test_equal_sets_cost_one_question() -> None:
    both = hashes(1, 20_000)
    found, size = reconcile(both, reversed(both))
    assert not found.missing
    assert not found.extra
    assert size < 2500


def test_a_set_may_change_between_questions() -> None:
    """What was named and is gone when it is asked for is not missing."""
    here, there = hashes(1, 500), hashes(1, 500) + hashes(2, 20)
    asking = Reconciliation(HashSet.of(here), SALT)
    while (question := asking.next_question()) is not None:
        asking.receive(answer(HashSet.of(here if question.names else there), question))
        if question.names:
            there = here
    assert asking.missing == set()


def hear(asking: Reconciliation, say: Callable[[Question], Answer]) -> None:
    """Asks until nothing is left to ask."""
    while (question := asking.next_question()) is not None:
        asking.receive(say(question))


def test_who_has_less_patience_is_told_so() -> None:
    asking = Reconciliation(HashSet.of(hashes(1, 1000)), SALT, most=2000)
    with pytest.raises(Malformed, match="differ in more than 2000"):
        hear(asking, lambda question: answer(HashSet.of(hashes(2, 1000)), question))


def test_a_prefix_that_is_not_below_what_was_asked_for_is_malformed() -> None:
    asking = Reconciliation(HashSet.of([], 8), SALT)
    asking.next_question()
    with pytest.raises(Malformed, match="does not begin so"):
        asking.receive(Answer((b"\x01" + b"\xff" * 8,) * 16, b""))


def test_who_makes_things_up_is_not_listened_to_for_ever() -> None:
    chance = random.Random(1)
    said = 0

    def say(question: Question) -> Answer:
        nonlocal said
        told = Answer(tuple([b"\x00" + chance.randbytes(16 * MARK) for _ in question.prefixes]), b"")
        said += len(encode_body(Reconciled(told)))
        return told

    with pytest.raises(Malformed, match="differ in more than"):
        hear(Reconciliation(HashSet.of(hashes(1, 1000)), SALT), say)
    assert said < 2 * ANSWER_BYTES


def test_who_names_and_never_tells_is_not_asked_for_ever() -> None:
    with pytest.raises(Malformed, match="differ in more than"):
        hear(
            Reconciliation(HashSet.of([]), SALT),
            lambda question: Answer(tuple([b"\x01" + bytes(MARK)] * len(question.prefixes)), b""),
        )


@pytest.mark.parametrize(
    "told",
    [
        Answer((), b""),
        Answer((b"\x01",) * 17, b""),
        Answer((b"",) * 16, b""),
        Answer((b"\x02",) * 16, b""),
        Answer((b"\x00" + bytes(15 * MARK),) * 16, b""),
        Answer((b"\x01" + bytes(MARK - 1),) * 16, b""),
        Answer((b"\x01",) * 16, bytes(32)),
        Answer((b"\x01",) * 16, bytes(31)),
    ],
)
def test_wrong_answers_are_malformed(told: Answer) -> None:
    asking = Reconciliation(HashSet.of(hashes(1, 100)), SALT)
    asking.next_question()
    with pytest.raises(Malformed):
        asking.receive(told)


@pytest.mark.parametrize(
    "question",
    [
        [SALT[:-1], [], []],
        [SALT, ["b", "a"], []],
        [SALT, ["a", "a"], []],
        [SALT, ["a", "ab"], []],
        [SALT, ["", "a"], []],
        [SALT, ["g"], []],
        [SALT, ["A"], []],
        [SALT, ["a" * 65], []],
        [SALT, [f"{number:03x}" for number in range(513)], []],
        [SALT, [], [["a", bytes(8)], ["a", bytes(8)]]],
        [SALT, [], [["a", bytes(LEAF * MARK + 1)]]],
        [SALT, [], [[f"{number:03x}", bytes(LEAF * MARK)] for number in range(NAMES_MAX // LEAF + 1)]],
        [SALT, []],
    ],
)
def test_wrong_questions_are_malformed(question: list[object]) -> None:
    with pytest.raises(Malformed):
        decode_body(FrameType.RECONCILE, memoryview(msgspec.msgpack.encode([SALT, question])))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for kind in (FrameType.RECONCILE, FrameType.RECONCILED):
        for body in (data, b"\x92\xc4\x20" + SALT + data, b"\x91" + data):
            try:
                decode_body(kind, memoryview(body))
            except Malformed:
                continue


@given(st.lists(st.text("0123456789abcdef", max_size=3), max_size=20), st.sets(near, max_size=100))
def test_every_question_has_an_answer(prefixes: list[str], there: set[bytes]) -> None:
    asked: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not asked or not prefix.startswith(asked[-1]):
            asked.append(prefix)
    told = answer(HashSet.of(there), Question(SALT, tuple(asked), ()))
    assert len(told.ranges) == len(asked)
    deep = Question(SALT, ("0" * 17, "f" * 63), (("a" * 64, bytes(8)),))
    assert len(answer(HashSet.of([each[:8] for each in there], 8), deep).ranges) == 2, "longer than what there is"
