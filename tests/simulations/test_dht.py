"""The `kademlia` package in the simulated network: bounded where it would go on for ever, and as it is elsewhere."""

from kademlia.node import Node as PackageNode
from kademlia.protocol import KademliaProtocol
from kademlia.utils import digest

from forge_p2p.proto.dht.keyspace import KEY_BITS, key_bytes
from simulations.dht.baseline import Theirs, package
from simulations.dht.population import Plan, Population
from simulations.dht.world import Conditions, World

K = 20
DEPTH = 5
"""Bits in common at which the package splits a bucket no more."""


def test_a_newcomer_without_a_place_is_given_each_value_once() -> None:
    """Its bucket is full: it stays a replacement, and is as new as before when it answers."""
    world = World(1, Conditions(loss=0.0, slow=0.0))
    with package(world) as kind:
        people = Population(1, world, Plan(2), kind)
        keeper, newcomer = _two_sides(people)
        _fill_bucket_of(keeper, newcomer)
        for value in _near(keeper, newcomer, 3):
            keeper.server.storage[value] = "somebody"
        stored = _counting_stores(newcomer)
        keeper.server.protocol.rpc_ping(newcomer.contact.addresses[0], newcomer.server.node.id)
        keeper.loop.drain()
        world.run(1.0)  # before the others, who are not there, count as gone
        assert keeper.server.protocol.router.is_new_node(newcomer.server.node)
        assert len(stored) == 3


def _two_sides(people: Population) -> tuple[Theirs, Theirs]:
    """Two nodes that differ in their first bit."""
    first = _enter(people)
    while True:
        other = _enter(people)
        if (first.key ^ other.key) >> (KEY_BITS - 1):
            return first, other


def _enter(people: Population) -> Theirs:
    node = people.add()
    assert isinstance(node, Theirs)
    return node


def _fill_bucket_of(keeper: Theirs, newcomer: Theirs) -> None:
    """With nodes that have as many bits in common with the newcomer as make a bucket that is not split, and no more."""
    router = keeper.server.protocol.router
    router.flush()
    prefix = newcomer.key >> (KEY_BITS - DEPTH) << (KEY_BITS - DEPTH)
    half = 1 << (KEY_BITS - DEPTH - 1)
    for number in range(2 * K):
        other = prefix | (half * (number % 2)) | number
        router.add_contact(PackageNode(key_bytes(other), f"10.0.0.{number}", 1))
    assert len(router.buckets[router.get_bucket_for(newcomer.server.node)]) == K


def _near(keeper: Theirs, newcomer: Theirs, count: int) -> list[bytes]:
    """Keys for which the keeper is nearest of all it knows, and the newcomer nearer than the farthest of these."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        number += 1
        key = digest(str(number))
        place = PackageNode(digest(key))
        neighbours = keeper.server.protocol.router.find_neighbors(place)
        nearest, farthest = neighbours[0].distance_to(place), neighbours[-1].distance_to(place)
        if keeper.server.node.distance_to(place) < nearest and newcomer.server.node.distance_to(place) < farthest:
            found.append(key)
    return found


def _counting_stores(node: Theirs) -> list[bytes]:
    """The keys that it is given to keep, as they come."""
    stored: list[bytes] = []
    protocol = node.server.protocol
    store = KademliaProtocol.rpc_store

    def rpc_store(sender: tuple[str, int], node_id: bytes, key: bytes, value: object) -> bool:
        assert key not in stored
        stored.append(key)
        return bool(store(protocol, sender, node_id, key, value))

    protocol.rpc_store = rpc_store
    return stored
