"""The set of revocations: who counts, and that the order in which they are heard makes no difference."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.membership import Flaw, NotAMember, Role
from forge_p2p.content.revocation import Revocation
from forge_p2p.proto import revocations
from forge_p2p.proto.revocations import RevocationSet
from tests.content.networks import NOW, Member, World, key, public

WORLD = World()
ADMIN = WORLD.member(3, WORLD.token(2, Role.ADMIN))
SECOND = WORLD.member(5, WORLD.token(4, Role.ADMIN, ADMIN))
OTHER = WORLD.member(7, WORLD.token(6, Role.ADMIN))
VICTIM = public(key(9))
BYSTANDER = public(key(10))

POOL = [
    WORLD.revoke(VICTIM),
    WORLD.revoke(VICTIM, ADMIN),
    WORLD.revoke(VICTIM, OTHER),
    WORLD.revoke(BYSTANDER, SECOND),
    WORLD.revoke(ADMIN.node_id, OTHER),
    WORLD.revoke(OTHER.node_id, ADMIN),
    WORLD.revoke(ADMIN.node_id),
    WORLD.revoke(public(key(2))),
    WORLD.revoke(public(key(6))),
]


def merged(*heard: Revocation) -> RevocationSet:
    found = RevocationSet(WORLD.id)
    for revocation in heard:
        found.merge(revocation)
    return found


def keys(found: RevocationSet) -> set[bytes]:
    return {each.key for each in found}


def test_by_the_network_and_by_an_admin() -> None:
    found = merged(WORLD.revoke(VICTIM), WORLD.revoke(BYSTANDER, ADMIN))
    assert keys(found) == {VICTIM, BYSTANDER}
    assert VICTIM in found
    assert BYSTANDER in found
    assert ADMIN.node_id not in found
    assert found.is_final(VICTIM)
    assert not found.is_final(BYSTANDER)


def test_the_same_again_is_no_news() -> None:
    found = RevocationSet(WORLD.id)
    assert found.merge(WORLD.revoke(VICTIM, ADMIN))
    assert not found.merge(WORLD.revoke(VICTIM, ADMIN, time=NOW + 5)), "another time makes no other revocation"
    assert found.merge(WORLD.revoke(VICTIM, OTHER))
    assert found.merge(WORLD.revoke(VICTIM))
    assert len(found) == 3


def test_an_admin_that_another_admin_revoked_still_counts() -> None:
    found = merged(WORLD.revoke(ADMIN.node_id, OTHER), WORLD.revoke(VICTIM, ADMIN))
    assert VICTIM in found


@pytest.mark.parametrize("final", [ADMIN.node_id, public(key(2))])
@pytest.mark.parametrize("by", [ADMIN, SECOND])
@pytest.mark.parametrize("first", [True, False])
def test_an_admin_that_the_network_revoked_does_not(final: bytes, by: Member, first: bool) -> None:
    """Nor does whom it let in; what other admins and the network itself revoked stays."""
    void = WORLD.revoke(VICTIM, by)
    order = [WORLD.revoke(final), void] if first else [void, WORLD.revoke(final)]
    found = merged(WORLD.revoke(BYSTANDER, OTHER), *order)
    assert keys(found) == {BYSTANDER, final}
    assert VICTIM not in found
    assert not found.merge(void)
    assert VICTIM in merged(*order, WORLD.revoke(VICTIM, OTHER))


def test_what_would_become_void_is_known_beforehand() -> None:
    found = merged(*POOL[:4])
    assert {each.key for each in found.depending_on(ADMIN.node_id)} == {VICTIM, BYSTANDER}
    assert {each.key for each in found.depending_on(SECOND.node_id)} == {BYSTANDER}
    assert found.depending_on(VICTIM) == []


@given(st.permutations(POOL), st.integers(0, len(POOL)))
def test_the_order_makes_no_difference(heard: list[Revocation], count: int) -> None:
    """Nor does it who heard what twice."""
    some = heard[:count]
    found, again = merged(*some), merged(*some[::-1], *some)
    assert {each.encode() for each in found} == {each.encode() for each in again}
    assert found.digest() == again.digest()
    assert [key for key in {each.key for each in POOL} if key in found] == [
        key for key in {each.key for each in POOL} if key in again
    ]


def test_digests_differ_when_sets_do() -> None:
    sets = [merged(*POOL[:4][:count]) for count in range(5)] + [merged(POOL[3]), merged(POOL[1], POOL[3])]
    assert len({each.digest() for each in sets}) == len(sets)


def test_who_has_no_right_is_named() -> None:
    reader = WORLD.member(12, WORLD.token(11))
    found = RevocationSet(WORLD.id)
    with pytest.raises(NotAMember) as caught:
        found.merge(WORLD.revoke(VICTIM, reader))
    assert caught.value.flaw is Flaw.NOT_ALLOWED
    assert len(found) == 0


def test_a_mad_admin_fills_its_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "BY_ADMIN_MAX", 5)
    found = RevocationSet(WORLD.id)
    for number in range(20, 40):
        found.merge(WORLD.revoke(public(key(number)), (ADMIN, SECOND)[number % 2]))
    assert len(found) == 5, "those it let in have no share of their own"
    assert found.is_full(WORLD.revoke(VICTIM, SECOND))
    assert found.merge(WORLD.revoke(VICTIM, OTHER))
    assert found.merge(WORLD.revoke(ADMIN.node_id))
    assert keys(found) == {VICTIM, ADMIN.node_id}, "the network's key ends it all"


def test_every_order_of_two_admins_at_war() -> None:
    war = [WORLD.revoke(ADMIN.node_id, OTHER), WORLD.revoke(OTHER.node_id, ADMIN), WORLD.revoke(OTHER.node_id)]
    assert {frozenset(keys(merged(*order))) for order in permutations(war)} == {frozenset({OTHER.node_id})}
