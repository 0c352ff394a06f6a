"""A node tells who keeps records what it has, in time, and takes it back."""

import random
from itertools import pairwise

from forge_p2p.proto.dht.machine import Dht
from forge_p2p.proto.dht.messages import (
    Announce,
    Declined,
    FindNode,
    Nodes,
)
from tests.proto.dht.net import Net, alone, queries
from tests.proto.dht.people import contact, nearest

KEY = b"k" * 20
PLACE = int.from_bytes(KEY, "big")
DAY = 24 * 3600


def test_records_are_kept_up_and_taken_back() -> None:
    net = Net(30)
    net[7].announce(KEY, 600, net.now)
    for _ in range(4):
        net.run(500)
        assert net.providers(3, KEY) == {net.contacts[7].node_id}
    assert net[7].behind == 0
    net[7].withdraw(KEY, net.now)
    net.run(5)
    assert not any(len(dht.records) for dht in net.nodes.values())
    assert net.providers(3, KEY) == set()
    net.run(1000)
    assert not any(len(dht.records) for dht in net.nodes.values()), "it is not said again"


def test_records_of_those_who_vanish_expire() -> None:
    net = Net(30)
    net[7].announce(KEY, 600, net.now)
    net.run(5)
    net.cut.add(net.contacts[7].node_id)
    net.run(601)
    assert net.providers(3, KEY) == set()


def test_one_survey_serves_a_small_network() -> None:
    """Two hundred keys in a network of fifteen: one lookup for all, not one for each."""
    net = Net(15)
    net.asked.clear()
    keys = [bytes([number]) * 20 for number in range(200)]
    for key in keys:
        net[7].announce(key, 900, net.now)
    net.run(60)
    lookups = {message.target for _, _, message in net.asked if isinstance(message, FindNode)}
    assert len(lookups) <= 4
    assert sum(isinstance(message, Announce) for _, _, message in net.asked) == 200 * 14
    assert all(len(dht.records) == 200 for number, dht in enumerate(net.nodes.values()) if number != 7)


def test_a_later_announcement_in_a_small_network_needs_no_survey() -> None:
    net = Net(15)
    net[7].announce(KEY, 900, net.now)
    net.run(60)
    net.asked.clear()
    other = bytes([9]) * 20
    net[7].announce(other, 900, net.now)
    net.run(1)
    mine = [message for asker, _, message in net.asked if asker == net.contacts[7].node_id]
    assert [type(message) for message in mine] == [Announce] * 14
    assert all(dht.records.get(other, net.now) for number, dht in enumerate(net.nodes.values()) if number != 7)


def test_a_newcomer_is_told_of_what_is_announced_later() -> None:
    net = Net(5)
    net[2].announce(KEY, 900, net.now)
    net.run(60)
    net.contacts.append(contact(99))
    newcomer = net.add(contact(99), net.contacts[:1])
    net[2].peer_seen(contact(99), net.now)
    other = bytes([9]) * 20
    net[2].announce(other, 900, net.now)
    net.run(60)
    assert newcomer.records.get(other, net.now)


def test_announcements_go_around_the_keyspace() -> None:
    net = Net(15)
    net.asked.clear()
    keys = [net.rng.randbytes(20) for _ in range(50)]
    for key in keys:
        net[7].announce(key, 900, net.now)
    net.run(60)
    order = list(dict.fromkeys(message.key for _, _, message in net.asked if isinstance(message, Announce)))
    assert sorted(order) == sorted(keys)
    assert sum(one > other for one, other in pairwise(order)) <= 3, (
        "in the order of the keyspace, but for where it begins"
    )


def test_keys_share_surveys_of_their_surroundings() -> None:
    """In a network larger than k, fewer lookups than keys, and every record still with some of its nearest."""
    net = Net(80)
    net.asked.clear()
    keys = [net.rng.randbytes(20) for _ in range(60)]
    for key in keys:
        net[7].announce(key, 900, net.now)
    net.run(120)
    targets = {message.target for asker, _, message in net.asked if isinstance(message, FindNode)}
    assert len(targets & set(keys)) < 40
    for key in keys:
        best = nearest([one for one in net.contacts if one != net.contacts[7]], int.from_bytes(key, "big"), 8)
        keeping = {node_id for node_id, dht in net.nodes.items() if dht.records.get(key, net.now)}
        assert len({one.node_id for one in best} & keeping) >= 6


def test_said_again_without_looking_again() -> None:
    net = Net(30)
    net[7].announce(KEY, 600, net.now)
    net.run(60)
    net.asked.clear()
    net.run(280)
    mine = [message for asker, _, message in net.asked if asker == net.contacts[7].node_id]
    assert sum(isinstance(message, Announce) for message in mine) == 20
    assert FindNode(KEY) not in mine


def test_nobody_to_tell_is_not_behind_but_nobody_listening_is() -> None:
    dht = alone()
    dht.announce(KEY, 900, 0.0)
    now = 0.0
    while now < 300:
        now = dht.next_deadline()
        dht.handle_timeout(now)
        assert not queries(dht)
    assert dht.behind == 0
    for number in range(1, 30):
        dht.peer_seen(contact(number), now)
    dht.handle_timeout(now)
    while now < 900:
        for query in queries(dht):
            if isinstance(query.message, FindNode):
                dht.receive_reply(query.rpc, Nodes(()), now)
            else:
                dht.receive_reply(query.rpc, Declined(), now)
        now = dht.next_deadline()
        dht.handle_timeout(now)
    assert dht.behind == 1


def test_what_could_not_be_announced_is_when_the_node_has_joined() -> None:
    net = Net(10)
    late = contact(100)
    net.contacts.append(late)
    dht = Dht(late.node_id, random.Random(1), net.now, late.addresses)
    net.nodes[late.node_id] = dht
    dht.announce(KEY, 900, net.now)
    net.run(1)
    dht.restore(net.contacts[:1], net.now)
    net.run(3)
    assert net.providers(3, KEY) == {late.node_id}


def test_what_can_wait_is_announced_later() -> None:
    net = Net(30)
    net[7].announce(KEY, 900, net.now, after=20.0)
    net.asked.clear()
    net.run(19)
    mine = [message for asker, _, message in net.asked if asker == net.contacts[7].node_id]
    assert not any(isinstance(message, Announce) for message in mine)
    assert not net.providers(3, KEY, 0.9)
    net.run(5)
    assert net.providers(3, KEY) == {net.contacts[7].node_id}


def test_what_was_not_announced_yet_is_not_taken_back() -> None:
    net = Net(30)
    net[7].announce(KEY, 900, net.now, after=20.0)
    net.run(5)
    net.asked.clear()
    net[7].withdraw(KEY, net.now)
    net.run(60)
    assert not any(isinstance(message, Announce) for _, _, message in net.asked)


def test_what_can_wait_goes_along_with_its_surroundings() -> None:
    net = Net(30)
    net[7].announce(KEY, 900, net.now, after=20.0)
    net[7].announce(bytes(20), 900, net.now)
    net.run(5)
    assert net.providers(3, KEY) == {net.contacts[7].node_id}
