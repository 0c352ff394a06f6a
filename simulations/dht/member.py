"""The simulated nodes: the production `Dht`, driven as a node drives it, with the world in the place of sessions."""

import random
from typing import TYPE_CHECKING

from forge_p2p.content.contact import Contact
from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.keyspace import node_key
from forge_p2p.proto.dht.machine import Dht
from forge_p2p.proto.dht.messages import Announce, LookupDone, ProvidersFound, Query, Reply, SendQuery
from simulations.dht.world import Site, World

if TYPE_CHECKING:
    from simulations.dht.population import Population, Trial

PORT = 4433


class Node:
    """What every kind of node is: somebody somewhere."""

    honest = True

    def __init__(self, people: "Population", number: int, site: Site, node_id: NodeId | None = None) -> None:
        self.people = people
        self.world: World = people.world
        self.number = number
        self.site = site
        self.node_id = node_id or NodeId(hash_bytes(b"%d %d" % (people.seed, number)))
        self.key = node_key(self.node_id)
        self.contact = Contact(self.node_id, ((site.host, PORT),))
        self.alive = True
        self.asleep = False
        self.born = self.world.now
        self.keys: set[bytes] = set()

    def at(self, contact: Contact) -> bool:
        """Whether the node is to be found there."""
        return contact is self.contact or self.contact.addresses[0] in contact.addresses

    def join(self, contacts: list[Contact]) -> None:
        """Joins the network by way of `contacts`."""
        raise NotImplementedError

    def provide(self, key: bytes, ttl: int) -> None:
        """Announces that it has `key`."""
        raise NotImplementedError

    def look_up(self, trial: "Trial") -> None:
        """Looks for who has the trial's key."""
        raise NotImplementedError


class Member(Node):
    """A node that runs Forge. Subclasses answer otherwise."""

    def __init__(self, people: "Population", number: int, site: Site, node_id: NodeId | None = None) -> None:
        super().__init__(people, number, site, node_id)
        rng = random.Random(people.seed << 32 | number)
        self.dht = Dht(self.node_id, rng, self.world.now, self.contact.addresses, people.limits)
        self._wake = float("inf")
        self._trials: dict[int, Trial] = {}

    def join(self, contacts: list[Contact]) -> None:
        self.dht.restore(contacts, self.world.now)
        self.flush()

    def provide(self, key: bytes, ttl: int) -> None:
        self.keys.add(key)
        self.dht.announce(key, ttl, self.world.now)
        self.flush()

    def look_up(self, trial: "Trial") -> None:
        self._trials[self.dht.find_providers(trial.key, self.world.now)] = trial
        self.flush()

    def sleep(self, seconds: float) -> None:
        """Is suspended: nothing is heard, no timer runs."""
        self.asleep = True
        self.world.at(self.world.now + seconds, self._wake_up)

    def _wake_up(self) -> None:
        self.asleep = False
        if self.alive:
            self.dht.handle_timeout(self.world.now)
            self._wake = float("inf")
            self.flush()

    def move(self, site: Site) -> None:
        """Has another address from now on."""
        del self.people.by_host[self.site.host]
        self.site = site
        self.people.by_host[site.host] = self
        self.contact = Contact(self.node_id, ((site.host, PORT),))
        self.dht.move(self.contact.addresses, self.world.now)
        self.flush()

    def answer(self, sender: Contact, message: Query) -> Reply | None:
        """What this node says to a query; `None`: nothing."""
        self.welcome(sender)
        return self.dht.receive_query(sender, message, self.world.now)

    def welcome(self, sender: Contact) -> None:
        """A session with somebody begins, if it is not one of those there are."""
        if self.dht.table.get(sender.node_id) is None:
            self.dht.peer_seen(sender, self.world.now)

    def flush(self) -> None:
        """Does what the machine wants done, and sees to it that it is woken in time."""
        for output in self.dht.take():
            if type(output) is SendQuery:
                self._ask(output)
            elif type(output) is ProvidersFound:
                self._try(output)
            elif type(output) is LookupDone:
                trial = self._trials.pop(output.lookup)
                trial.ended, trial.queries, trial.hops = self.world.now, output.queries, output.hops
        due = self.dht.next_deadline()
        if due < self._wake:
            self._wake = due
            self.world.at(due, self._timeout, due)

    def _timeout(self, due: float) -> None:
        if due != self._wake or not self.alive or self.asleep:
            return
        self._wake = float("inf")
        self.dht.handle_timeout(self.world.now)
        self.flush()

    def _ask(self, query: SendQuery) -> None:
        self.people.queries += self.honest
        asked = self.people.by_id.get(query.contact.node_id)
        if type(query.message) is Announce:
            self.people.said.add((query.message.key, self.node_id))
        if asked is None or not asked.at(query.contact):
            return
        delay = self.world.delay(self.site, asked.site)
        if delay is not None:
            self.world.at(self.world.now + delay, self._arrive, asked, query.rpc, query.message)

    def _arrive(self, asked: Node, rpc: int, message: Query) -> None:
        if not asked.alive or asked.asleep or not isinstance(asked, Member):
            return
        self.world.mark(asked.number << 20 ^ self.number)
        reply = asked.answer(self.contact, message)
        asked.flush()
        delay = self.world.delay(asked.site, self.site)
        if reply is not None and delay is not None:
            self.world.at(self.world.now + delay, self._replied, rpc, reply)

    def _replied(self, rpc: int, reply: Reply) -> None:
        if self.alive and not self.asleep:
            self.dht.receive_reply(rpc, reply, self.world.now)
            self.flush()

    def _try(self, found: ProvidersFound) -> None:
        """Connects to providers; that takes a round trip if one is there."""
        trial = self._trials[found.lookup]
        for provider in found.providers:
            other = self.people.by_id.get(provider.contact.node_id)
            there = other is not None and other.at(provider.contact) and self.people.is_good(self, other, trial.key)
            if trial.found < 0 and other is not None and there:
                trial.found = self.world.now
                trip = 2 * (self.world.delay(self.site, other.site) or 1.0)
                self.world.at(self.world.now + trip, self._connected, found.lookup)

    def _connected(self, lookup: int) -> None:
        if self.alive and not self.asleep:
            self.dht.stop(lookup, self.world.now)
            self.flush()
