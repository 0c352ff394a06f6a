"""Revocations: by the network's key or by an admin, and by nobody else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.membership import Flaw, NotAMember, Role
from forge_p2p.content.revocation import REVOCATION_BYTES_MAX, Revocation, decode_revocation, revoke, verify_revocation
from forge_p2p.errors import Malformed
from forge_p2p.ids import NetworkId
from tests.content.networks import DAY, NOW, World, key, public

WORLD = World()
FOUNDER = WORLD.founder()
ADMIN = WORLD.member(3, WORLD.token(2, Role.ADMIN, expires=NOW + DAY))
READER = WORLD.member(5, WORLD.token(4))
VICTIM = public(key(9))
FINAL = WORLD.revoke(VICTIM)
BY_ADMIN = WORLD.revoke(VICTIM, ADMIN)


def flaw(revocation: Revocation, network: NetworkId = WORLD.id) -> Flaw:
    with pytest.raises(NotAMember) as caught:
        verify_revocation(revocation, network)
    return caught.value.flaw


@pytest.mark.parametrize(
    ("revocation", "final"), [(FINAL, True), (BY_ADMIN, False), (WORLD.revoke(VICTIM, FOUNDER), False)]
)
def test_who_may(revocation: Revocation, final: bool) -> None:
    verify_revocation(revocation, WORLD.id)
    assert decode_revocation(revocation.encode()) == revocation
    assert revocation.final is final
    assert revocation.signers == tuple(certificate.subject for certificate in revocation.chain)
    assert len(revocation.encode()) < REVOCATION_BYTES_MAX < 4096


def test_what_an_admin_revoked_outlives_it() -> None:
    """Its right is looked at as of then: that of a day later it had no more."""
    verify_revocation(WORLD.revoke(VICTIM, ADMIN, time=NOW + DAY - 1), WORLD.id)
    assert flaw(WORLD.revoke(VICTIM, ADMIN, time=NOW + DAY)) is Flaw.EXPIRED
    assert flaw(WORLD.revoke(VICTIM, ADMIN, time=NOW - 30 * DAY)) is Flaw.NOT_YET_VALID


def test_who_may_not() -> None:
    token = WORLD.token(6, Role.ADMIN)
    stolen = replace(BY_ADMIN, chain=READER.chain)
    assert flaw(WORLD.revoke(VICTIM, READER)) is Flaw.NOT_ALLOWED
    assert flaw(revoke(key(6), WORLD.id, VICTIM, time=NOW, chain=token.chain)) is Flaw.WRONG_SUBJECT
    assert flaw(WORLD.revoke(WORLD.id)) is Flaw.NOT_ALLOWED
    assert flaw(stolen) is Flaw.BROKEN_SIGNATURE
    assert flaw(revoke(key(9), WORLD.id, VICTIM, time=NOW)) is Flaw.BROKEN_SIGNATURE
    assert flaw(revoke(key(9), WORLD.id, VICTIM, time=NOW, chain=ADMIN.chain)) is Flaw.BROKEN_SIGNATURE
    assert flaw(FINAL, World(number=2000).id) is Flaw.FOREIGN_NETWORK


@pytest.mark.parametrize("revocation", [FINAL, BY_ADMIN])
@given(data=st.data())
def test_any_change_is_noticed(revocation: Revocation, data: st.DataObject) -> None:
    encoded = bytearray(revocation.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((Malformed, NotAMember)):
        verify_revocation(decode_revocation(bytes(encoded)), WORLD.id)


@pytest.mark.parametrize("revocation", [FINAL, BY_ADMIN])
def test_any_truncation_is_noticed(revocation: Revocation) -> None:
    encoded = revocation.encode()
    for length in range(len(encoded)):
        with pytest.raises(Malformed):
            decode_revocation(encoded[:length])
    with pytest.raises(Malformed):
        decode_revocation(encoded + b"\0")


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises((Malformed, NotAMember)):
        verify_revocation(decode_revocation(data), WORLD.id)


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    """A certificate's signature over bytes that happen to be a revocation's does not make one."""
    bare = replace(FINAL, signature=WORLD.key.sign(FINAL.signed_part()))
    as_certificate = replace(FINAL, signature=WORLD.key.sign(b"forge certificate v1\0" + FINAL.signed_part()))
    assert flaw(bare) is flaw(as_certificate) is Flaw.BROKEN_SIGNATURE
