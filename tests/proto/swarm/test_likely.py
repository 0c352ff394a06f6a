"""Peers that seem to have things and have told nothing: asked first, believed for as long as they bring some of it."""

import random
from collections import Counter
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.proto.swarm import Distance, Item, Peer, Request, Swarm, SwarmLimits
from forge_p2p.wire.codes import Code
from tests.proto.swarm.test_alone import items

SIZE = 65536
LACKS = SwarmLimits().likely_lacks


def prefixes(wanted: Iterable[Item]) -> list[int]:
    return [int.from_bytes(item.hash[:8], "big") for item in wanted]


def a_swarm(wanted: list[Item], seed: int = 0) -> Swarm:
    """An origin and a neighbour that seems to have all."""
    swarm = Swarm(random.Random(seed))
    swarm.add_peer("origin", 0.0, origin=True)
    swarm.add_peer("neighbour", 0.0, complete=False, likely=True, distance=Distance.LAN)
    swarm.offer(wanted)
    swarm.holds("neighbour", prefixes(wanted), 0.0)
    return swarm


def answer(swarm: Swarm, request: Request, has: Callable[[Item], bool], now: float) -> int:
    """As a peer that has some of it; returns the chunks it sent."""
    fitting, size = [], 0
    for index, item in enumerate(request.items):
        if has(item) and size + item.size <= request.max_bytes:
            fitting.append(index)
            size += item.size
    swarm.missing(request.number, [index for index, item in enumerate(request.items) if not has(item)])
    kept = [request.items[index].size for index in swarm.received(request.number, fitting, now)]
    swarm.stored(sum(kept))
    swarm.written(sum(kept))
    swarm.ended(request.number, Code.OK if size < request.max_bytes else Code.BUDGET, now)
    return len(kept)


def play(swarm: Swarm, peers: dict[Peer, Callable[[Item], bool]], seconds: float = 60.0) -> tuple[Counter[Peer], float]:
    """Answers 10 ms later; who is not in `peers` says nothing. Returns who sent how many chunks, and when all was
    there."""
    sent: Counter[Peer] = Counter()
    now = 0.0
    while swarm.pending and now < seconds:
        requests = swarm.next_requests(now)
        now += 0.01
        for request in requests:
            if request.peer in peers:
                sent[request.peer] += answer(swarm, request, peers[request.peer], now)
        swarm.take_given_up()
        swarm.handle_timeout(now)
    assert not swarm.pending
    return +sent, now


def everything(_item: Item) -> bool:
    return True


def nothing(_item: Item) -> bool:
    return False


def test_who_seems_to_have_it_spares_the_origin() -> None:
    wanted = items(400, SIZE)
    swarm = a_swarm(wanted)
    sent, _ = play(swarm, {"origin": everything, "neighbour": everything})
    assert sent == {"neighbour": 400}


def test_what_it_does_not_have_after_all_comes_from_the_origin() -> None:
    wanted = items(400, SIZE)
    lacking = set(wanted[::10])
    swarm = a_swarm(wanted)
    sent, _ = play(swarm, {"origin": everything, "neighbour": lambda item: item not in lacking})
    assert sent == {"neighbour": 360, "origin": 40}
    neighbour = next(each for each in swarm.statistics() if each.peer == "neighbour")
    assert (neighbour.lacked, neighbour.late, neighbour.failures, neighbour.reason) == (40, 0, 0, "")


def test_who_claims_everything_and_has_nothing_is_soon_believed_no_more() -> None:
    wanted = items(4000, SIZE)
    swarm = a_swarm(wanted)
    sent, took = play(swarm, {"origin": everything, "neighbour": nothing})
    assert sent == {"origin": 4000}
    neighbour = next(each for each in swarm.statistics() if each.peer == "neighbour")
    assert LACKS <= neighbour.lacked < 3 * LACKS
    assert neighbour.reason == "it lacks what it seemed to have"
    alone = Swarm(random.Random(0))
    alone.add_peer("origin", 0.0, origin=True)
    alone.offer(wanted)
    _, alone_took = play(alone, {"origin": everything})
    assert took < alone_took + 1.0
    more = items(4050, SIZE)[4000:]
    swarm.offer(more)
    swarm.holds("neighbour", prefixes(more), took)
    assert {request.peer for request in swarm.next_requests(took + 1.0)} == {"origin"}


def test_who_claims_everything_and_says_nothing_holds_up_nothing() -> None:
    wanted = items(2000, SIZE)
    sent, took = play(a_swarm(wanted), {"origin": everything})
    assert sent == {"origin": 2000}
    assert took < 10.0


def test_it_may_become_an_ordinary_neighbour() -> None:
    """Who turned out to lack things, and then tells by itself what has arrived, is asked for that."""
    wanted = items(300, SIZE)
    swarm = a_swarm(wanted[:100])
    play(swarm, {"origin": everything, "neighbour": nothing})
    assert next(each for each in swarm.statistics() if each.peer == "neighbour").lacked
    swarm.add_peer("neighbour", 2.0, complete=False, distance=Distance.LAN)
    swarm.add_peer("neighbour", 2.0, complete=False, likely=True)
    swarm.offer(wanted[100:])
    swarm.holds("neighbour", prefixes(wanted), 2.0)
    sent, _ = play(swarm, {"origin": everything, "neighbour": everything})
    assert sent["neighbour"] > 0


def test_hearsay_does_not_put_off_the_truth() -> None:
    """What the only one who has it lacks is hopeless, whatever somebody seemed to have."""
    wanted = items(2, SIZE)
    swarm = Swarm(random.Random(0))
    swarm.add_peer("origin", 0.0)
    swarm.add_peer("neighbour", 0.0, complete=False, likely=True)
    swarm.offer(wanted)
    swarm.holds("neighbour", prefixes(wanted[:1]), 0.0)
    for now in (0.1, 0.2, 0.3):
        for request in swarm.next_requests(now):
            answer(swarm, request, nothing, now)
    assert sorted(swarm.hopeless(0.4), key=repr) == sorted(wanted, key=repr)


@given(st.integers(0, 1000), st.sets(st.integers(0, 199)), st.sets(st.integers(0, 199)), st.booleans())
def test_all_arrives_whatever_they_seem_to_have(seed: int, claimed: set[int], had: set[int], both: bool) -> None:
    wanted = items(200, SIZE)
    swarm = Swarm(random.Random(seed))
    swarm.add_peer("origin", 0.0, origin=True)
    names = ["a", "b"] if both else ["a"]
    has = {wanted[number] for number in had}
    for name in names:
        swarm.add_peer(name, 0.0, complete=False, likely=True)
    swarm.offer(wanted)
    for name in names:
        swarm.holds(name, prefixes([wanted[number] for number in claimed]), 0.0)
    sent, took = play(swarm, {"origin": everything, **dict.fromkeys(names, lambda item: item in has)})
    assert sum(sent.values()) == 200
    assert took < 20.0
