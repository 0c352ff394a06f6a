"""One peer: a queue within a window, and everything offered arrives once."""

import random
from dataclasses import replace

from forge_p2p.content.link import hash_bytes
from forge_p2p.proto.swarm import Item, Request, Swarm, SwarmLimits
from forge_p2p.wire.codes import Code

LIMITS = SwarmLimits(window=4000, narrowest=2000, request_bytes=1000, request_items=8, requests_per_peer=3)


def items(count: int, size: int = 100) -> list[Item]:
    return [Item(hash_bytes(number.to_bytes(4, "big")), size) for number in range(count)]


def a_swarm(limits: SwarmLimits = LIMITS) -> Swarm:
    return Swarm(random.Random(0), limits)


def finish(swarm: Swarm, request: Request) -> None:
    swarm.received(request.number, range(len(request.items)), 0.0)
    size = sum(item.size for item in request.items)
    swarm.stored(size)
    swarm.written(size)
    swarm.ended(request.number, Code.OK, 0.0)


def test_items_go_out_in_order_within_a_request() -> None:
    swarm = a_swarm()
    wanted = items(5)
    swarm.offer(wanted)
    swarm.add_peer("a", 0.0)
    (request,) = swarm.next_requests(0.0)
    assert list(request.items) == wanted
    assert not request.sparing


def test_urgent_items_go_first() -> None:
    swarm = a_swarm()
    late, node = items(2)
    swarm.offer([late])
    swarm.offer([node], urgent=True)
    swarm.add_peer("a", 0.0)
    assert [request.items[0] for request in swarm.next_requests(0.0)] == [node, late]


def test_the_window_counts_what_is_not_written() -> None:
    swarm = a_swarm(SwarmLimits(window=1000, request_bytes=1000, requests_per_peer=100))
    swarm.offer(items(30))
    swarm.add_peer("a", 0.0)
    for request in swarm.next_requests(0.0):
        swarm.received(request.number, range(len(request.items)), 0.0)
        swarm.stored(500)
        swarm.ended(request.number, Code.OK, 0.0)
    assert swarm.next_requests(0.0) == []
    swarm.written(500)
    assert len(swarm.next_requests(0.0)) == 1


RATE, DELAY = 100_000, 0.010
"""A link of so many bytes a second, so many seconds away, with all the room in the world to queue in between."""


def over_the_link(limits: SwarmLimits) -> tuple[list[int], float]:
    """What was under way of 800,000 bytes, request by request, and when all had come."""
    swarm = a_swarm(limits)
    swarm.offer(items(8000, size=100))
    swarm.add_peer("a", 0.0)
    busy_until = now = 0.0
    arrivals: list[tuple[float, Request]] = []
    under_way: list[int] = []
    while swarm.pending:
        for request in swarm.next_requests(now):
            size = sum(item.size for item in request.items)
            busy_until = max(busy_until, now + DELAY) + size / RATE
            arrivals.append((busy_until, request))
        under_way.append(sum(len(request.items) * 100 for _, request in arrivals))
        now, request = arrivals.pop(0)
        size = len(request.items) * 100
        swarm.received(request.number, range(len(request.items)), now)
        swarm.stored(size)
        swarm.written(size)
        swarm.ended(request.number, Code.OK, now)
    return under_way, now


ALONE = SwarmLimits(flight_least=1000, flight_enough=0, flight_margin=0.01, flight_ramp=1, requests_per_peer=1000)


