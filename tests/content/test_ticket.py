"""Tickets: issued, pasted, verified; and one clear line for each that is not good."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.armor import armor
from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.ticket import (
    CAPABILITY_SIZE,
    MAX_ADDRESSES,
    Capability,
    Ticket,
    decode_capability,
    format_ticket,
    issue,
    parse_ticket,
    verify,
)
from forge_p2p.content.ticketname import is_ticket
from forge_p2p.errors import Malformed, Refused, UsageError
from forge_p2p.ids import Hash, NodeId
from tests.content.test_linktext import roots

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NODE = NodeId(KEY.public_key().public_bytes_raw())
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ROOT = Root(Kind.TREE, Link(Hash(bytes(range(32))), 123_456_789, 2))
NOW = 1_800_000_000
DAY = 86_400
ADDRESSES = [("192.168.1.7", 4433), ("2001:db8::7", 50_000)]
TICKET = issue(KEY, ROOT, ADDRESSES, expires=NOW + DAY, identity=bytes(range(16)))
TEXT = format_ticket(TICKET)

HOSTS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(roots(), st.lists(st.tuples(HOSTS, st.integers(1, 65_535)), max_size=MAX_ADDRESSES), st.integers(0, 1 << 62))
def test_round_trip(root: Root, addresses: list[tuple[str, int]], expires: int) -> None:
    ticket = issue(KEY, root, addresses, expires=expires)
    text = format_ticket(ticket)
    assert is_ticket(text)
    assert parse_ticket(text) == ticket
    assert (ticket.root, ticket.server, list(ticket.addresses)) == (root, NODE, addresses)
    verify(ticket.capability, NODE, expires - 1 if expires else NOW)


def test_it_fits_a_chat_line() -> None:
    assert len(TEXT) < 350
    assert TEXT.isalnum()
    assert TEXT.lower() == TEXT
    longest = issue(KEY, ROOT, [("2001:db8::7", 50_000)] * MAX_ADDRESSES)
    assert len(format_ticket(longest)) < 900


def test_every_ticket_has_its_own_id() -> None:
    ids = {issue(KEY, ROOT).capability.id for _ in range(10)}
    assert len(ids) == 10
    assert issue(KEY, ROOT, identity=bytes(16)).capability.id == bytes(16)


def test_addresses_are_the_first_sixteen_in_canonical_spelling() -> None:
    many = [("2001:DB8:0::7", port) for port in range(1, 40)]
    ticket = issue(KEY, ROOT, many)
    assert ticket.addresses == tuple(("2001:db8::7", port) for port in range(1, MAX_ADDRESSES + 1))


@pytest.mark.parametrize(
    "address", [("example.org", 1), ("", 1), ("127.0.0.1", 0), ("127.0.0.1", 65_536), ("fe80::1%eth0", 1)]
)
def test_addresses_that_mean_nothing_elsewhere(address: tuple[str, int]) -> None:
    with pytest.raises(UsageError, match="address"):
        issue(KEY, ROOT, [address])


@pytest.mark.parametrize("expires", [-1, 1 << 63])
def test_impossible_expiry(expires: int) -> None:
    with pytest.raises(UsageError, match="cannot expire"):
        issue(KEY, ROOT, expires=expires)


def test_capability_over_the_wire() -> None:
    data = TICKET.capability.encode()
    assert len(data) == CAPABILITY_SIZE == 163
    assert decode_capability(data) == TICKET.capability


@given(st.binary(max_size=200))
def test_any_bytes_as_a_capability(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_capability(data)


@given(st.integers(0, CAPABILITY_SIZE - 1), st.integers(1, 255))
def test_any_change_of_a_capability_is_noticed(place: int, change: int) -> None:
    data = bytearray(TICKET.capability.encode())
    data[place] ^= change
    with pytest.raises((Malformed, Refused)):
        verify(decode_capability(bytes(data)), NODE, NOW)


def tampered() -> dict[str, Capability]:
    good = TICKET.capability
    other_link = replace(ROOT.link, hash=Hash(bytes(32)))
    return {
        "longer life": replace(good, expires=0),
        "other root": replace(good, root=Root(Kind.TREE, other_link)),
        "other kind": replace(good, root=Root(Kind.BLOB, ROOT.link)),
        "other level": replace(good, root=Root(Kind.TREE, replace(ROOT.link, level=1))),
        "other size": replace(good, root=Root(Kind.TREE, replace(ROOT.link, size=1 << 40))),
        "other id": replace(good, id=bytes(16)),
        "signature of the bare body": replace(good, signature=KEY.sign(good.signed_part())),
        "signature of another": replace(good, signature=issue(OTHER, ROOT, identity=good.id).capability.signature),
        "no signature": replace(good, signature=bytes(64)),
    }


@pytest.mark.parametrize("name", tampered())
def test_tampered(name: str) -> None:
    with pytest.raises(Refused, match="tampered with"):
        verify(tampered()[name], NODE, NOW)


def test_foreign() -> None:
    theirs = issue(OTHER, ROOT).capability
    verify(theirs, theirs.issuer, NOW)
    with pytest.raises(Refused, match=rf"issued by node {theirs.issuer.hex()[:16]}, not by {NODE.hex()[:16]}"):
        verify(theirs, NODE, NOW)
    with pytest.raises(Refused, match="tampered with"):
        verify(replace(theirs, issuer=NODE), NODE, NOW)


def test_an_issuer_that_is_no_key() -> None:
    nobody = NodeId(b"\xff" * 32)
    with pytest.raises(Refused, match="tampered with"):
        verify(replace(TICKET.capability, issuer=nobody), nobody, NOW)


@pytest.mark.parametrize(
    ("late", "words"),
    [
        (0, "expired just now, at 2027-01-16 08:00 UTC"),
        (1, "expired 1 second ago"),
        (119, "expired 1 minute ago"),
        (2 * 3600, "expired 2 hours ago"),
        (30 * DAY, "expired 30 days ago"),
    ],
)
def test_expired(late: int, words: str) -> None:
    verify(TICKET.capability, NODE, NOW + DAY - 0.001)
    with pytest.raises(Refused, match=words):
        verify(TICKET.capability, NODE, NOW + DAY + late)


def test_never_expires() -> None:
    verify(issue(KEY, ROOT).capability, NODE, 1e18)


@pytest.mark.parametrize("text", ["", "hello", format_link(ROOT), "fticket", "x" + TEXT])
def test_not_a_ticket(text: str) -> None:
    with pytest.raises(UsageError, match="not a ticket"):
        parse_ticket(text)
    assert is_ticket(text) == (text == "fticket")


def test_another_version() -> None:
    with pytest.raises(UsageError, match="this ticket is of version 2"):
        parse_ticket(TEXT.replace("fticket1", "fticket2"))


@pytest.mark.parametrize("length", range(len("fticket1"), len(TEXT), 7))
def test_truncated(length: int) -> None:
    with pytest.raises(UsageError, match="this ticket is truncated"):
        parse_ticket(TEXT[:length])


@pytest.mark.parametrize("place", range(len("fticket1") + 4, len(TEXT), 7))
def test_mistyped(place: int) -> None:
    other = "a" if TEXT[place] != "a" else "b"
    with pytest.raises(UsageError, match="this ticket is mistyped"):
        parse_ticket(TEXT[:place] + other + TEXT[place + 1 :])


CAPABILITY = TICKET.capability.encode()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", CAPABILITY[:-1], b"\x02" + CAPABILITY[1:], CAPABILITY[:33] + b"\x7f" + CAPABILITY[34:]),
        *(CAPABILITY[:34] + b"\x00" + CAPABILITY[35:], CAPABILITY + b"\x05\x01\x02\x03\x04\x05\x06"),
        *(
            CAPABILITY + b"\x04\x01\x02\x03\x04\x05",
            CAPABILITY + b"\x06",
            CAPABILITY + bytes.fromhex("047f0000010100") * 17,
        ),
        CAPABILITY + bytes.fromhex("047f0000010000"),
    ],
)
def test_a_right_checksum_over_nonsense(body: bytes) -> None:
    with pytest.raises(UsageError, match="this ticket is malformed"):
        parse_ticket(armor("fticket", 1, body))


def test_a_ticket_is_what_was_signed_and_where_to_go() -> None:
    assert Ticket(decode_capability(CAPABILITY), tuple(ADDRESSES)) == parse_ticket(TEXT.upper())
