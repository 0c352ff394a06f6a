"""A node's part of the DHT, among others: finds, is found, survives."""

import random
from itertools import pairwise

import pytest

from forge_p2p.content.contact import Contact
from forge_p2p.proto.dht.keyspace import node_key
from forge_p2p.proto.dht.limits import DhtLimits, UpkeepLimits
from forge_p2p.proto.dht.machine import Dht
from forge_p2p.proto.dht.messages import (
    Accepted,
    Announce,
    Declined,
    FindNode,
    FindProviders,
    LookupDone,
    Nodes,
    Provider,
    Providers,
    ProvidersFound,
    SendQuery,
)
from tests.proto.dht.net import DELAY, Net
from tests.proto.dht.people import contact, nearest

KEY = b"k" * 20
PLACE = int.from_bytes(KEY, "big")
DAY = 24 * 3600


def alone(number: int = 0, limits: DhtLimits | None = None) -> Dht:
    one = contact(number)
    return Dht(one.node_id, random.Random(number), 0.0, one.addresses, limits)


def queries(dht: Dht) -> list[SendQuery]:
    return [output for output in dht.take() if isinstance(output, SendQuery)]


# Finding


def test_everybody_knows_its_neighbours() -> None:
    net = Net(60)
    net.run(3600)
    for one in net.contacts:
        others = [other for other in net.contacts if other != one]
        key = node_key(one.node_id)
        assert net.nodes[one.node_id].table.nearest(key)[:16] == nearest(others, key, 16)


def test_who_meets_its_first_contact_looks_for_its_neighbours_at_once() -> None:
    dht = alone()
    dht.handle_timeout(0.0)
    assert queries(dht) == []
    dht.peer_seen(contact(1), 5.0)
    assert dht.next_deadline() <= 5.0
    dht.handle_timeout(5.0)
    [asked] = queries(dht)
    assert (asked.contact, asked.message) == (contact(1), FindNode(node_key(contact(0).node_id).to_bytes(20, "big")))


def test_what_is_announced_is_found() -> None:
    net = Net(50)
    net[7].announce(KEY, 900, net.now)
    net[8].announce(KEY, 900, net.now)
    net.run(5)
    provider_ids = {net.contacts[7].node_id, net.contacts[8].node_id}
    for number in (0, 20, 49):
        assert net.providers(number, KEY) == provider_ids
    assert net.providers(7, KEY) == provider_ids - {net.contacts[7].node_id}, "nobody finds itself"


def test_the_nearest_keep_the_record() -> None:
    net = Net(60)
    net[7].announce(KEY, 900, net.now)
    net.run(5)
    keeping = {node_id for node_id, dht in net.nodes.items() if len(dht.records)}
    others = [one for one in net.contacts if one != net.contacts[7]]
    assert keeping == {one.node_id for one in nearest(others, PLACE, 20)}


def test_what_nobody_has_is_not_found() -> None:
    net = Net(30)
    assert net.providers(3, KEY) == set()
    assert net.done[-1].providers == ()
    assert net.done[-1].hops == 0
    assert net.done[-1].answers >= 20


def test_a_search_stops_when_told() -> None:
    net = Net(60)
    net[7].announce(KEY, 900, net.now)
    net.run(5)
    lookup = net[40].find_providers(KEY, net.now)
    while not net.found:
        net.run(DELAY)
    before = len(net.asked)
    net.run(2 * DELAY)
    assert len(net.asked) == before, "while the providers are tried nobody is asked"
    net[40].stop(lookup, net.now)
    net.run(30)
    (done,) = net.done
    assert (done.lookup, done.queries) == (lookup, sum(isinstance(asked[2], FindProviders) for asked in net.asked))
    assert done.queries <= 6
    assert {one.contact for one in done.providers} == {net.contacts[7]}
    net[40].stop(lookup, net.now)
    net.run(1)
    assert len(net.done) == 1


def test_a_search_goes_on_when_not_told() -> None:
    net = Net(60)
    net[7].announce(KEY, 900, net.now)
    net.run(5)
    net.providers(40, KEY)
    assert net.done[-1].answers >= 20


def test_one_who_keeps_the_record_knows_at_once() -> None:
    net = Net(3)
    net[1].announce(KEY, 900, net.now)
    net.run(5)
    net[2].find_providers(KEY, net.now)
    assert any(isinstance(output, ProvidersFound) for output in net[2].take())


def test_a_search_before_anybody_answered_begins_with_those_it_was_told() -> None:
    dht = alone()
    dht.restore([contact(1), contact(2)], 0.0)
    dht.find_providers(KEY, 0.0)
    assert {query.contact for query in queries(dht)} == {contact(1), contact(2)}


def test_a_search_that_knows_nobody_ends_at_once() -> None:
    dht = alone()
    lookup = dht.find_providers(KEY, 0.0)
    assert dht.take() == [LookupDone(lookup, (), 0, 0, 0)]


