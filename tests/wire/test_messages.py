"""The bytes of every message: fixed examples that never change, and round trips."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import msgpack

from forge_p2p.content.contact import Contact
from forge_p2p.content.reconcile import Answer, Question
from forge_p2p.errors import Malformed
from forge_p2p.ids import NodeId
from forge_p2p.wire import messages, refs, sets
from forge_p2p.wire.bodies import decode_body, encode_body
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import Data
from forge_p2p.wire.fields import Body, FrameType
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.messages import code_of, printable, split_hashes
from tests.wire.strategies import bodies

ID = bytes(range(32))
HASH = bytes(range(32, 64))
AT = ("192.0.2.1", 4433)
PLACE = "92 c404c0000201 cd1151"

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
    (messages.Welcome(), "04 03 91 c400"),
    (messages.Welcome(b"srv"), "04 06 91 c403737276"),
    (messages.Refused(Code.EXPIRED, "too late"), "05 0b 92 0b a8746f6f206c617465"),
    (messages.Ping(0xFFFFFFFF), "06 06 91 ceffffffff"),
    (messages.Pong(7), "07 02 91 07"),
    (messages.Goodbye(Code.LEAVING, ""), "08 03 92 02 a0"),
    (messages.Want(HASH, 128, 30_000, 262_144), f"10 31 98 c420{HASH.hex()} cc80 cd7530 ce00040000 c2 90 90 c2"),
    (
        messages.Want(HASH * 2, 64, 1000, 131_072, True, ((0, ID),), ((1, b"\x08\x01\x02\x03\x04"),), True),
        f"10 407d 98 c440{HASH.hex() * 2} 40 cd03e8 ce00020000 c3 91 92 00 c420{ID.hex()} 91 92 01 c4050801020304 c3",
    ),
    (messages.Baseless((0, 300)), "29 06 91 92 00 cd012c"),
    (messages.Missing((0, 300)), "12 06 91 92 00 cd012c"),
    (messages.Done(Code.BUDGET, ""), "13 03 92 24 a0"),
    (messages.HaveQuery(HASH), f"14 23 91 c420{HASH.hex()}"),
    (messages.Have(b"\xa0"), "15 04 91 c401a0"),
    (messages.News((b"new", b"")), "09 09 91 92 c4036e6577 c400"),
    (messages.FindNode(ID[:20]), f"16 17 91 c414{ID[:20].hex()}"),
    (
        messages.Nodes.of([Contact(NodeId(ID), (AT, ("2001:db8::1", 443))), Contact(NodeId(HASH), ())]),
        f"17 406a 91 92 92 c420{ID.hex()} 92 {PLACE} 92 c41020010db8{1:024x} cd01bb 92 c420{HASH.hex()} 90",
    ),
    (messages.FindProviders(ID[:20]), f"18 17 91 c414{ID[:20].hex()}"),
    (
        messages.Providers.of([(Contact(NodeId(ID), ()), 600)], [Contact(NodeId(HASH), ())]),
        f"19 404f 92 91 92 92 c420{ID.hex()} 90 cd0258 91 92 c420{HASH.hex()} 90",
    ),
    (
        messages.Announce.of(ID[:20], 900, (AT,)),
        f"1a 25 93 c414{ID[:20].hex()} cd0384 91 {PLACE}",
    ),
    (
        messages.Follow.of(HASH, (AT,), True),
        f"1b 32 95 c420{HASH.hex()} 91 {PLACE} c3 c400 c2",
    ),
    (
        messages.Follow.of(HASH, (), False, ID, withhold=True),
        f"1b 4048 95 c420{HASH.hex()} 90 c2 c420{ID.hex()} c3",
    ),
    (messages.Holdings(False, True, HASH[:16]), f"1c 17 95 c2 c3 c410{HASH[:16].hex()} c2 00"),
    (messages.Holdings(False, False, b"", withheld=5000), "1c 09 95 c2 c2 c400 c2 cd1388"),
    (sets.SummaryQuery(300, 7, 65_536), "20 0a 93 cd012c 07 ce00010000"),
    (sets.SummaryTold(300, 9, b"", HASH[:16]), f"21 19 94 cd012c 09 c400 c410{HASH[:16].hex()}"),
    (
        sets.Reconcile(ID, Question(HASH, ("0", "1f"), (("a", bytes(8)),))),
        f"22 405a 92 c420{ID.hex()} 93 c420{HASH.hex()} 92 a130 a23166 91 92 a161 c408{0:016x}",
    ),
    (sets.Reconciled(Answer((b"\x01", b"\x01" + HASH[:8]), b"")), f"23 13 91 92 92 c40101 c40901{HASH[:8].hex()} c400"),
    (messages.Followers.of([Contact(NodeId(ID), ())]), f"1d 26 91 91 92 c420{ID.hex()} 90"),
    (refs.RefPut(b"record"), "30 09 91 c4067265636f7264"),
    (refs.RefVerdict(b""), "31 03 91 c400"),
    (refs.RefRead("é/b", 300, 64), "32 0a 93 a4c3a92f62 cd012c 40"),
    (refs.RefRecords(2, HASH, (b"r",)), f"33 28 93 02 c420{HASH.hex()} 91 c40172"),
    (refs.RefList("a", 128), "34 05 92 a161 cc80"),
    (refs.RefNames(("b", "c/d")), "35 08 91 92 a162 a3632f64"),
]


@pytest.mark.parametrize(("message", "form"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_bytes_are_these(message: Body, form: str) -> None:
    assert encode_frame(message).hex() == form.replace(" ", "")
    assert FrameReader().feed(bytes.fromhex(form)) == [message]


def test_every_message_has_an_example() -> None:
    assert {message.TYPE for message, _ in EXAMPLES} == set(FrameType) - {FrameType.DATA, FrameType.DELTA}


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
    fields = msgpack.decode(encode_body(message))
    came_later = {messages.Welcome: 1, messages.Want: 4, messages.Follow: 2, messages.Holdings: 2}.get(type(message), 0)
    lacking = memoryview(msgpack.encode(fields[: len(fields) - came_later - 1]))
    if len(fields) > came_later:
        with pytest.raises(Malformed):
            decode_body(message.TYPE, lacking)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("04 01 90", messages.Welcome(b"")),
        (f"10 2d 94 c420{HASH.hex()} cc80 cd7530 ce00040000", messages.Want(HASH, 128, 30_000, 262_144, False)),
    ],
)
def test_fields_that_came_later_may_be_missing(form: str, message: Body) -> None:
    assert FrameReader().feed(bytes.fromhex(form)) == [message]


CONTACT = f"92 c420{ID.hex()}"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(FrameType.NEWS, "91 91 c51001" + "00" * 4097, id="item too long"),
        pytest.param(FrameType.NEWS, "91 dc0041" + "c400" * 65, id="too many items"),
        pytest.param(FrameType.NODES, "91 dc0015" + f"{CONTACT} 90" * 21, id="too many nodes"),
        pytest.param(FrameType.PROVIDERS, "92 dc0021" + f"92 {CONTACT} 90 00" * 33 + "90", id="too many providers"),
        pytest.param(FrameType.PROVIDERS, "92 90 dc0015" + f"{CONTACT} 90" * 21, id="too many that are closer"),
        pytest.param(FrameType.PROVIDERS, f"92 91 92 {CONTACT} 90 ce00093a81 90", id="provider for ever"),
        pytest.param(FrameType.FOLLOWERS, "91 dc0021" + f"{CONTACT} 90" * 33, id="too many followers"),
        pytest.param(FrameType.FOLLOWERS, f"91 91 {CONTACT} 99" + "92 c40400000000 01" * 9, id="too many addresses"),
        pytest.param(FrameType.FOLLOWERS, f"91 91 {CONTACT} 91 92 c4050000000000 01", id="address of five bytes"),
        pytest.param(FrameType.FOLLOWERS, f"91 91 {CONTACT} 91 92 c40400000000 00", id="port 0"),
        pytest.param(FrameType.FOLLOWERS, f"91 91 {CONTACT} 91 92 c40400000000 ce00010000", id="port 65536"),
        pytest.param(FrameType.FOLLOWERS, "91 91 92 c41f" + "00" * 31 + "90", id="short node id"),
        pytest.param(FrameType.FIND_NODE, "91 c413" + "00" * 19, id="short target"),
        pytest.param(FrameType.ANNOUNCE, f"93 c414{ID[:20].hex()} ff 90", id="negative time"),
        pytest.param(FrameType.ANNOUNCE, f"93 c414{ID[:20].hex()} 00 91 92 c4050000000000 01", id="announced nowhere"),
        pytest.param(FrameType.FOLLOW, f"93 c420{HASH.hex()} 91 92 c4050000000000 01 c2", id="follower nowhere"),
        pytest.param(FrameType.HOLDINGS, "93 c2 c2 c409" + "00" * 9, id="part of a prefix"),
        pytest.param(FrameType.HOLDINGS, "93 c2 c2 c600010008" + "00" * 65_544, id="too many prefixes"),
        pytest.param(FrameType.REF_PUT, "91 c400", id="no record"),
        pytest.param(FrameType.REF_PUT, "91 c51001" + "00" * 4097, id="record too long"),
        pytest.param(FrameType.REF_READ, "93 d9c9" + "61" * 201 + "00 00", id="name too long"),
        pytest.param(FrameType.REF_READ, "93 a161 ff 00", id="negative number"),
        pytest.param(FrameType.REF_READ, "93 a161 00 41", id="too many records wanted"),
        pytest.param(FrameType.REF_RECORDS, f"93 00 c420{HASH.hex()} dc0041" + "c400" * 65, id="too many records"),
        pytest.param(
            FrameType.REF_RECORDS,
            f"93 00 c420{HASH.hex()} dc0011" + ("c51000" + "00" * 4096) * 16 + "c40100",
            id="too much in records",
        ),
        pytest.param(FrameType.REF_RECORDS, "93 00 c41f" + "00" * 31 + "90", id="short hash"),
        pytest.param(FrameType.REF_NAMES, "91 dc0081" + "a161" * 129, id="too many names"),
        pytest.param(FrameType.HOLDINGS, "93 00 c2 c400", id="number for a flag"),
    ],
)
def test_limits_of_fields(kind: FrameType, body: str) -> None:
    with pytest.raises(Malformed):
        decode_body(kind, memoryview(bytes.fromhex(body)))


def test_the_largest_of_each_fit_their_frames() -> None:
    everywhere = tuple(("2001:db8::ffff:ffff", 65_535) for _ in range(8))
    crowd = [Contact(NodeId(ID), everywhere)] * 32
    for message in (
        messages.News((bytes(4096),) * 4),
        messages.News((bytes(256),) * 64),
        messages.Nodes.of(crowd[:20]),
        messages.Providers.of([(contact, 604_800) for contact in crowd], crowd[:20]),
        messages.Announce.of(ID[:20], 604_800, everywhere),
        messages.Follow.of(HASH, everywhere, True),
        messages.Holdings(True, True, bytes(65_536)),
        messages.Followers.of(crowd),
        messages.Welcome(bytes(4096)),
        refs.RefPut(bytes(4096)),
        refs.RefVerdict(bytes(4096)),
        refs.RefRead("\U0001f600" * 200, (1 << 63) - 1, 64),
        refs.RefRecords((1 << 63) - 1, HASH, (bytes(1024),) * 64),
        refs.RefNames(("\U0001f600" * 200,) * 128),
    ):
        assert FrameReader().feed(encode_frame(message)) == [message]


def test_contacts_come_out_as_they_went_in() -> None:
    contacts = (Contact(NodeId(ID), (("192.0.2.1", 1), ("2001:db8::1", 65_535))), Contact(NodeId(HASH), ()))
    assert messages.Nodes.of(contacts).contacts == messages.Followers.of(contacts).contacts == contacts
    providers = messages.Providers.of([(contacts[0], 60)], contacts)
    assert (providers.providers, providers.closer) == (((contacts[0], 60),), contacts)
    assert messages.Announce.of(ID[:20], 0, contacts[0].addresses).addresses == contacts[0].addresses
    assert messages.Follow.of(HASH, contacts[0].addresses, False).addresses == contacts[0].addresses
    with pytest.raises(ValueError, match="does not appear"):
        messages.Follow.of(HASH, (("forge.example", 1),), False)


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
