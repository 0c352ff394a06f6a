"""The routing table against brute force, and who gets a place in it."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from kademlia.node import Node
from kademlia.routing import RoutingTable

from forge_p2p.content.contact import Contact
from forge_p2p.proto.dht.keyspace import KEY_SPACE, key_bytes, node_key
from forge_p2p.proto.dht.routing import Table
from tests.proto.dht.people import CAPS, LAN, contact, elsewhere, nearest, nearest_spread

STALE = 600.0
OWN = node_key(contact(0).node_id)


def table_of(k: int = 20) -> Table:
    return Table(OWN, k, CAPS, STALE, 0.0)


def held(table: Table) -> list[Contact]:
    return [peer.contact for peer in table]


def fill(table: Table, contacts: list[Contact], now: float = 0.0) -> None:
    for one in contacts:
        table.saw(one, now)


def far(count: int, host: str = LAN, start: int = 1) -> list[Contact]:
    """Contacts of the half of the keyspace in which the own key is not."""
    found: list[Contact] = []
    number = start
    while len(found) < count:
        one = contact(number, host)
        if (node_key(one.node_id) ^ OWN) >> 159:
            found.append(one)
        number += 1
    return found


def settled_table() -> Table:
    """One whose node has its neighbours, so that nobody in the other half is one."""
    table = table_of()
    fill(table, [one for one in map(contact, range(10_000, 10_060)) if not (node_key(one.node_id) ^ OWN) >> 159][:20])
    return table


def check_shape(table: Table) -> None:
    low = 0
    for bucket in table.buckets:
        assert bucket.range[0] == low
        low = bucket.range[1] + 1
        assert len(bucket) <= table.ksize
        assert all(bucket.range[0] <= peer.long_id <= bucket.range[1] for peer in bucket.nodes.values())
        assert len(bucket) == table.ksize or not bucket.replacement_nodes
    assert low == KEY_SPACE
    assert sum(len(bucket) for bucket in table.buckets) == len(table) == len(held(table))


numbers = st.integers(1, 400)
steps = st.lists(st.tuples(st.sampled_from(["saw", "saw", "saw", "failed"]), numbers), max_size=500)
targets = st.integers(0, KEY_SPACE - 1)


@given(steps, targets, st.integers(1, 25), st.integers(2, 8))
def test_nearest_are_those_of_brute_force(steps: list[tuple[str, int]], target: int, count: int, k: int) -> None:
    table = table_of(k)
    for now, (step, number) in enumerate(steps):
        if step == "saw":
            table.saw(contact(number), now)
        else:
            table.failed(contact(number).node_id)
    check_shape(table)
    healthy = [peer.contact for peer in table if not peer.failures]
    assert table.nearest(target, count) == nearest(healthy or held(table), target, count)
    found = table.find_neighbors(Node(key_bytes(target)), count)
    assert [peer.contact for peer in found] == table.nearest(target, count)


hosts = st.sampled_from(["8.8.8.1", "8.8.8.2", "8.8.9.1", "8.9.1.1", "9.9.9.9", "2a00:1:2::1", "2a00:1:2::9", LAN])


@given(st.lists(st.tuples(numbers, hosts), max_size=120), targets, st.integers(1, 25))
def test_nearest_are_spread_over_subnets(people: list[tuple[int, str]], target: int, count: int) -> None:
    table = table_of()
    for now, (number, host) in enumerate(people):
        table.saw(contact(number, host), now)
    check_shape(table)
    assert table.nearest(target, count) == nearest_spread(held(table), target, count)


@given(st.sets(numbers, max_size=300), st.integers(1, 20))
def test_all_neighbours_are_known(people: set[int], k: int) -> None:
    """Whoever is among the k nearest to the own key always finds a place."""
    table = table_of(k)
    everybody = [contact(number) for number in sorted(people)]
    fill(table, everybody)
    assert table.nearest(OWN, k) == nearest(everybody, OWN, k)


def test_the_package_itself_does_not_find_the_nearest() -> None:
    """Why `find_neighbors` is ours. Should this fail one day, theirs may do."""
    theirs = RoutingTable(None, 20, Node(key_bytes(OWN)))
    everybody = far(20) + [
        one for one in (contact(n) for n in range(1, 200)) if not (node_key(one.node_id) ^ OWN) >> 159
    ]
    for one in everybody:
        bucket = theirs.buckets[theirs.get_bucket_for(Node(key_bytes(node_key(one.node_id))))]
        if len(bucket) < 20 or bucket.has_in_range(theirs.node):
            theirs.add_contact(Node(key_bytes(node_key(one.node_id))))
    known = [node for bucket in theirs.buckets for node in bucket.get_nodes()]
    rng = random.Random(1)
    wrong = 0
    for _ in range(100):
        target = Node(rng.randbytes(20))
        best = sorted(known, key=target.distance_to)[:20]
        wrong += [node.id for node in theirs.find_neighbors(target)] != [node.id for node in best]
    assert wrong


def test_ranges_meet_on_powers_of_two() -> None:
    table = table_of(2)
    fill(table, [contact(number) for number in range(1, 200)])
    for bucket in table.buckets:
        low, high = bucket.range
        size = high - low + 1
        assert size & (size - 1) == 0
        assert low % size == 0
        assert table.bucket_of(low) is table.bucket_of(high) is bucket
        assert bucket.depth() == 161 - size.bit_length()


def deepest_far_bucket(table: Table) -> list[Contact]:
    """Contacts of one bucket that may not split: five bits deep, without the own key."""
    known = far(2000)
    by_prefix: dict[int, list[Contact]] = {}
    for one in known:
        by_prefix.setdefault(node_key(one.node_id) >> 155, []).append(one)
    return max(by_prefix.values(), key=len)


def test_the_longest_known_keep_their_places() -> None:
    table = settled_table()
    many = deepest_far_bucket(table)
    fill(table, many)
    assert set(many[:20]) <= set(held(table))
    late = many[-1]
    assert table.get(late.node_id) is None
    assert table.knows(late.node_id)


def test_a_silent_contact_is_doubted_when_another_wants_its_place() -> None:
    table = settled_table()
    many = deepest_far_bucket(table)
    fill(table, many[:20], now=0.0)
    for one in many[1:20]:
        table.saw(one, STALE)
    assert table.saw(many[20], STALE - 1) is None
    doubtful = table.saw(many[21], STALE + 1)
    assert doubtful is not None
    assert doubtful.contact == many[0]
    assert table.failed(many[0].node_id) is None
    assert table.failed(many[0].node_id) is not None
    assert table.get(many[0].node_id) is None
    assert table.get(many[21].node_id) is not None, "the one seen last has the place"
    check_shape(table)


def test_who_failed_is_not_named_until_it_answers() -> None:
    table = table_of()
    people = [contact(number) for number in range(1, 6)]
    fill(table, people)
    table.failed(people[0].node_id)
    assert people[0] not in table.nearest(OWN)
    assert list(table.failing) == [people[0].node_id]
    table.saw(people[0], 1.0)
    assert people[0] in table.nearest(OWN)
    assert not table.failing


def test_when_all_fail_all_are_named() -> None:
    table = table_of()
    people = [contact(number) for number in range(1, 6)]
    fill(table, people)
    for one in people:
        table.failed(one.node_id)
    assert table.nearest(OWN) == nearest(people, OWN, 20)
    assert people[0] not in table.nearest(OWN, exclude=node_key(people[0].node_id))


def test_new_addresses_replace_the_old() -> None:
    table = table_of()
    table.saw(contact(1, "8.8.8.8"), 0.0)
    moved = contact(1, "9.9.9.9")
    table.saw(moved, 1.0)
    assert table.nearest(OWN) == [moved]
    peer = table.get(moved.node_id)
    assert peer is not None
    assert (peer.ip, peer.since, peer.seen) == ("9.9.9.9", 0.0, 1.0)


def test_neither_oneself_nor_who_has_no_address_gets_in() -> None:
    table = table_of()
    table.saw(contact(0), 0.0)
    table.saw(Contact(contact(1).node_id, ()), 0.0)
    assert len(table) == 0


def subnets_in(table: Table, prefix: str) -> list[int]:
    return [sum(peer.ip.startswith(prefix) for peer in bucket.nodes.values()) for bucket in table.buckets]


@settings(max_examples=8)
@given(st.integers(0, 1 << 32), st.integers(20, 120))
def test_one_subnet_does_not_keep_others_out(seed: int, intruders: int) -> None:
    """However a /24 and the rest of the world arrive: at most two of it stay in a bucket that the rest can fill."""
    table = table_of()
    world = [contact(number, elsewhere(number)) for number in range(1, 3000)]
    subnet = [contact(number, f"77.77.77.{number % 250}") for number in range(5000, 5000 + intruders)]
    arriving = [*world, *subnet]
    random.Random(seed).shuffle(arriving)
    fill(table, arriving)
    fill(table, world, now=1.0)
    check_shape(table)
    wide = [
        count
        for bucket, count in zip(table.buckets, subnets_in(table, "77.77.77."), strict=True)
        if bucket.depth() <= 5
    ]
    assert max(wide) <= CAPS.site
    assert sum(wide) <= CAPS.site_in_table


def test_a_network_in_one_subnet_has_a_full_table() -> None:
    """Places that nobody else wants go to whoever there is."""
    crowded, spacious = table_of(), table_of()
    fill(crowded, [contact(number, f"77.77.77.{number % 250}") for number in range(1, 500)])
    fill(spacious, [contact(number) for number in range(1, 500)])
    assert len(crowded) == len(spacious)


def test_the_youngest_of_a_crowd_makes_room() -> None:
    table = settled_table()
    many = deepest_far_bucket(table)
    crowd = [Contact(one.node_id, (("77.77.77.7", 1 + at),)) for at, one in enumerate(many[:20])]
    for now, one in enumerate(crowd):
        table.saw(one, float(now))
    newcomer = Contact(many[20].node_id, (("8.8.8.8", 1),))
    table.saw(newcomer, 30.0)
    assert newcomer in held(table)
    assert crowd[-1] not in held(table)
    assert crowd[0] in held(table)


def test_an_empty_place_goes_to_those_of_other_subnets_first() -> None:
    table = settled_table()
    many = deepest_far_bucket(table)
    crowd = [Contact(one.node_id, (("77.77.77.7", 1 + at),)) for at, one in enumerate(many[:2])]
    people = [*crowd, *(Contact(one.node_id, ((elsewhere(at), 1),)) for at, one in enumerate(many[2:20]))]
    fill(table, people)
    other = Contact(many[20].node_id, ((elsewhere(99), 1),))
    late = Contact(many[21].node_id, (("77.77.77.7", 99),))
    fill(table, [other, late])
    for _ in range(2):
        table.failed(people[5].node_id)
    assert other in held(table)
    assert late not in held(table)
