"""Records kept for others, against a model; and that nobody fills them up."""

import random

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.contact import Contact
from forge_p2p.proto.dht.limits import ProviderLimits
from forge_p2p.proto.dht.messages import PROVIDERS_MAX
from forge_p2p.proto.dht.providers import ProviderRecords
from tests.proto.dht.people import CAPS, LAN, contact, elsewhere

KEYS = [bytes([number]) * 20 for number in range(4)]
HUGE = 100


def records(**limits: int) -> ProviderRecords:
    return ProviderRecords(ProviderLimits(**limits), CAPS, random.Random(1))


def found(kept: ProviderRecords, key: bytes, now: float) -> set[Contact]:
    return {provider.contact for provider in kept.get(key, now)}


steps = st.tuples(st.integers(0, 3), st.integers(1, 8), st.sampled_from([0, 0, 5, 60, 900]), st.integers(0, 40))


@given(st.lists(steps, max_size=80))
def test_records_are_a_dictionary_with_expiry(steps: list[tuple[int, int, int, int]]) -> None:
    kept = records()
    model: dict[tuple[bytes, Contact], float] = {}
    now = 0.0
    for at, number, ttl, later in steps:
        now += later
        key, sender = KEYS[at], contact(number)
        assert kept.put(key, sender, ttl, now)
        model.pop((key, sender), None)
        if ttl:
            model[key, sender] = now + ttl
        for each in KEYS:
            assert found(kept, each, now) == {
                who for (other, who), expires in model.items() if other == each and expires > now
            }
    kept.expire(now + 1000)
    assert len(kept) == max(0, len([0 for expires in model.values() if expires > now + 1000]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30), st.sampled_from([0, 60])), max_size=120))
def test_bounds_hold(steps: list[tuple[int, int, int]]) -> None:
    kept = records(per_key=5, per_sender=2, total=9)
    for at, number, ttl in steps:
        kept.put(KEYS[at], contact(number), ttl, 0.0)
        rows = list(kept)
        assert len(rows) == len(kept) <= 9
        assert all(sum(key == each for key, _, _ in rows) <= 5 for each in KEYS)
        senders = [node_id for _, node_id, _ in rows]
        assert all(senders.count(node_id) <= 2 for node_id in senders)


def test_full_is_full_until_something_expires() -> None:
    kept = records(per_key=2)
    assert kept.put(KEYS[0], contact(1), 10, 0.0)
    assert kept.put(KEYS[0], contact(2), 100, 0.0)
    assert not kept.put(KEYS[0], contact(3), 100, 0.0)
    assert kept.put(KEYS[0], contact(2), 200, 0.0), "those who are there may go on"
    assert kept.put(KEYS[0], contact(3), 100, 10.0)


def test_one_subnet_cannot_fill_a_key() -> None:
    kept = records()
    for number in range(300):
        kept.put(KEYS[0], contact(number, f"77.77.{number % 200}.{number % 250}"), 900, 0.0)
    assert len(kept) == ProviderLimits().per_key_and_block
    assert kept.put(KEYS[0], contact(1000, elsewhere(1000)), 900, 0.0)
    assert all(contact(1000, elsewhere(1000)) in found(kept, KEYS[0], 0.0) for _ in range(20))


def test_many_providers_are_told_in_turns() -> None:
    kept = records()
    people = {contact(number, LAN) for number in range(HUGE)}
    for one in people:
        kept.put(KEYS[0], one, 900, 0.0)
    told: set[Contact] = set()
    for _ in range(60):
        answer = kept.get(KEYS[0], 0.0)
        assert len(answer) == PROVIDERS_MAX
        told |= {provider.contact for provider in answer}
    assert told == people


def test_nobody_is_remembered_for_more_than_a_day() -> None:
    kept = records()
    kept.put(KEYS[0], contact(1), 10**9, 0.0)
    ((_, _, expires),) = kept
    assert expires == 24 * 3600
    assert kept.get(KEYS[0], 0.0)[0].ttl == 24 * 3600
    assert not kept.get(KEYS[0], 24 * 3600)


def test_new_addresses_replace_the_old() -> None:
    kept = records()
    kept.put(KEYS[0], contact(1, "8.8.8.8"), 900, 0.0)
    kept.put(KEYS[0], contact(1, "9.9.9.9"), 900, 1.0)
    assert found(kept, KEYS[0], 1.0) == {contact(1, "9.9.9.9")}
