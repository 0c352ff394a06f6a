"""Several peers: who is asked for what, and that everything arrives whatever they do."""

import random
from collections import Counter
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.proto.swarm import Distance, Item, SwarmLimits
from forge_p2p.wire.codes import Code
from tests.proto.swarm.world import Neighbour, World, items

LIMITS = SwarmLimits(
    window=40_000,
    narrowest=20_000,
    request_bytes=4_000,
    request_items=64,
    pipeline_first=4_000,
    pipeline_least=1_000,
    stuck=5.0,
)


def everything(wanted: list[Item], name: str, **how: object) -> Neighbour:
    return Neighbour(name, has=set(wanted), **how)  # type: ignore[arg-type]


def test_all_peers_bring_a_part_according_to_their_rate() -> None:
    world = World(1, LIMITS)
    wanted = items(4000)
    world.swarm.offer(wanted)
    for name, rate in (("slow", 5_000.0), ("middle", 20_000.0), ("fast", 80_000.0)):
        world.join(everything(wanted, name, rate=rate))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert world.done_at < 1.15 * 400_000 / 105_000
    counts = {str(each.peer): each.bytes for each in world.swarm.statistics()}
    assert counts["slow"] < 40_000
    assert counts["fast"] > 250_000


def test_an_origin_is_asked_only_for_what_nobody_else_has() -> None:
    world = World(2, LIMITS)
    wanted = items(1000)
    held = set(wanted[::2])
    world.swarm.offer(wanted)
    origin = everything(wanted, "origin", origin=True)
    world.join(Neighbour("b", has=set(held), complete=False, rate=40_000.0))
    world.join(origin)
    world.run()
    assert set(world.arrived) == set(wanted)
    assert not set(origin.sent) & held


def test_an_origin_helps_out_when_neighbours_are_much_slower() -> None:
    world = World(3, LIMITS)
    wanted = items(4000)
    world.swarm.offer(wanted)
    world.join(Neighbour("b", has=set(wanted), complete=False, rate=2_000.0))
    world.join(everything(wanted, "origin", origin=True, rate=40_000.0))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert world.done_at < 20, "200 s by the neighbour alone, 10 by the origin"


def test_an_origin_that_helps_out_may_leave_out_what_is_on_its_way() -> None:
    """Where all are slow because they share processors each would else have it send what the others have."""
    world = World(3, LIMITS)
    wanted = items(4000)
    spreading = set(wanted[::4])
    world.swarm.offer(wanted)
    world.join(Neighbour("b", has=set(wanted), complete=False, rate=4_000.0))
    origin = everything(wanted, "origin", origin=True, rate=40_000.0, elsewhere=spreading)
    world.join(origin)
    world.run()
    assert set(world.arrived) == set(wanted)
    assert set(origin.sent) - spreading
    assert sum(origin.sent[item] for item in spreading) < len(spreading) / 10
    assert world.done_at < 40, "100 s by the neighbour alone"


def test_a_finished_neighbour_spares_the_origin() -> None:
    world = World(4, LIMITS)
    wanted = items(1000)
    world.swarm.offer(wanted)
    origin = everything(wanted, "origin", origin=True, rate=15_000.0)
    world.join(everything(wanted, "done", rate=60_000.0))
    world.join(origin)
    world.run()
    assert set(world.arrived) == set(wanted)
    assert not origin.sent


def test_the_origin_is_named_more_than_it_is_to_send() -> None:
    world = World(5, LIMITS)
    wanted = items(1000)
    world.swarm.offer(wanted)
    world.swarm.add_peer("origin", 0.0, origin=True)
    requests = world.swarm.next_requests(0.0)
    assert all(request.sparing for request in requests)
    named = [item for request in requests for item in request.items]
    assert len(named) == len(set(named))
    assert sum(item.size for item in named) > 1.9 * sum(request.max_bytes for request in requests) or len(named) > 900


