"""Members that do harm: silent ones, liars, conspirators, and one who owns a subnet.

All are real: they have keys and addresses, join with the production code, and so get into everybody's tables. What they
answer is made to lead lookups away: names of nodes that do not exist, nearer to the target than anybody; names of each
other; themselves as providers of whatever is asked for. What is announced to them they accept and forget.
"""

from bisect import bisect_left, insort
from typing import Final

from forge_p2p.content.contact import Contact
from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.keyspace import node_key
from forge_p2p.proto.dht.messages import (
    Accepted,
    Announce,
    FindNode,
    FindProviders,
    Nodes,
    Provider,
    Providers,
    Query,
    Reply,
)
from simulations.dht.member import PORT, Member
from simulations.dht.population import Population
from simulations.dht.world import Site

MADE_UP: Final = 200_000
"""Ids a liar has tried to have some near any key: twenty times nearer than the nearest of 10,000 nodes."""
NAMED: Final = 20
TTL: Final = 900


class Ranks:
    """Contacts by key, to find those near a target: within a window of neighbours in the order of numbers, which has
    nearly all of those nearest by XOR."""

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._contacts: dict[int, Contact] = {}

    def add(self, contact: Contact) -> None:
        key = node_key(contact.node_id)
        insort(self._keys, key)
        self._contacts[key] = contact

    def fill(self, contacts: dict[int, Contact]) -> None:
        self._contacts.update(contacts)
        self._keys = sorted(self._contacts)

    def near(self, target: int, count: int) -> list[Contact]:
        at = bisect_left(self._keys, target)
        window = self._keys[max(0, at - 2 * count) : at + 2 * count]
        return [self._contacts[key] for key in sorted(window, key=lambda key: key ^ target)[:count]]


def key_of(node_id: NodeId) -> int:
    """`node_key` without keeping it: for those who try many."""
    return int.from_bytes(hash_bytes(node_id)[:20], "big")


class Hostile(Member):
    """Joins, and then lies."""

    honest = False

    def answer(self, sender: Contact, message: Query) -> Reply | None:
        self.welcome(sender)
        match message:
            case FindNode(target):
                return Nodes(tuple(self.named(int.from_bytes(target, "big"))))
            case FindProviders(key):
                named = tuple(self.named(int.from_bytes(key, "big")))
                return Providers(tuple(Provider(contact, TTL) for contact in self.providing(named)), named)
            case Announce():
                return Accepted()

    def named(self, target: int) -> list[Contact]:
        """Whom it says to be near the target."""
        raise NotImplementedError

    def providing(self, named: tuple[Contact, ...]) -> tuple[Contact, ...]:
        """Whom it says to be providers."""
        return named[:2]


class Silent(Hostile):
    """Never answers."""

    def answer(self, sender: Contact, message: Query) -> Reply | None:
        return None


class Liar(Hostile):
    """Names nodes that do not exist, other ones every time, nearer to the target than all that do."""

    def __init__(self, people: Population, number: int, site: Site, made_up: Ranks) -> None:
        super().__init__(people, number, site)
        self._made_up = made_up

    def named(self, target: int) -> list[Contact]:
        return self.people.rng.sample(self._made_up.near(target, 3 * NAMED), NAMED)


class Conspirator(Hostile):
    """Names its fellows, who exist and answer alike, and says that they have whatever is asked for."""

    def __init__(
        self, people: Population, number: int, site: Site, fellows: Ranks, node_id: NodeId | None = None
    ) -> None:
        super().__init__(people, number, site, node_id)
        self._fellows = fellows
        fellows.add(self.contact)

    def named(self, target: int) -> list[Contact]:
        return self._fellows.near(target, NAMED)


class Sybil(Conspirator):
    """A conspirator with an id of its choice that knows of no providers: it wants to be the only one who is asked."""

    def providing(self, named: tuple[Contact, ...]) -> tuple[Contact, ...]:
        return ()


class Mixture:
    """A kind of population: every so many nodes silent, lying, or conspiring, in turn."""

    def __init__(self, share: float, seed: int) -> None:
        self._every = round(1 / share)
        self._made_up = Ranks()
        self._fellows = Ranks()
        self._fill(seed)

    def __call__(self, people: Population, number: int) -> Member:
        site = people.world.new_site()
        turn, rest = divmod(number, self._every)
        if rest != self._every - 1:
            return Member(people, number, site)
        kind = turn % 3
        if kind == 0:
            return Silent(people, number, site)
        if kind == 1:
            return Liar(people, number, site, self._made_up)
        return Conspirator(people, number, site, self._fellows)

    def _fill(self, seed: int) -> None:
        contacts = {}
        for number in range(MADE_UP):
            node_id = NodeId(hash_bytes(b"made up %d %d" % (seed, number)))
            address = f"{11 + number % 89}.{number >> 8 & 0xFF}.{number & 0xFF}.{1 + number % 254}"
            contacts[key_of(node_id)] = Contact(node_id, ((address, PORT),))
        self._made_up.fill(contacts)


def ids_near(targets: list[int], count: int, tries: int, seed: int) -> dict[int, list[NodeId]]:
    """For each target the `count` nearest of `tries` ids: what somebody does who wants to have its surroundings."""
    ids = {}
    for number in range(tries):
        node_id = NodeId(hash_bytes(b"sybil %d %d" % (seed, number)))
        ids[key_of(node_id)] = node_id
    keys = sorted(ids)
    found = {}
    for target in targets:
        at = bisect_left(keys, target)
        window = sorted(keys[max(0, at - 2 * count) : at + 2 * count], key=lambda key: key ^ target)
        found[target] = [ids[key] for key in window[:count]]
    return found
