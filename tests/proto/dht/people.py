"""Contacts to test with."""

import random
from collections.abc import Iterable

from forge_p2p.content.contact import Contact
from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.keyspace import node_key
from forge_p2p.proto.dht.subnets import Caps, place_of

CAPS = Caps()
LAN = "10.0.0.1"


def contact(number: int, host: str = LAN) -> Contact:
    """The node with that number; every number has an id of its own."""
    return Contact(NodeId(hash_bytes(b"node %d" % number)), ((host, 1024 + number % 60000),))


def elsewhere(number: int) -> str:
    """A global address in a /16 of its own, for numbers below 20,000."""
    return f"{11 + number // 256}.{number % 256}.{number % 251}.7"


def nearest(contacts: Iterable[Contact], target: int, count: int) -> list[Contact]:
    """By brute force."""
    return sorted(contacts, key=lambda one: node_key(one.node_id) ^ target)[:count]


def nearest_spread(contacts: Iterable[Contact], target: int, count: int, caps: Caps = CAPS) -> list[Contact]:
    """By brute force: of each subnet so many first, then whoever is nearest."""
    chosen: list[Contact] = []
    left: list[Contact] = []
    for one in nearest(contacts, target, 1 << 30):
        place = place_of(one.addresses[0][0])
        others = [place_of(other.addresses[0][0]) for other in chosen]
        fits = place is None or (
            sum(other is not None and other[0] == place[0] for other in others) < caps.site
            and sum(other is not None and other[1] == place[1] for other in others) < caps.block
        )
        (chosen if fits else left).append(one)
    return nearest(chosen[:count] + left[: max(0, count - len(chosen))], target, count)


def near(target: int, count: int, tries: int, host: str, seed: int = 0) -> list[Contact]:
    """The nearest of `tries` made-up nodes."""
    rng = random.Random(seed)
    made_up = [Contact(NodeId(rng.randbytes(32)), ((host, 1 + at % 60000),)) for at in range(tries)]
    return nearest(made_up, target, count)