def test_what_others_were_sent_comes_from_them() -> None:
    """The origin says that half is elsewhere; the neighbour who was sent it announces it a little later."""
    world = World(6, LIMITS)
    wanted = items(400)
    elsewhere = set(wanted[:200])
    world.swarm.offer(wanted)
    origin = everything(wanted, "origin", origin=True, elsewhere=elsewhere)
    neighbour = Neighbour("b", complete=False)
    world.join(neighbour)
    world.join(origin)
    for number, item in enumerate(wanted[:200]):
        world.at(0.2 + number * 0.004, partial(world.tell, neighbour, {item}))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert not set(origin.sent) & elsewhere


def test_what_is_said_to_be_elsewhere_and_never_turns_up_is_asked_for_outright() -> None:
    """Whoever was sent it died, or keeps it; and the origin goes on saying so."""
    world = World(7, LIMITS)
    wanted = items(100)
    world.swarm.offer(wanted)
    origin = everything(wanted, "origin", origin=True, elsewhere=set(wanted[:30]))
    world.join(Neighbour("b", complete=False))
    world.join(origin)
    world.run()
    assert set(world.arrived) == set(wanted)
    assert 2 < world.done_at < 15


def test_what_is_elsewhere_is_waited_for_while_neighbours_pass_things_on() -> None:
    """However slow they are: the origin is not asked outright for what is on its way to them."""
    world = World(7, LIMITS)
    wanted = items(60)
    world.swarm.offer(wanted)
    neighbour = Neighbour("b", complete=False)
    origin = everything(wanted, "origin", origin=True, elsewhere=set(wanted))
    world.join(neighbour)
    world.join(origin)
    for number, item in enumerate(wanted):
        world.at(1.0 + number * 0.5, partial(world.tell, neighbour, {item}))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert world.done_at > 30
    assert not origin.sent


def test_urgent_items_do_not_wait_for_long() -> None:
    world = World(8, LIMITS)
    wanted = items(20)
    world.swarm.offer(wanted, urgent=True)
    world.join(Neighbour("b", complete=False))
    world.join(everything(wanted, "origin", origin=True, elsewhere=set(wanted)))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert world.done_at < 3


def test_a_silent_peer_is_left_and_said_why() -> None:
    world = World(9, LIMITS)
    wanted = items(1000)
    world.swarm.offer(wanted)
    world.join(everything(wanted, "silent", silent=True, distance=Distance.LAN))
    world.join(everything(wanted, "honest"))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert world.done_at < 30
    assert "too long" in world.swarm.why("silent")
    assert world.swarm.why("honest") == ""


def test_who_announces_and_does_not_deliver_blocks_nothing() -> None:
    world = World(10, LIMITS)
    wanted = items(500)
    world.swarm.offer(wanted)
    for number in range(6):
        world.join(Neighbour(f"liar {number}", has=set(wanted), complete=False, silent=True, distance=Distance.LAN))
    world.join(everything(wanted, "origin", origin=True))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert world.done_at < 60
    assert world.most_at_once <= 3


def test_a_peer_that_was_slow_is_asked_again() -> None:
    """It did not answer for ten seconds; afterwards it is the fastest."""
    world = World(11, LIMITS)
    wanted = items(5000)
    world.swarm.offer(wanted)
    late = everything(wanted, "late", silent=True, rate=100_000.0)
    world.join(late)
    world.join(everything(wanted, "steady", rate=5_000.0))
    world.at(10.0, lambda: setattr(late, "silent", False))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert world.done_at < 45, "100 s by the steady one alone"


def test_the_nearest_are_asked_first() -> None:
    world = World(12, LIMITS)
    wanted = items(30)
    world.swarm.offer(wanted)
    for name, distance in (("far", Distance.OTHER), ("near", Distance.LAN), ("seed", Distance.SEED)):
        world.join(everything(wanted, name, distance=distance))
    world.run()
    assert {name for _, name, _, _ in world.trace} == {"near"}


def test_rare_items_are_asked_for_before_common_ones() -> None:
    world = World(13, LIMITS)
    wanted = items(60)
    world.swarm.offer(wanted)
    for name in ("b", "c", "d"):
        world.join(Neighbour(name, has=set(wanted[:50]), complete=False, rate=100.0))
    world.join(Neighbour("rare", has=set(wanted), complete=False, distance=Distance.LAN))
    first = next(request for request in world.swarm.next_requests(0.0) if request.peer == "rare")
    assert set(first.items[:10]) == set(wanted[50:])