def test_of_a_lone_peer_so_much_is_under_way_as_comes_within_its_delay() -> None:
    under_way, seconds = over_the_link(ALONE)
    assert max(under_way[len(under_way) // 2 :]) <= 2 * RATE * (2 * DELAY + 0.01) + 1000
    assert seconds <= 1.3 * 800_000 / RATE, "and the link is hardly ever idle"


def test_of_a_lone_peer_less_is_under_way_before_much_has_come() -> None:
    at_once, _ = over_the_link(ALONE)
    by_and_by, seconds = over_the_link(replace(ALONE, flight_ramp=800_000))
    assert max(by_and_by[: len(by_and_by) // 8]) < max(at_once[: len(at_once) // 8])
    assert max(by_and_by) >= max(at_once) - 1000
    assert seconds <= 1.3 * 800_000 / RATE, "and the link is hardly ever idle"


def test_of_a_lone_peer_a_share_of_what_it_has_brought_may_be_under_way() -> None:
    """However long it takes to answer: a request that takes a second is one behind a queue."""
    limits = SwarmLimits(flight_least=1000, flight_enough=5000, requests_per_peer=1000)
    swarm = a_swarm(limits)
    swarm.offer(items(12000))
    swarm.add_peer("a", 0.0)
    asked: list[int] = []
    for now in range(1, 4000):
        requests = swarm.next_requests(float(now))
        asked.append(sum(len(request.items) * 100 for request in requests))
        for request in requests:
            swarm.received(request.number, range(len(request.items)), now + 0.001 if now == 1 else now + 1.0)
            swarm.stored(len(request.items) * 100)
            swarm.written(len(request.items) * 100)
            swarm.ended(request.number, Code.OK, now + 1.0)
    assert sum(asked) == 1_200_000
    assert all(size <= max(1500, sum(asked[:at]) // 200) for at, size in enumerate(asked))
    assert 4000 < max(asked) <= 5000


def test_the_window_follows_the_disk() -> None:
    limits = SwarmLimits(window=16000, narrowest=2000, backlog=1000, request_bytes=1000, requests_per_peer=100)
    swarm = a_swarm(limits)
    swarm.offer(items(2000))
    swarm.add_peer("a", 0.0)
    under_way = swarm.next_requests(0.0)
    assert len(under_way) == 2
    for _ in range(20):  # what comes is written at once
        finish(swarm, under_way.pop(0))
        under_way += swarm.next_requests(0.0)
    assert len(under_way) == 16
    for request in under_way:  # all of it comes before any is stored
        swarm.received(request.number, range(len(request.items)), 0.0)
        swarm.ended(request.number, Code.OK, 0.0)
    for _ in range(16):
        swarm.stored(1000)
        swarm.written(1000)
    assert len(swarm.next_requests(0.0)) <= 4


def test_an_item_larger_than_a_request_still_goes_out() -> None:
    swarm = a_swarm(SwarmLimits(window=10, request_bytes=10))
    swarm.offer(items(1, size=500))
    swarm.add_peer("a", 0.0)
    assert len(swarm.next_requests(0.0)) == 1


def test_what_one_peer_lacks_is_asked_of_another_and_is_hopeless_without_one() -> None:
    swarm = a_swarm()
    (item,) = items(1)
    swarm.offer([item])
    swarm.add_peer("a", 0.0)
    (request,) = swarm.next_requests(0.0)
    swarm.missing(request.number, [0])
    swarm.ended(request.number, Code.OK, 0.0)
    assert swarm.next_requests(0.0) == []
    assert swarm.hopeless(0.0) == [item]
    swarm.add_peer("b", 0.0)
    assert swarm.hopeless(0.0) == []
    (again,) = swarm.next_requests(0.0)
    assert again.peer == "b"


def test_what_a_leaving_peer_owed_is_asked_again_and_late_answers_are_ignored() -> None:
    swarm = a_swarm()
    swarm.offer(items(4))
    swarm.add_peer("a", 0.0)
    (request,) = swarm.next_requests(0.0)
    assert swarm.received(request.number, [0, 0], 0.0) == [0]
    swarm.remove_peer("a", "gone", 0.0)
    assert swarm.received(request.number, [1], 0.0) == []
    assert len(swarm.hopeless(0.0)) == 3
    swarm.add_peer("b", 0.0)
    (again,) = swarm.next_requests(0.0)
    assert list(again.items) == list(request.items)[1:]


def test_the_same_hash_is_fetched_once() -> None:
    swarm = a_swarm()
    (item,) = items(1)
    assert swarm.offer([item, item]) == [item]
    assert swarm.offer([item]) == []


def test_a_slow_peer_alone_is_waited_for() -> None:
    """There is nobody else to ask, and asking again would only make it slower."""
    swarm = a_swarm()
    swarm.offer(items(4))
    swarm.add_peer("a", 0.0)
    (request,) = swarm.next_requests(0.0)
    for now in range(1, 100):
        swarm.handle_timeout(float(now))
        assert swarm.next_requests(float(now)) == []
    assert swarm.received(request.number, range(4), 100.0) == [0, 1, 2, 3]


def test_room_is_what_the_queue_has_left() -> None:
    swarm = a_swarm(SwarmLimits(queue_items=10, request_items=4, requests_per_peer=1))
    swarm.offer(items(8))
    assert swarm.room == 2
    swarm.add_peer("a", 0.0)
    swarm.next_requests(0.0)
    assert swarm.room == 6
