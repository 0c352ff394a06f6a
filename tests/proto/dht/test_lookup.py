"""One lookup against networks of every kind: it finds what brute force finds, and nobody can keep it going."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.keyspace import KEY_SPACE, node_key
from forge_p2p.proto.dht.limits import LookupLimits
from forge_p2p.proto.dht.lookup import Candidate, Lookup
from tests.proto.dht.people import CAPS, LAN, contact, elsewhere, near, nearest, nearest_spread

LIMITS = LookupLimits()
TARGET = node_key(contact(10**6).node_id)
OWN = node_key(contact(10**6 + 1).node_id)

Answer = Callable[[Candidate], list[Contact] | None]
"""What a node says; `None`: nothing."""


def network(people: list[Contact], target: int, rng: random.Random, known: int) -> Answer:
    """A network in which everybody knows the nodes around itself, and some others."""
    tables = {}
    for one in people:
        key = node_key(one.node_id)
        others = [other for other in people if other is not one]
        tables[one.node_id] = {*nearest(others, key, 20), *rng.sample(others, min(known, len(others)))}
    return lambda asked: nearest(tables[asked.contact.node_id], target, 20) if asked.contact.node_id in tables else None


def run(lookup: Lookup, answer: Answer, rng: random.Random) -> list[Contact]:
    """Runs it to its end, answers arriving in any order. Returns whom it asked."""
    waiting: list[Candidate] = []
    late: list[Candidate] = []
    asked: list[Contact] = []
    while True:
        for candidate in lookup.next():
            waiting.append(candidate)
            asked.append(candidate.contact)
        assert len(waiting) <= LIMITS.paths
        if lookup.done:
            return asked
        if waiting:
            candidate = waiting.pop(rng.randrange(len(waiting)))
            contacts = answer(candidate)
            if contacts is None:
                lookup.late(candidate)
                late.append(candidate)
            else:
                lookup.answered(candidate, contacts)
        else:
            lookup.failed(late.pop())


@given(st.integers(0, 1 << 32), st.integers(1, 120), st.integers(1, 10))
def test_finds_the_nearest_of_brute_force(seed: int, size: int, known: int) -> None:
    rng = random.Random(seed)
    people = [contact(number) for number in rng.sample(range(1000), size)]
    target = rng.randrange(KEY_SPACE)
    starters = rng.sample(people, min(size, known))
    lookup = Lookup(target, OWN, starters, LIMITS, CAPS)
    asked = run(lookup, network(people, target, rng, 8), rng)
    assert lookup.closest() == nearest(people, target, 20)
    assert len(set(asked)) == len(asked) == lookup.queries, "nobody is asked twice"


@pytest.mark.parametrize("seed", range(20))
def test_the_silent_hide_nobody_near(seed: int) -> None:
    """They take places in answers, so that the last of the twenty may differ, but not the nearest."""
    rng = random.Random(seed)
    people = [contact(number) for number in rng.sample(range(1000), rng.randrange(20, 100))]
    silent = set(rng.sample(people, len(people) // 5))
    honest = network(people, TARGET, rng, 12)
    lookup = Lookup(TARGET, OWN, [one for one in people if one not in silent][:10], LIMITS, CAPS)
    run(lookup, lambda asked: None if asked.contact in silent else honest(asked), rng)
    assert lookup.closest()[:12] == nearest([one for one in people if one not in silent], TARGET, 12)


def test_endless_made_up_neighbours_end() -> None:
    """A node that names ever nearer nodes that do not exist costs a few queries; the nearest are found all the same."""
    rng = random.Random(1)
    people = [contact(number) for number in range(200)]
    liar = people[0]
    made_up = near(TARGET, 400, 20_000, LAN)
    honest = network(people, TARGET, rng, 12)

    def answer(asked: Candidate) -> list[Contact] | None:
        return rng.sample(made_up, 20) if asked.contact == liar else honest(asked)

    lookup = Lookup(TARGET, OWN, people[:12], LIMITS, CAPS)
    asked = run(lookup, answer, rng)
    assert [one for one in lookup.closest() if one != liar] == nearest(
        people[1:], TARGET, len(lookup.closest()) - 1
    ) or (lookup.closest() == nearest(people, TARGET, 20))
    assert sum(one in made_up for one in asked) <= 3


def test_a_network_of_liars_ends() -> None:
    """Even if everybody makes up neighbours: at most `queries` are asked."""
    rng = random.Random(2)

    def answer(asked: Candidate) -> list[Contact]:
        return [Contact(NodeId(rng.randbytes(32)), ((LAN, 1),)) for _ in range(20)]

    lookup = Lookup(TARGET, OWN, [contact(number) for number in range(20)], LIMITS, CAPS)
    assert len(run(lookup, answer, rng)) <= LIMITS.queries
    assert lookup.done
    assert not lookup.next()


def test_answers_longer_than_allowed_are_cut() -> None:
    lookup = Lookup(TARGET, OWN, [contact(0)], LIMITS, CAPS)
    (first,) = lookup.next()
    lookup.answered(first, near(TARGET, 1000, 1000, LAN))
    asked = run(lookup, lambda asked: [], random.Random(1))
    assert len(asked) == 20


def test_one_path_led_away_does_not_lead_the_others() -> None:
    """A fifth conspires: they name each other only. The nearest honest nodes are all found."""
    found = 0
    for seed in range(10):
        rng = random.Random(seed)
        people = [contact(number) for number in rng.sample(range(10_000), 200)]
        fellows = people[:40]
        honest = network(people, TARGET, rng, 30)

        def answer(asked: Candidate, fellows: list[Contact] = fellows, honest: Answer = honest) -> list[Contact] | None:
            return nearest(fellows, TARGET, 20) if asked.contact in fellows else honest(asked)

        lookup = Lookup(TARGET, OWN, nearest(rng.sample(people, 60), TARGET, 20), LIMITS, CAPS)
        run(lookup, answer, rng)
        found += lookup.closest() == nearest(people, TARGET, 20)
    assert found >= 9


def test_paths_do_not_share_what_they_were_told() -> None:
    """With one starter for each path, what a path was told is asked on it alone until others are told the same."""
    starters = [contact(number) for number in range(3)]
    told = {starters[at].node_id: near(TARGET, 4, 100, LAN, seed=at) for at in range(3)}
    lookup = Lookup(TARGET, OWN, starters, LIMITS, CAPS)
    first = lookup.next()
    assert {candidate.contact for candidate in first} == set(starters)
    for candidate in first:
        lookup.answered(candidate, told[candidate.contact.node_id])
    second = lookup.next()
    assert sorted(str(candidate.via and candidate.via.contact) for candidate in second) == sorted(map(str, starters))


def test_a_single_starter_serves_all_paths() -> None:
    lookup = Lookup(TARGET, OWN, [contact(0)], LIMITS, CAPS)
    (first,) = lookup.next()
    lookup.answered(first, [contact(number) for number in range(1, 20)])
    assert len(lookup.next()) == LIMITS.paths


def test_sybils_of_one_subnet_get_a_few_places() -> None:
    """A hundred nodes of one /16 nearer to the target than anybody, who name each other: four of the twenty at most."""
    rng = random.Random(3)
    people = [contact(number, elsewhere(number)) for number in range(300)]
    ids = near(TARGET, 100, 30_000, LAN)
    sybils = [Contact(one.node_id, ((f"77.77.{at}.1", 1),)) for at, one in enumerate(ids)]
    everybody = people + sybils
    honest = {one.node_id: rng.sample(everybody, 120) for one in people}

    def answer(asked: Candidate) -> list[Contact]:
        if asked.contact in sybils:
            return rng.sample(sybils, 20)
        return nearest_spread({*honest[asked.contact.node_id], *nearest(people, TARGET, 30)}, TARGET, 20)

    lookup = Lookup(TARGET, OWN, people[:20], LIMITS, CAPS)
    asked = run(lookup, answer, rng)
    closest = lookup.closest()
    assert len(closest) == 20
    assert sum(one in sybils for one in closest) <= CAPS.block
    assert [one for one in closest if one in people] == nearest(people, TARGET, sum(one in people for one in closest))
    assert sum(one in sybils for one in asked) <= LIMITS.asked_of_block


@given(st.integers(0, 1 << 32), st.integers(1, 60))
def test_a_network_in_one_subnet_is_searched_like_any(seed: int, size: int) -> None:
    rng = random.Random(seed)
    people = [contact(number, f"77.77.77.{number % 250}") for number in rng.sample(range(1000), size)]
    lookup = Lookup(TARGET, OWN, people[:3], LIMITS, CAPS)
    run(lookup, network(people, TARGET, rng, 8), rng)
    assert lookup.closest() == nearest(people, TARGET, 20)


def test_a_late_answer_counts() -> None:
    lookup = Lookup(TARGET, OWN, [contact(0)], LIMITS, CAPS)
    (slow,) = lookup.next()
    lookup.late(slow)
    assert not lookup.next()
    assert not lookup.done, "there is nobody else to hope for"
    lookup.answered(slow, [contact(1)])
    assert [candidate.contact for candidate in lookup.next()] == [contact(1)]


def test_nobody_waits_for_a_late_one_that_does_not_matter() -> None:
    limits = replace(LIMITS, k=2)
    people = nearest([contact(number) for number in range(50)], TARGET, 50)
    lookup = Lookup(TARGET, OWN, [*people[:2], people[-1]], limits, CAPS)
    asked = {candidate.contact: candidate for candidate in lookup.next()}
    lookup.late(asked[people[-1]])
    lookup.answered(asked[people[0]], [])
    lookup.answered(asked[people[1]], [])
    assert not lookup.next()
    assert lookup.done


def test_hops_are_counted_along_the_path() -> None:
    lookup = Lookup(TARGET, OWN, [contact(0)], LIMITS, CAPS)
    (one,) = lookup.next()
    lookup.answered(one, [contact(1)])
    (two,) = lookup.next()
    lookup.answered(two, [contact(2)])
    (three,) = lookup.next()
    assert [one.hops, two.hops, three.hops] == [1, 2, 3]


def test_neither_oneself_nor_who_has_no_address_is_asked() -> None:
    own = contact(10**6 + 1)
    nowhere = Contact(contact(5).node_id, ())
    lookup = Lookup(TARGET, OWN, [own, nowhere, contact(0)], LIMITS, CAPS)
    (only,) = lookup.next()
    lookup.answered(only, [own, nowhere])
    assert not lookup.next()
    assert lookup.done
