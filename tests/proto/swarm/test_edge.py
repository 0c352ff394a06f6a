"""A bucket beside peers: hardly touched while they are fast, and what counts where they are not."""

from functools import partial

from forge_p2p.proto.swarm import Distance, Item, SwarmLimits
from tests.proto.swarm.world import Neighbour, World, items

LIMITS = SwarmLimits(
    window=64_000,
    narrowest=32_000,
    narrowest_edge=48_000,
    request_bytes=16_000,
    pipeline_first=4_000,
    pipeline_least=1_000,
    pipeline_edge=32_000,
)

FAST, SLOW = 200_000.0, 2_000.0
COUNT, SIZE = 1_600, 500
ALONE = 4.0
"""Seconds that the bucket takes for everything."""


def meeting(peer: Neighbour, bucket: Neighbour) -> World:
    """A fetch of `COUNT` items; the first of them is urgent, and opens up the others. The bucket joins as
    `EdgeFeed` lets it."""
    world = World(1, LIMITS)
    wanted = items(COUNT, SIZE)
    for each in (peer, bucket):
        each.has = set(wanted)
    world.offer(wanted[0], True)
    world.join(peer)
    world.at(0.2, partial(offer, world, wanted[1:]))
    world.at(0.4, lambda: world.join(bucket))
    return world


def bucket(rate: float = FAST, delay: float = 0.02) -> Neighbour:
    return Neighbour("bucket", rate=rate, delay=delay, distance=Distance.EDGE)


def offer(world: World, wanted: list[Item]) -> None:
    world.swarm.offer(wanted)


def missing(world: World) -> set[Item]:
    return set(items(COUNT, SIZE)) - set(world.arrived)


def test_beside_a_slow_peer_it_brings_nearly_everything() -> None:
    edge = bucket()
    world = meeting(Neighbour("slow", rate=SLOW, delay=0.1), edge)
    world.run()
    assert not missing(world)
    assert world.done_at < 0.4 + 1.15 * ALONE
    assert edge.sent.total() > 0.97 * COUNT


def test_it_is_asked_in_order_where_nobody_else_fetches() -> None:
    world = meeting(Neighbour("slow", rate=SLOW, delay=0.1), bucket())
    world.run()
    asked = [each for each in world.trace if each[1] == "bucket"]
    assert not any(sparing for _, _, _, sparing in asked)
    assert sum(count for _, _, count, _ in asked) < 1.02 * COUNT, "hardly anything was named twice"


def test_it_chooses_itself_where_others_fetch() -> None:
    world = meeting(Neighbour("fellow", rate=SLOW, delay=0.1, complete=False), bucket())
    world.peers["fellow"].has = set()
    world.run()
    assert not missing(world)
    assert any(sparing for _, name, _, sparing in world.trace if name == "bucket")


def test_it_is_spared_beside_a_fast_peer() -> None:
    edge = bucket()
    world = meeting(Neighbour("fast", rate=FAST, delay=0.02), edge)
    world.run()
    assert not missing(world)
    assert edge.sent.total() < 100, "once, to find out how fast it is: 4 s would be left to the peer"


def test_a_slow_first_answer_does_not_rule_it_out() -> None:
    edge = bucket(delay=2.0)
    world = meeting(Neighbour("slow", rate=SLOW, delay=0.1), edge)
    world.at(2.6, lambda: setattr(edge, "delay", 0.02))
    world.run()
    assert not missing(world)
    assert world.done_at < 20, "400 s by the peer"


def test_what_was_slow_for_long_is_tried_again() -> None:
    edge = bucket(rate=SLOW)
    world = meeting(Neighbour("slow", rate=SLOW, delay=0.1), edge)
    world.at(30.0, lambda: setattr(edge, "rate", FAST))
    world.run()
    assert not missing(world)
    assert world.done_at < 60 + 1.2 * ALONE, "200 s if both stay as slow, 400 s by the peer"


def test_a_slow_one_does_not_keep_a_peer_from_helping() -> None:
    edge = bucket(rate=SLOW)
    world = meeting(Neighbour("slow", rate=SLOW, delay=0.1), edge)
    world.run()
    assert not missing(world)
    assert world.done_at < 300, "400 s by either"


def test_a_silent_peer_does_not_hold_it_up() -> None:
    world = meeting(Neighbour("silent", silent=True), bucket())
    world.run()
    assert not missing(world)
    first = next(at for at, name, _, _ in world.trace if name == "bucket")
    assert first < 0.6
    assert world.done_at < 2.5 + 1.2 * ALONE, "what it was asked for is asked of the bucket after two seconds"
