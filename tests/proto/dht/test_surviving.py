"""A node's part of the DHT survives: deaths, sleep, partitions, moves, restarts."""

from itertools import pairwise

from forge_p2p.content.contact import Contact
from forge_p2p.proto.dht.keyspace import node_key
from forge_p2p.proto.dht.limits import UpkeepLimits
from forge_p2p.proto.dht.messages import (
    LookupDone,
)
from tests.proto.dht.net import Net, alone, queries
from tests.proto.dht.people import contact

KEY = b"k" * 20
PLACE = int.from_bytes(KEY, "big")
DAY = 24 * 3600


def test_a_quiet_network_is_quiet() -> None:
    """Thirty nodes, an hour: fewer than one query a minute and node."""
    net = Net(30)
    net.run(600)
    net.asked.clear()
    net.run(3600)
    assert len(net.asked) < 60 * 30


def test_the_dead_are_forgotten_and_places_filled() -> None:
    net = Net(60)
    dead = {one.node_id for one in net.contacts[40:]}
    net.cut |= dead
    net.run(4 * 3600)
    for one in net.contacts[:40]:
        named = {other.node_id for other in net.nodes[one.node_id].table.nearest(node_key(one.node_id))}
        assert not named & dead


def test_wakes_up() -> None:
    """Suspended for hours: finds its place and is found again, by itself."""
    net = Net(25)
    net[7].announce(KEY, 900, net.now)
    net.run(60)
    sleeper = net.contacts[7].node_id
    net.cut.add(sleeper)
    net.run(3 * 3600)
    net.cut.remove(sleeper)
    net.run(20)
    assert net.providers(3, KEY) == {sleeper}
    assert not net[7].offline
    assert net[7].behind == 0


def test_what_was_under_way_ends_when_the_machine_sleeps() -> None:
    dht = alone()
    dht.peer_seen(contact(1), 0.0)
    lookup = dht.find_providers(KEY, 0.0)
    queries(dht)
    dht.handle_timeout(DAY)
    assert LookupDone(lookup, (), 1, 0, 0) in dht.take()
    assert dht.table.get(contact(1).node_id) is not None
    assert not dht.table.failing, "that was nobody's fault"


def test_cut_off_nobody_is_blamed() -> None:
    """With its cable out a node keeps its table, and is back soon after the cable is."""
    net = Net(40)
    lonely = net.contacts[7].node_id
    others = {one.node_id for one in net.contacts if one.node_id != lonely}
    size = net[7].size
    net[7].announce(KEY, 900, net.now)
    net.run(60)
    net.cut |= others
    net.run(3 * 3600)
    assert (net[7].offline, net[7].behind) == (True, 1)
    assert net[7].size >= size - 10
    net.cut.clear()
    net.run(330)
    assert (net[7].offline, net[7].behind) == (False, 0), "and knows it"
    assert net.providers(3, KEY) == {lonely}


def test_two_halves_become_one_again() -> None:
    net = Net(30)
    near_half = {one.node_id for one in net.contacts[::2]}
    original = Net._arrive

    def arrive(self: Net, asker: object, asked: Contact, rpc: int, message: object) -> None:
        if (asker in near_half) == (asked.node_id in near_half):
            original(self, asker, asked, rpc, message)  # type: ignore[arg-type]

    net._arrive = arrive.__get__(net)  # type: ignore[method-assign]
    net.run(4 * 3600)
    net[7].announce(KEY, 900, net.now)
    net.run(10)
    assert net.providers(2, KEY) == set(), "the other half does not know"
    assert net.providers(9, KEY) == {net.contacts[7].node_id}
    del net._arrive
    net.run(1200)
    assert net.providers(2, KEY) == {net.contacts[7].node_id}


def test_goes_on_without_those_it_began_with() -> None:
    net = Net(40)
    net.cut.add(net.contacts[0].node_id)
    net.run(600)
    net[7].announce(KEY, 900, net.now)
    net.run(20)
    assert net.providers(30, KEY) == {net.contacts[7].node_id}


def test_a_table_outlives_the_process() -> None:
    net = Net(40)
    net.run(60)
    kept = net[7].contacts()
    assert kept[0] in net.contacts
    net.cut.add(net.contacts[0].node_id)
    net.add(net.contacts[7], kept)
    net.run(20)
    assert net[7].size >= 20


def test_contacts_are_the_longest_known_first() -> None:
    dht = alone()
    for number in range(1, 6):
        dht.peer_seen(contact(number), float(number))
    dht.restore([contact(9)], 6.0)
    dht.peer_failed(contact(1).node_id, 7.0)
    assert dht.contacts() == [*(contact(number) for number in (2, 3, 4, 5, 1)), contact(9)]


def test_those_never_answering_are_tried_at_growing_intervals() -> None:
    dht = alone()
    dht.restore([contact(1)], 0.0)
    times = []
    now = 0.0
    while now < 4000:
        now = dht.next_deadline()
        dht.handle_timeout(now)
        times += [now for _ in queries(dht)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] < 10
    assert gaps[-1] >= UpkeepLimits().rejoin_last
    assert len(times) < 25


def test_a_mover_is_found_at_its_new_address() -> None:
    net = Net(40)
    net[7].announce(KEY, 900, net.now)
    net.run(20)
    moved = (("10.9.9.9", 999),)
    net.move(7, moved)
    net.run(20)
    net.providers(3, KEY)
    assert moved in {provider.contact.addresses for provider in net.found}
    knowing = [dht.table.get(net.contacts[7].node_id) for dht in net.nodes.values()]
    addresses = [peer.contact.addresses for peer in knowing if peer is not None]
    assert addresses.count(moved) >= 20


def test_lost_contacts_are_few() -> None:
    dht = alone()
    for number in range(1, 400):
        dht.peer_seen(contact(number), 0.0)
        for _ in range(2):
            dht.peer_failed(contact(number).node_id, float(number))
        dht.peer_seen(contact(1000), float(number))
    assert len(dht.contacts()) <= UpkeepLimits().lost_max + 1