def test_a_slow_holder_of_the_last_items_is_helped_in_the_end() -> None:
    world = World(14, LIMITS)
    wanted = items(300)
    world.swarm.offer(wanted)
    world.join(everything(wanted, "slow", rate=40.0))
    world.join(everything(wanted, "fast", rate=20_000.0))
    world.run()
    assert set(world.arrived) == set(wanted)
    assert world.done_at < 2, "the slow one was given 40 items: 100 s"
    assert world.most_at_once <= 2


def test_late_duplicates_are_dropped_and_counted() -> None:
    world = World(15, LIMITS)
    (item,) = items(1)
    world.swarm.offer([item])
    swarm = world.swarm
    swarm.add_peer("a", 0.0)
    (first,) = swarm.next_requests(0.0)
    swarm.add_peer("b", 0.0)
    swarm.handle_timeout(20.0)
    (second,) = swarm.next_requests(20.0)
    assert second.peer == "b"
    assert swarm.received(first.number, [0], 21.0) == [0]
    assert swarm.take_given_up() == [("b", second.number)]
    assert swarm.received(second.number, [0], 21.0) == []
    swarm.ended(first.number, Code.OK, 21.0)
    assert swarm.idle


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 6))
def test_everything_arrives_or_is_hopeless_whatever_peers_do(seed: int, count: int, peer_count: int) -> None:
    world, wanted = _a_bad_day(seed, count, peer_count)
    world.run()
    hopeless = set(world.swarm.hopeless(world.now))
    assert set(world.arrived) == set(wanted) or hopeless, (world.now, world.swarm.statistics())
    assert max(world.arrived.values(), default=1) == 1
    assert world.most_at_once <= 3
    reachable = {item for peer in world.peers.values() if not peer.silent for item in peer.has}
    assert not hopeless & reachable


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_same_seed_same_requests(seed: int) -> None:
    traces = []
    for _ in range(2):
        world, _ = _a_bad_day(seed, 80, 4)
        world.run()
        traces.append(world.trace)
    assert traces[0] == traces[1]


def _a_bad_day(seed: int, count: int, peer_count: int) -> tuple[World, list[Item]]:
    """Peers of every kind, who come, go, come back, tell what they have late, or the untruth."""
    chance = random.Random(seed)
    world = World(seed, LIMITS)
    wanted = [Item(item.hash, chance.randint(1, 900)) for item in items(count)]
    for item in wanted:
        world.at(chance.random() * 3, partial(world.offer, item, chance.random() < 0.2))
    for number in range(peer_count):
        complete = chance.random() < 0.5
        peer = Neighbour(
            f"p{number}",
            rate=10 ** chance.uniform(2, 5),
            delay=chance.random() * 0.3,
            has={item for item in wanted if complete or chance.random() < 0.4},
            complete=complete or chance.random() < 0.1,
            origin=chance.random() < 0.3,
            silent=chance.random() < 0.2,
            lossy=chance.choice([0.0, 0.0, 0.2]),
            elsewhere={item for item in wanted if chance.random() < 0.3},
            distance=chance.choice(list(Distance)),
        )
        world.at(chance.random() * 2, partial(world.join, peer))
        if chance.random() < 0.4:
            world.at(2 + chance.random() * 5, partial(world.leave, peer.name, "it went"))
            if chance.random() < 0.5:
                world.at(8 + chance.random() * 5, partial(world.join, peer))
        if not peer.complete:
            rest = {item for item in wanted if chance.random() < 0.5}
            world.at(3 + chance.random() * 5, partial(world.tell, peer, rest))
    return world, wanted


def test_counts_add_up() -> None:
    world = World(16, LIMITS)
    wanted = items(300)
    world.swarm.offer(wanted)
    world.join(everything(wanted, "a"))
    world.join(Neighbour("b", has=set(wanted[:100]), complete=False))
    world.at(0.5, lambda: world.leave("b", "it sent wrong bytes"))
    world.run()
    told = {str(each.peer): each for each in world.swarm.statistics()}
    assert Counter({name: each.chunks for name, each in told.items()}).total() == 300
    assert not told["b"].present
    assert told["b"].reason == world.swarm.why("b") == "it sent wrong bytes"
