"""Tokens: handed out, pasted, used to join; and one clear line for each that is not good, without its secrets."""

from base64 import b32encode
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.armor import armor
from forge_p2p.content.contact import ADDRESSES_MAX, Contact
from forge_p2p.content.invite import CONTACTS_MAX, enrol, format_token, is_token, name_fits, parse_token, verify_token
from forge_p2p.content.membership import Flaw, NotAMember, Role, encode_chain, verify_chain
from forge_p2p.errors import UsageError
from forge_p2p.ids import NodeId
from tests.content.networks import DAY, NOW, World, key, public

WORLD = World()
CONTACTS = (
    Contact(NodeId(public(key(50))), (("192.0.2.7", 4433), ("2001:db8::7", 4433))),
    Contact(NodeId(public(key(51))), ()),
)
TOKEN = WORLD.token(4, Role.WRITER, expires=NOW + DAY, contacts=CONTACTS, label="build")
TEXT = format_token(TOKEN)
NODE = NodeId(public(key(5)))

HOSTS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
ADDRESSES = st.lists(st.tuples(HOSTS, st.integers(1, 65_535)), max_size=ADDRESSES_MAX).map(tuple)
CONTACT = st.builds(Contact, st.binary(min_size=32, max_size=32).map(NodeId), ADDRESSES)


@given(st.lists(CONTACT, max_size=CONTACTS_MAX), st.sampled_from(Role), st.integers(0, 1 << 60))
def test_round_trip(contacts: list[Contact], role: Role, expires: int) -> None:
    token = WORLD.token(4, role, expires=expires, contacts=contacts)
    text = format_token(token)
    assert is_token(text)
    assert text.startswith("fnet1")
    assert text.isalnum()
    assert parse_token(text) == parse_token(text.upper()) == token


def test_only_so_many_contacts_are_taken() -> None:
    many = WORLD.token(4, contacts=[CONTACTS[0]] * 20)
    assert len(parse_token(format_token(many)).contacts) == CONTACTS_MAX


def test_joining() -> None:
    given = verify_token(TOKEN, NOW)
    assert (given.role, given.expires, given.label, given.subject) == (Role.WRITER, NOW + DAY, "build", TOKEN.id)
    member = verify_chain(enrol(TOKEN, NODE, NOW, "laptop"), WORLD.id, NODE, NOW)
    assert (member.role, member.expires, member.label, member.token) == (Role.WRITER, NOW + DAY, "laptop", TOKEN.id)


def test_an_admin_who_joined_invites_others() -> None:
    admin = WORLD.member(3, WORLD.token(2, Role.ADMIN))
    reader = WORLD.member(5, parse_token(format_token(WORLD.token(4, Role.READER, admin))))
    assert verify_chain(reader.chain, WORLD.id, reader.node_id, NOW).role is Role.READER


def test_a_token_that_is_over_enrols_nobody() -> None:
    for now, flaw in ((NOW + DAY, Flaw.EXPIRED), (NOW - 30 * DAY, Flaw.NOT_YET_VALID)):
        with pytest.raises(NotAMember) as caught:
            enrol(TOKEN, NODE, now)
        assert caught.value.flaw is flaw


def test_a_key_that_is_not_the_tokens() -> None:
    mixed = replace(WORLD.token(4), seed=WORLD.token(6).seed)
    with pytest.raises(NotAMember) as caught:
        enrol(parse_token(format_token(mixed)), NODE, NOW)
    assert caught.value.flaw is Flaw.WRONG_SUBJECT


def test_secrets_are_not_shown() -> None:
    shown = repr(TOKEN)
    assert repr(TOKEN.secret) not in shown
    assert TOKEN.seed.hex() not in shown
    assert repr(TOKEN.seed) not in shown


@pytest.mark.parametrize("text", ["", "hello", "fticket1abc", "fnet", "x" + TEXT])
def test_not_a_token(text: str) -> None:
    with pytest.raises(UsageError, match="not a token"):
        parse_token(text)


def test_a_message_quotes_no_secret() -> None:
    """The beginning that is quoted ends before the secrets begin."""
    secrets = TEXT.index(_armored(TOKEN.secret))
    assert secrets > 300
    with pytest.raises(UsageError) as caught:
        parse_token("x" + TEXT)
    assert TEXT[:36] in caught.value.message
    assert TEXT[41:46] not in caught.value.message


def _armored(secret: bytes) -> str:
    """Part of the text that must stem from `secret`, at whichever of five bit offsets it lies."""
    for offset in range(5):
        part = b32encode(bytes(offset) + secret[:20]).decode().lower().rstrip("=")[8:24]
        if part in TEXT:
            return part
    raise AssertionError("the secret is not where it should be")


def test_another_version() -> None:
    with pytest.raises(UsageError, match="this token is of version 2"):
        parse_token(TEXT.replace("fnet1", "fnet2"))


@pytest.mark.parametrize("length", range(len("fnet1"), len(TEXT), 11))
def test_truncated(length: int) -> None:
    with pytest.raises(UsageError, match="this token is truncated"):
        parse_token(TEXT[:length])


@pytest.mark.parametrize("place", range(len("fnet1") + 4, len(TEXT), 11))
def test_mistyped(place: int) -> None:
    other = "a" if TEXT[place] != "a" else "b"
    with pytest.raises(UsageError, match="this token is mistyped"):
        parse_token(TEXT[:place] + other + TEXT[place + 1 :])


CHAIN = encode_chain(TOKEN.chain)
BODY = [bytes(WORLD.id), "studio", CHAIN, [], bytes(32), bytes(32)]


def changed(place: int, value: object) -> list[object]:
    return [*BODY[:place], value, *BODY[place + 1 :]]


@pytest.mark.parametrize(
    "body",
    [
        *(BODY[:-1], {}, changed(0, b"short"), changed(0, "text"), changed(1, ""), changed(1, "x" * 65)),
        *(changed(1, " padded"), changed(1, "two\nlines"), changed(2, CHAIN[:-1]), changed(2, bytes(5000))),
        *(changed(3, [[bytes(32), []]] * (CONTACTS_MAX + 1)), changed(3, [[b"short", []]]), changed(4, bytes(31))),
        *(changed(3, [[bytes(32), [[b"abc", 1]]]]), changed(3, [[bytes(32), [[bytes(4), 0]]]]), changed(5, None)),
    ],
)
def test_a_right_checksum_over_nonsense(body: object) -> None:
    parse_token(armor("fnet", 1, msgspec.msgpack.encode(BODY)))
    with pytest.raises(UsageError, match="this token is malformed"):
        parse_token(armor("fnet", 1, msgspec.msgpack.encode(body)))


@given(st.binary(max_size=400))
def test_any_bytes_as_a_token(data: bytes) -> None:
    with pytest.raises(UsageError):
        parse_token(armor("fnet", 1, data))


def test_names() -> None:
    assert name_fits("studio")
    assert name_fits("Grüße 2")
    for wrong in ("", " ", "x ", "a\tb", "x" * 65, "\x1b[0m"):
        assert not name_fits(wrong)