def test_keys_have_20_bytes() -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        alone().find_providers(b"short", 0.0)
    with pytest.raises(ValueError, match="20 bytes"):
        alone().announce(bytes(32), 900, 0.0)


# Answering


def test_answers_name_the_nearest_but_not_the_asker() -> None:
    dht = alone()
    people = [contact(number) for number in range(1, 40)]
    for one in people:
        dht.peer_seen(one, 0.0)
    known = [peer.contact for peer in dht.table]
    reply = dht.receive_query(people[0], FindNode(KEY), 0.0)
    assert reply == Nodes(tuple(nearest([one for one in known if one != people[0]], PLACE, 20)))


def test_asking_alone_gives_nobody_a_place() -> None:
    dht = alone()
    dht.receive_query(contact(1), FindNode(KEY), 0.0)
    assert dht.size == 0
    dht.peer_seen(contact(1), 0.0)
    assert dht.size == 1


def test_a_record_names_its_sender() -> None:
    """An announcement names no node: whoever sends it is the provider, at the address it was heard from first."""
    dht = alone()
    sender = contact(1, "8.8.8.8")
    elsewhere = (("9.9.9.9", 5), ("8.8.8.8", sender.addresses[0][1]))
    assert dht.receive_query(sender, Announce(KEY, 900, elsewhere), 0.0) == Accepted()
    reply = dht.receive_query(contact(2), FindProviders(KEY), 1.0)
    assert reply == Providers((Provider(Contact(sender.node_id, (*sender.addresses, ("9.9.9.9", 5))), 899),), ())


def test_only_the_sender_takes_its_record_back() -> None:
    dht = alone()
    dht.receive_query(contact(1), Announce(KEY, 900, ()), 0.0)
    dht.receive_query(contact(2), Announce(KEY, 0, ()), 0.0)
    assert len(dht.records) == 1
    dht.receive_query(contact(1), Announce(KEY, 0, ()), 0.0)
    assert len(dht.records) == 0


def test_full_is_said() -> None:
    dht = alone()
    for number in range(256):
        assert dht.receive_query(contact(number + 1), Announce(KEY, 900, ()), 0.0) == Accepted()
    assert dht.receive_query(contact(1000), Announce(KEY, 900, ()), 0.0) == Declined()


def test_a_provider_says_so_itself() -> None:
    dht = alone()
    dht.announce(KEY, 900, 0.0)
    reply = dht.receive_query(contact(1), FindProviders(KEY), 0.0)
    assert reply == Providers((Provider(contact(0), 900),), ())


def test_one_that_cannot_be_reached_does_not_call_itself_a_provider() -> None:
    dht = Dht(contact(0).node_id, random.Random(0), 0.0)
    dht.announce(KEY, 900, 0.0)
    assert dht.receive_query(contact(1), FindProviders(KEY), 0.0) == Providers((), ())


def test_an_answer_to_another_question_is_a_failure() -> None:
    dht = alone()
    dht.peer_seen(contact(1), 0.0)
    lookup = dht.find_providers(KEY, 0.0)
    (query,) = queries(dht)
    dht.receive_reply(query.rpc, Nodes((contact(2),)), 0.1)
    assert dht.take() == [LookupDone(lookup, (), 1, 0, 0)]
    assert list(dht.table.failing) == [contact(1).node_id]


def test_answers_nobody_waits_for_are_ignored() -> None:
    dht = alone()
    dht.peer_seen(contact(1), 0.0)
    lookup = dht.find_providers(KEY, 0.0)
    (query,) = queries(dht)
    dht.rpc_failed(query.rpc, 0.1)
    assert dht.take() == [LookupDone(lookup, (), 1, 0, 0)]
    dht.receive_reply(query.rpc, Providers((Provider(contact(9), 9),), ()), 0.2)
    dht.rpc_failed(query.rpc, 0.2)
    dht.receive_reply(12345, Accepted(), 0.2)
    assert dht.take() == []


def test_providers_made_up_delay_a_search_and_do_not_end_it() -> None:
    """A liar near the asker says that nobody in particular has everything; the true provider is found all the same."""
    net = Net(40)
    net[7].announce(KEY, 900, net.now)
    net.run(5)
    made_up = tuple(Provider(contact(10_000 + number), 900) for number in range(60))
    liar = net[3]
    honest = liar.receive_query

    def lie(sender: Contact, message: FindNode | FindProviders | Announce, now: float) -> object:
        return Providers(made_up, ()) if isinstance(message, FindProviders) else honest(sender, message, now)

    liar.receive_query = lie  # type: ignore[method-assign, assignment]
    found = net.providers(20, KEY, 60)
    assert net.contacts[7].node_id in found
    assert len(found) <= 33, "an answer has at most 32 providers"
    first, *_ = net.done[-1].providers
    assert first.contact == net.contacts[7], "the one that most named comes first"


# Announcing


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


# Surviving


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
