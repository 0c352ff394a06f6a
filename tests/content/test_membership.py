"""Certificate chains: what a good one gives, and one clear reason for each that is not good."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forge_p2p.content.membership import (
    CHAIN_BYTES_MAX,
    CHAIN_MAX,
    CLOCK_SKEW,
    LABEL_CHARS,
    Certificate,
    Chain,
    Flaw,
    NotAMember,
    Role,
    decode_chain,
    encode_chain,
    issue_certificate,
    label_fits,
    verify_chain,
    verify_token_chain,
)
from forge_p2p.errors import Malformed, Refused
from forge_p2p.ids import NetworkId
from tests.content.networks import DAY, NOW, Member, World, key, public

WORLD = World()
FOUNDER = WORLD.founder()
ADMIN = WORLD.member(3, WORLD.token(2, Role.ADMIN))
READER = WORLD.member(5, WORLD.token(4, Role.READER, ADMIN, expires=NOW + DAY, label="build"), label="agent 7")


def refusal(
    member: Member, now: float = NOW, network: NetworkId = WORLD.id, revoked: frozenset[bytes] = frozenset()
) -> NotAMember:
    """Why the member is none."""
    with pytest.raises(NotAMember) as caught:
        verify_chain(member.chain, network, member.node_id, now, revoked)
    assert isinstance(caught.value, Refused)
    return caught.value


def test_the_founder() -> None:
    member = verify_chain(FOUNDER.chain, WORLD.id, FOUNDER.node_id, NOW)
    assert (member.role, member.expires, member.token) == (Role.ADMIN, 0, None)
    assert member.keys == (FOUNDER.node_id,)


def test_who_joined_by_an_admins_token() -> None:
    member = verify_chain(READER.chain, WORLD.id, READER.node_id, NOW)
    assert (member.network, member.node_id, member.role) == (WORLD.id, READER.node_id, Role.READER)
    assert (member.label, member.issued, member.expires) == ("agent 7", NOW, NOW + DAY)
    assert member.token == public(key(4))
    assert member.keys == tuple(public(key(number)) for number in (2, 3, 4, 5))
    assert len(READER.chain) == CHAIN_MAX


def flawed() -> dict[str, tuple[Flaw, Member]]:
    """Chains that give no right, each with the reason."""
    other = World(number=2000)
    foreign = other.member(5, other.token(4))
    reader = WORLD.member(7, WORLD.token(6, Role.READER))
    by_reader = (*reader.chain, WORLD.certificate(reader.private, 8, Role.READER, delegable=True))
    by_token = (*WORLD.token(6, Role.ADMIN).chain, WORLD.certificate(key(6), 8, Role.READER, delegable=True))
    short = WORLD.token(6, Role.READER, expires=NOW + DAY)
    writer, seed = WORLD.token(6, Role.WRITER), WORLD.token(6, Role.SEED)
    broken = replace(FOUNDER.chain[0], signature=FOUNDER.chain[0].signature[:-1] + b"\0")
    longer = replace(READER.chain[-1], expires=NOW + DAY - 1)
    fourth = WORLD.member(11, WORLD.token(10, Role.ADMIN, ADMIN))
    fifth = WORLD.certificate(fourth.private, 12, Role.READER)

    def enrolled(chain: Chain, role: Role, expires: int = 0) -> Member:
        """A node 9 under the last key of `chain`."""
        number = {public(key(each)): each for each in range(20)}[chain[-1].subject]
        return Member(key(9), (*chain, WORLD.certificate(key(number), 9, role, expires=expires)))

    return {
        "none": (Flaw.NO_CERTIFICATE, Member(key(5), ())),
        "five": (Flaw.TOO_LONG, Member(key(12), (*fourth.chain, fifth))),
        "another network's": (Flaw.FOREIGN_NETWORK, foreign),
        "one of another network's": (Flaw.FOREIGN_NETWORK, Member(key(5), (*READER.chain[:-1], foreign.chain[-1]))),
        "signature changed": (Flaw.BROKEN_SIGNATURE, Member(key(1), (broken,))),
        "content changed": (Flaw.BROKEN_SIGNATURE, Member(key(5), (*READER.chain[:-1], longer))),
        "signed by itself": (Flaw.BROKEN_SIGNATURE, Member(key(9), (WORLD.certificate(key(9), 9, Role.ADMIN),))),
        "a link left out": (Flaw.BROKEN_SIGNATURE, Member(key(5), (*READER.chain[:2], READER.chain[3]))),
        "out of order": (Flaw.BROKEN_SIGNATURE, Member(key(5), READER.chain[::-1])),
        "a reader's node": (Flaw.NOT_ALLOWED, enrolled(reader.chain, Role.READER)),
        "a reader's token": (Flaw.NOT_ALLOWED, enrolled(by_reader, Role.READER)),
        "a token's token": (Flaw.NOT_ALLOWED, enrolled(by_token, Role.READER)),
        "a reader's token that makes an admin": (Flaw.WIDER, enrolled(WORLD.token(6).chain, Role.ADMIN)),
        "a writer's that makes a seed": (Flaw.WIDER, enrolled(writer.chain, Role.SEED)),
        "a seed's that makes a writer": (Flaw.WIDER, enrolled(seed.chain, Role.WRITER)),
        "later than its token": (Flaw.WIDER, enrolled(short.chain, Role.READER, NOW + DAY + 1)),
        "for ever by a short token": (Flaw.WIDER, enrolled(short.chain, Role.READER, 0)),
        "somebody else's": (Flaw.WRONG_SUBJECT, Member(key(9), READER.chain)),
        "a token's as a node's": (Flaw.WRONG_SUBJECT, Member(key(4), READER.chain[:-1])),
        "tomorrow's": (
            Flaw.NOT_YET_VALID,
            Member(key(1), (WORLD.certificate(WORLD.key, 1, Role.ADMIN, issued=NOW + DAY),)),
        ),
    }


@pytest.mark.parametrize("name", flawed())
def test_each_flaw_has_its_reason(name: str) -> None:
    flaw, member = flawed()[name]
    error = refusal(member)
    assert error.flaw is flaw
    assert error.message


def test_every_flaw_is_in_the_table() -> None:
    assert {flaw for flaw, _ in flawed().values()} | {Flaw.EXPIRED, Flaw.REVOKED} == set(Flaw)


def test_a_foreign_chain_in_its_own_network_is_good() -> None:
    _, foreign = flawed()["another network's"]
    verify_chain(foreign.chain, World(number=2000).id, foreign.node_id, NOW)


def test_expiry_to_the_second() -> None:
    verify_chain(READER.chain, WORLD.id, READER.node_id, NOW + DAY - 0.01)
    error = refusal(READER, NOW + DAY)
    assert (error.flaw, "expired just now, at 2027-01-16 08:00 UTC" in error.message) == (Flaw.EXPIRED, True)


def test_a_clock_may_be_a_little_behind() -> None:
    issued = READER.chain[-1].issued
    verify_chain(READER.chain, WORLD.id, READER.node_id, issued - CLOCK_SKEW)
    error = refusal(READER, issued - CLOCK_SKEW - 1)
    assert error.flaw is Flaw.NOT_YET_VALID
    assert "clock" in error.hint


@pytest.mark.parametrize("place", range(4))
def test_any_revoked_key_ends_what_is_below(place: int) -> None:
    revoked = frozenset({READER.chain[place].subject})
    assert refusal(READER, revoked=revoked).flaw is Flaw.REVOKED
    verify_chain(FOUNDER.chain, WORLD.id, FOUNDER.node_id, NOW, revoked)


def test_a_tokens_own_chain() -> None:
    given = verify_token_chain(READER.chain[:-1], WORLD.id, public(key(4)), NOW)
    assert (given.role, given.label, given.token) == (Role.READER, "build", None)
    with pytest.raises(NotAMember) as caught:
        verify_token_chain(READER.chain, WORLD.id, READER.node_id, NOW)
    assert caught.value.flaw is Flaw.WRONG_SUBJECT


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("other", Role)
def test_what_a_role_covers(role: Role, other: Role) -> None:
    assert role.covers(other) == (role is Role.ADMIN or other is Role.READER or role is other)


# Bytes

ENCODED = encode_chain(READER.chain)

LABELS = st.text(max_size=LABEL_CHARS).filter(label_fits)
TIMES = st.integers(0, (1 << 63) - 1)


@given(st.sampled_from(Role), st.booleans(), TIMES, TIMES, LABELS, st.integers(0, 6))
def test_round_trip(role: Role, delegable: bool, issued: int, expires: int, label: str, copies: int) -> None:
    certificate = issue_certificate(
        WORLD.key, WORLD.id, bytes(32), role, issued=issued, expires=expires, delegable=delegable, label=label
    )
    chain = (certificate,) * copies
    data = encode_chain(chain)
    assume(len(data) <= CHAIN_BYTES_MAX)
    assert decode_chain(data) == chain


def test_the_longest_chain_fits() -> None:
    longest = issue_certificate(WORLD.key, WORLD.id, bytes(32), Role.ADMIN, issued=0, label="\U0001f600" * LABEL_CHARS)
    assert len(encode_chain([longest] * CHAIN_MAX)) == 1620 < CHAIN_BYTES_MAX


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": b"short"},
        {"issued": -1},
        {"expires": 1 << 63},
        {"label": "x" * (LABEL_CHARS + 1)},
        {"label": "two\nlines"},
        {"label": "\x1b[31m"},
        {"label": "right\u202eleft"},
    ],
)
def test_what_cannot_be_in_a_certificate(wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"subject": bytes(32), "issued": NOW}
    make: Callable[..., Certificate] = issue_certificate
    make(WORLD.key, WORLD.id, role=Role.READER, **arguments)
    with pytest.raises(ValueError, match="cannot say"):
        make(WORLD.key, WORLD.id, role=Role.READER, **{**arguments, **wrong})


@given(st.integers(0, len(ENCODED) - 1), st.integers(1, 255))
def test_any_change_is_noticed(place: int, change: int) -> None:
    data = bytearray(ENCODED)
    data[place] ^= change
    with pytest.raises((Malformed, NotAMember)):
        verify_chain(decode_chain(bytes(data)), WORLD.id, READER.node_id, NOW)


@pytest.mark.parametrize("length", range(len(ENCODED)))
def test_any_truncation_is_noticed(length: int) -> None:
    with pytest.raises((Malformed, NotAMember)):
        verify_chain(decode_chain(ENCODED[:length]), WORLD.id, READER.node_id, NOW)


@given(st.binary(min_size=1, max_size=CHAIN_BYTES_MAX))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises((Malformed, NotAMember)):
        verify_chain(decode_chain(data), WORLD.id, READER.node_id, NOW)


BODY = 85


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ENCODED + b"\0", "at least 149 bytes, not 1"),
        (b"\2" + ENCODED[1:], "of format 2"),
        (ENCODED[:65] + b"\0" + ENCODED[66:], "role 0"),
        (ENCODED[:65] + b"\5" + ENCODED[66:], "role 5"),
        (ENCODED[:66] + b"\2" + ENCODED[67:], "flags 2"),
        (ENCODED[:74] + b"\x80" + ENCODED[75:], "impossible"),
        (ENCODED[:82] + b"\x80" + ENCODED[83:], "impossible"),
        (ENCODED[:83] + b"\xff\xff" + ENCODED[85:], "impossible"),
        (bytes(CHAIN_BYTES_MAX + 1), "the limit is 2048"),
    ],
)
def test_malformed(data: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        decode_chain(data)


@pytest.mark.parametrize("label", [b"\xff", b"\n", b"x" * (LABEL_CHARS + 1)])
def test_labels_that_are_none(label: bytes) -> None:
    plain = encode_chain(FOUNDER.chain)
    data = plain[: BODY - 2] + len(label).to_bytes(2, "little") + label + plain[BODY:]
    with pytest.raises(Malformed, match="label"):
        decode_chain(data)
