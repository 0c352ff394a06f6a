"""Sealed credentials: readable by members, in one session, in one direction; anything else is refused."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.sealing import OVERHEAD, SEALED_FORMAT, Direction, seal, unseal
from forge_p2p.content.ticket import CAPABILITY_FORMAT
from forge_p2p.ids import NodeId

SECRET, OTHER = bytes(range(32)), bytes(32)
SERVER, CLIENT, THIRD = NodeId(b"s" * 32), NodeId(b"c" * 32), NodeId(b"t" * 32)
TEXT = b"a chain" * 20
SEALED = seal(SECRET, SERVER, CLIENT, Direction.CLIENT, TEXT)


@given(st.binary(max_size=2048), st.sampled_from(Direction))
def test_round_trip(text: bytes, direction: Direction) -> None:
    sealed = seal(SECRET, SERVER, CLIENT, direction, text)
    assert len(sealed) == len(text) + OVERHEAD
    assert sealed[0] == SEALED_FORMAT
    assert sealed[0] != CAPABILITY_FORMAT
    assert unseal(SECRET, SERVER, CLIENT, direction, sealed) == text


def test_each_is_different() -> None:
    assert seal(SECRET, SERVER, CLIENT, Direction.CLIENT, TEXT) != SEALED
    assert TEXT not in SEALED


def test_it_opens_in_its_place_only() -> None:
    ways = product([SECRET, OTHER], [SERVER, CLIENT, THIRD], [SERVER, CLIENT, THIRD], Direction)
    opened = [way for way in ways if unseal(*way, SEALED) is not None]
    assert opened == [(SECRET, SERVER, CLIENT, Direction.CLIENT)]


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_any_change_is_noticed(place: int, change: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= change
    assert unseal(SECRET, SERVER, CLIENT, Direction.CLIENT, bytes(changed)) is None


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_any_truncation_is_noticed(length: int) -> None:
    assert unseal(SECRET, SERVER, CLIENT, Direction.CLIENT, SEALED[:length]) is None


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert unseal(SECRET, SERVER, CLIENT, Direction.CLIENT, data) is None
