"""Records of names: bytes, signatures, rights, and what may follow what."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root
from forge_p2p.content.membership import CLOCK_SKEW, Role
from forge_p2p.content.ref import (
    RECORD_BYTES_MAX,
    SEQ_MAX,
    BadRef,
    RefFlaw,
    RefRecord,
    decode_record,
    require_written_now,
    sign_record,
    verify_record,
    verify_step,
)
from forge_p2p.content.refname import NAME_BYTES, check_name, fault_of
from forge_p2p.errors import Malformed, UsageError
from forge_p2p.ids import Hash, NodeId
from tests.content.logs import HOME, NAME, log, record, root, writer
from tests.content.networks import DAY, NOW, World, key

WORLD = World()
WRITER = writer(WORLD)
FIRST, SECOND = log(WORLD, WRITER, 2)


def flaw_of(broken: RefRecord, *, world: World = WORLD, name: str = NAME) -> RefFlaw:
    with pytest.raises(BadRef) as caught:
        verify_record(broken, world.id, name)
    return caught.value.flaw


def step_flaw(later: RefRecord, earlier: RefRecord | None) -> RefFlaw:
    with pytest.raises(BadRef) as caught:
        verify_step(later, earlier)
    return caught.value.flaw


# Names


@pytest.mark.parametrize("name", ["a", "nightly", "a/b/c", "ß/日本語", "v1.2-rc_3+4", "x" * NAME_BYTES, "a~b", "_/=,"])
def test_good_names(name: str) -> None:
    assert fault_of(name) == ""
    assert check_name(name) == name


SHAPES = ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", ".git", "-rf", "a/-b", "a.", "a@1", "x" * (NAME_BYTES + 1)]
CHARACTERS = [" ", "\t", "\n", "\0", "\\", ":", "*", "?", '"', "<", ">", "|", "\u202e", "e\u0301", "\ud800", "日" * 67]


@pytest.mark.parametrize("name", [*SHAPES, *(f"a{character}b" for character in CHARACTERS)])
def test_what_no_name_may_be(name: str) -> None:
    assert fault_of(name)


def test_what_is_typed_is_normalised() -> None:
    assert check_name("a\u0301") == "á"
    with pytest.raises(UsageError, match="cannot be a name: it has white space"):
        check_name("a b")


# Bytes


def some_root(name: Hash, size: int, level: int) -> Root:
    return Root(Kind.BLOB if level else Kind.TREE, Link(name, size + (CHUNK_MAX + 1) * bool(level), level))


records = st.builds(
    lambda name, seq, size, level, times, protected, previous: sign_record(
        WRITER.private,
        replace(
            FIRST,
            name=name,
            seq=seq,
            previous=Hash(previous),
            target=some_root(Hash(previous), size, level),
            time=times[0],
            expires=times[1],
            protected=protected,
        ),
    ),
    st.sampled_from(["a", NAME, "日本語/ß", "x" * NAME_BYTES]),
    st.integers(1, SEQ_MAX),
    st.integers(0, CHUNK_MAX),
    st.integers(0, 6),
    st.tuples(*[st.integers(0, (1 << 63) - 1)] * 2),
    st.booleans(),
    st.binary(min_size=32, max_size=32),
)


@given(records)
def test_round_trip(made: RefRecord) -> None:
    assert decode_record(made.encode()) == made
    assert decode_record(made.encode()).hash == made.hash


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    encoded = bytearray(SECOND.encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises((Malformed, BadRef)):
        verify_all(bytes(encoded))


def verify_all(encoded: bytes) -> None:
    changed = decode_record(encoded)
    verify_record(changed, WORLD.id, NAME)
    verify_step(changed, FIRST)


@given(st.binary(max_size=600))
def test_decoding_accepts_or_raises_malformed(data: bytes) -> None:
    for form in (data, FIRST.encode()[: len(data)], FIRST.encode()[:150] + data):
        with contextlib.suppress(Malformed):
            decode_record(form)


def test_the_longest_record_fits() -> None:
    token = WORLD.token(7, Role.ADMIN, label="x" * 64)
    admin = WORLD.member(8, token, label="y" * 64)
    deep = WORLD.member(9, WORLD.token(10, Role.WRITER, by=admin, label="z" * 64), label="w" * 64)
    longest = record(WORLD, deep, name="日" * 66 + "ab")
    assert len(longest.encode()) < RECORD_BYTES_MAX
    assert verify_record(decode_record(longest.encode()), WORLD.id, longest.name).role is Role.WRITER


@pytest.mark.parametrize("changes", [{"seq": 0}, {"time": -1}, {"name": "a b"}, {"chain": ()}, {"expires": 1 << 63}])
def test_what_no_record_can_say(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot say that"):
        record(WORLD, WRITER, **changes)


# Rights


@pytest.mark.parametrize("role", [Role.WRITER, Role.ADMIN])
def test_who_may_write(role: Role) -> None:
    author = writer(WORLD, 30, role)
    assert verify_record(record(WORLD, author), WORLD.id, NAME).role is role


@pytest.mark.parametrize("role", [Role.READER, Role.SEED])
def test_who_may_not(role: Role) -> None:
    assert flaw_of(record(WORLD, writer(WORLD, 30, role))) is RefFlaw.NOT_A_WRITER


def test_forgeries() -> None:
    assert flaw_of(FIRST, world=World(2000)) is RefFlaw.FOREIGN
    assert flaw_of(FIRST, name="other") is RefFlaw.FOREIGN
    assert flaw_of(replace(FIRST, target=root(9))) is RefFlaw.BROKEN_SIGNATURE
    assert flaw_of(replace(FIRST, signature=bytes(64))) is RefFlaw.BROKEN_SIGNATURE
    stolen = replace(record(WORLD, writer(WORLD, 31, Role.READER)), chain=WRITER.chain)
    assert flaw_of(stolen) is RefFlaw.BROKEN_SIGNATURE, "another's certificates"
    other = World(2000)
    foreign = writer(other)
    assert flaw_of(record(WORLD, foreign)) is RefFlaw.NOT_A_WRITER, "a member of another network"
    assert flaw_of(sign_record(key(77), replace(FIRST, signature=b""))) is RefFlaw.BROKEN_SIGNATURE


def test_rights_are_those_of_the_time() -> None:
    author = WORLD.member(40, WORLD.token(41, Role.WRITER, expires=NOW + DAY))
    verify_record(record(WORLD, author, time=NOW + DAY - 1), WORLD.id, NAME)
    assert flaw_of(record(WORLD, author, time=NOW + DAY)) is RefFlaw.NOT_A_WRITER
    assert flaw_of(record(WORLD, author, time=NOW - 10 * DAY)) is RefFlaw.NOT_A_WRITER
    checked = {author.chain: None}
    with pytest.raises(BadRef):
        verify_record(record(WORLD, author, time=NOW + DAY), WORLD.id, NAME, checked)


# Order


def test_what_follows() -> None:
    verify_step(FIRST, None)
    verify_step(SECOND, FIRST)
    for later, earlier in [
        (SECOND, None),
        (FIRST, FIRST),
        (record(WORLD, WRITER, SECOND), FIRST),
        (record(WORLD, WRITER, seq=2, time=NOW + 1), FIRST),
        (record(WORLD, WRITER, record(WORLD, WRITER, target=root(5))), FIRST),
    ]:
        assert step_flaw(later, earlier) is RefFlaw.DOES_NOT_FOLLOW


def test_time_does_not_run_backwards() -> None:
    verify_step(record(WORLD, WRITER, FIRST, time=FIRST.time), FIRST)
    assert step_flaw(record(WORLD, WRITER, FIRST, time=FIRST.time - 1), FIRST) is RefFlaw.WRONG_TIME


def test_a_home_takes_what_was_written_now() -> None:
    for offset in (-CLOCK_SKEW, 0, CLOCK_SKEW):
        require_written_now(FIRST, NOW + offset)
    for offset in (-CLOCK_SKEW - 1, CLOCK_SKEW + 1):
        with pytest.raises(BadRef, match="clock"):
            require_written_now(FIRST, NOW + offset)


def test_protected_names_are_the_admins() -> None:
    admin = WORLD.founder()
    assert step_flaw(record(WORLD, WRITER, protected=True), None) is RefFlaw.PROTECTED
    protected = record(WORLD, admin, FIRST, protected=True)
    verify_step(protected, FIRST)
    assert step_flaw(record(WORLD, WRITER, protected), protected) is RefFlaw.PROTECTED
    assert step_flaw(record(WORLD, WRITER, protected, protected=False), protected) is RefFlaw.PROTECTED
    opened = record(WORLD, admin, protected, protected=False)
    verify_step(opened, protected)
    verify_step(record(WORLD, WRITER, opened), opened)


def test_only_admins_move_a_name() -> None:
    elsewhere = NodeId(bytes(32))
    assert FIRST.home == HOME
    assert step_flaw(record(WORLD, WRITER, FIRST, home=elsewhere), FIRST) is RefFlaw.PROTECTED
    verify_step(record(WORLD, WORLD.founder(), FIRST, home=elsewhere), FIRST)


def test_expiry() -> None:
    assert not FIRST.has_expired(NOW + 1000 * DAY)
    brief = record(WORLD, WRITER, expires=NOW + 10)
    assert not brief.has_expired(NOW + 9)
    assert brief.has_expired(NOW + 10)
