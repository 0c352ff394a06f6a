"""The bytes of every message: fixed examples that never change, and round trips."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forge_p2p.errors import Malformed
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import Data
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.messages import Body, FrameType, code_of, decode_body, encode_body, printable, split_hashes
from tests.wire.strategies import bodies

ID = bytes(range(32))
HASH = bytes(range(32, 64))

EXAMPLES: list[tuple[Body, str]] = [
    (
        messages.Hello(1, 3, ("delta", "é"), ID, "forge/1.0", 64, b""),
        f"01 3c 97 01 03 92 a564656c7461 a2c3a9 c420{ID.hex()} a9666f7267652f312e30 40 c400",
    ),
    (
        messages.Hello(1, 1, (), ID, "", 1024, HASH),
        f"01 404c 97 01 01 90 c420{ID.hex()} a0 cd0400 c420{HASH.hex()}",
    ),
    (messages.Proof(ID + HASH), f"02 4043 91 c440{ID.hex()}{HASH.hex()}"),
    (messages.Credentials(b"tkt"), "03 06 91 c403746b74"),
    (messages.Welcome(), "04 01 90"),
    (messages.Refused(Code.EXPIRED, "too late"), "05 0b 92 0b a8746f6f206c617465"),
    (messages.Ping(0xFFFFFFFF), "06 06 91 ceffffffff"),
    (messages.Pong(7), "07 02 91 07"),
    (messages.Goodbye(Code.LEAVING, ""), "08 03 92 02 a0"),
    (messages.Want(HASH, 128, 30_000, 262_144), f"10 2d 94 c420{HASH.hex()} cc80 cd7530 ce00040000"),
    (messages.Missing((0, 300)), "12 06 91 92 00 cd012c"),
    (messages.Done(Code.BUDGET, ""), "13 03 92 24 a0"),
    (messages.HaveQuery(HASH), f"14 23 91 c420{HASH.hex()}"),
    (messages.Have(b"\xa0"), "15 04 91 c401a0"),
]


@pytest.mark.parametrize(("message", "form"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_bytes_are_these(message: Body, form: str) -> None:
    assert encode_frame(message).hex() == form.replace(" ", "")
    assert FrameReader().feed(bytes.fromhex(form)) == [message]


def test_every_message_has_an_example() -> None:
    assert {message.TYPE for message, _ in EXAMPLES} == set(FrameType) - {FrameType.DATA}


@given(bodies)
def test_round_trip(message: Body) -> None:
    assert decode_body(message.TYPE, memoryview(encode_body(message))) == message


@given(bodies, st.sampled_from([b"\x00", b"\xc0", b"\x93\x01\x02\x03", b"\x81\xa1k\xa1v", b"\xcb" + bytes(8)]))
def test_fields_of_a_later_version_are_ignored(message: Body, field: bytes) -> None:
    body = encode_body(message)
    longer = bytes([body[0] + 1]) + body[1:] + field
    assert decode_body(message.TYPE, memoryview(longer)) == message


@given(bodies)
def test_fields_must_not_be_missing(message: Body) -> None:
    body = encode_body(message)
    if body[0] > 0x90:
        with pytest.raises(Malformed):
            decode_body(message.TYPE, memoryview(bytes([body[0] - 1]) + body[1:]))


@given(st.sampled_from(FrameType), st.binary(max_size=200))
@example(FrameType.WELCOME, b"\x91" * 100_000)
@example(FrameType.WELCOME, b"\xdd\xff\xff\xff\xff")
@example(FrameType.MISSING, b"\x91\xdd\xff\xff\xff\xff\x00")
@example(FrameType.GOODBYE, b"\x92\x00\xa1\xff")
@example(FrameType.HELLO, b"\x97\x02\x01\x90\xc4\x20" + bytes(32) + b"\xa0\x01\xc4\x00")
def test_decoding_accepts_or_raises_malformed(kind: FrameType, body: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert isinstance(decode_body(kind, memoryview(body)), Body | Data)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=50))
def test_hashes_come_apart_as_they_were_joined(hashes: list[bytes]) -> None:
    assert split_hashes(b"".join(hashes)) == hashes


def test_text_of_a_stranger_cannot_move_the_cursor() -> None:
    assert printable("ok é\n\x1b[31m\u202e") == "ok é??[31m?"


def test_codes_of_a_later_version_are_unknown() -> None:
    assert code_of(11) is Code.EXPIRED
    assert code_of(4711) is Code.UNKNOWN
    assert len(set(Code)) == len(Code.__members__), "numbers are never reused"
