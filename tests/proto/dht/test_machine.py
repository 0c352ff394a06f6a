"""A node's part of the DHT, among others: finds, is found, answers."""

import random

import pytest

from forge_p2p.content.contact import Contact
from forge_p2p.proto.dht.keyspace import node_key
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
)
from tests.proto.dht.net import DELAY, Net, alone, queries
from tests.proto.dht.people import contact, nearest

KEY = b"k" * 20
PLACE = int.from_bytes(KEY, "big")
DAY = 24 * 3600


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
