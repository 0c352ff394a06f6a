"""The want-list machine: everything offered arrives once, within the window, whatever peers lack, lose or leave."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.content.link import hash_bytes
from forge_p2p.proto.fetch import Fetch, FetchLimits, Item, Request

LIMITS = FetchLimits(window=4000, request_bytes=1000, request_items=8, requests_per_peer=3, queue_items=64)


def items(count: int, size: int = 100) -> list[Item]:
    return [Item(hash_bytes(number.to_bytes(4, "big")), size) for number in range(count)]


def finish(fetch: Fetch, request: Request) -> None:
    fetch.received(request.number, range(len(request.items)))
    fetch.stored(sum(item.size for item in request.items))
    fetch.written(sum(item.size for item in request.items))
    fetch.ended(request.number)


def test_items_go_out_in_order_within_a_request() -> None:
    fetch = Fetch(LIMITS)
    wanted = items(5)
    fetch.offer(wanted)
    fetch.add_peer("a")
    (request,) = fetch.next_requests()
    assert list(request.items) == wanted


def test_urgent_items_go_first() -> None:
    fetch = Fetch(LIMITS)
    late, node = items(2)
    fetch.offer([late])
    fetch.offer([node], urgent=True)
    fetch.add_peer("a")
    assert [request.items[0] for request in fetch.next_requests()] == [node, late]


def test_the_window_counts_what_is_not_written() -> None:
    fetch = Fetch(FetchLimits(window=1000, request_bytes=1000, requests_per_peer=100))
    fetch.offer(items(30))
    fetch.add_peer("a")
    (request,) = fetch.next_requests()
    fetch.received(request.number, range(len(request.items)))
    fetch.ended(request.number)
    assert fetch.next_requests() == []
    fetch.written(1000)
    assert len(fetch.next_requests()) == 1


def in_flight(fetch: Fetch, requests: list[Request]) -> list[Request]:
    """What is under way when peers have taken all they may."""
    return requests + fetch.next_requests()


def test_the_window_follows_the_disk() -> None:
    limits = FetchLimits(window=16000, narrowest=2000, backlog=1000, request_bytes=1000, requests_per_peer=100)
    fetch = Fetch(limits)
    fetch.offer(items(2000))
    fetch.add_peer("a")
    under_way = fetch.next_requests()
    assert len(under_way) == 2
    for _ in range(20):  # what comes is written at once
        finish(fetch, under_way.pop(0))
        under_way = in_flight(fetch, under_way)
    assert len(under_way) == 16
    for request in under_way:  # all of it comes before any is stored
        fetch.received(request.number, range(len(request.items)))
        fetch.ended(request.number)
    for _ in range(16):
        fetch.stored(1000)
        fetch.written(1000)
    assert len(fetch.next_requests()) <= 4


def test_an_item_larger_than_a_request_still_goes_out() -> None:
    fetch = Fetch(FetchLimits(window=10, request_bytes=10))
    fetch.offer(items(1, size=500))
    fetch.add_peer("a")
    assert len(fetch.next_requests()) == 1


def test_what_one_peer_lacks_is_asked_of_another_and_is_hopeless_without_one() -> None:
    fetch = Fetch(LIMITS)
    (item,) = items(1)
    fetch.offer([item])
    fetch.add_peer("a")
    (request,) = fetch.next_requests()
    fetch.missing(request.number, [0])
    fetch.ended(request.number)
    assert fetch.next_requests() == []
    assert fetch.hopeless() == [item]
    fetch.add_peer("b")
    assert fetch.hopeless() == []
    (again,) = fetch.next_requests()
    assert again.peer == "b"


def test_what_a_leaving_peer_owed_is_asked_again_and_late_answers_are_ignored() -> None:
    fetch = Fetch(LIMITS)
    fetch.offer(items(4))
    fetch.add_peer("a")
    (request,) = fetch.next_requests()
    fetch.received(request.number, [0])
    fetch.remove_peer("a")
    assert fetch.received(request.number, [1]) == 0
    fetch.add_peer("b")
    (again,) = fetch.next_requests()
    assert list(again.items) == list(request.items)[1:]


def test_the_same_hash_is_fetched_once() -> None:
    fetch = Fetch(LIMITS)
    (item,) = items(1)
    assert fetch.offer([item, item]) == [item]
    assert fetch.offer([item]) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 4))
def test_everything_arrives_once_however_peers_behave(seed: int, count: int, peer_count: int) -> None:
    """Random losses, early ends, leaving and returning peers; one honest peer has everything."""
    chance = random.Random(seed)
    fetch = Fetch(LIMITS)
    wanted = [Item(item.hash, chance.randint(1, 900)) for item in items(count)]
    fetch.offer(wanted)
    arrived: list[Item] = []
    under_way: list[Request] = []
    for number in range(peer_count):
        fetch.add_peer(number)
    for _ in range(10_000):
        under_way += fetch.next_requests()
        outstanding = sum(item.size for request in under_way for item in request.items)
        assert outstanding <= LIMITS.window + LIMITS.request_bytes
        if not under_way:
            break
        request = under_way.pop(chance.randrange(len(under_way)))
        _answer(chance, fetch, request, arrived)
        if chance.random() < 0.1 and request.peer != 0:
            fetch.remove_peer(request.peer)
            under_way = [other for other in under_way if other.peer != request.peer]
            fetch.add_peer(request.peer)
    assert fetch.idle
    assert fetch.pending == 0
    assert sorted(item.hash for item in arrived) == sorted(item.hash for item in wanted)


def _answer(chance: random.Random, fetch: Fetch, request: Request, arrived: list[Item]) -> None:
    for index, item in enumerate(request.items):
        fate = chance.random()
        if fate < 0.7 and fetch.received(request.number, [index]):
            arrived.append(item)
            fetch.stored(item.size)
            fetch.written(item.size)
        elif fate > 0.9 and request.peer != 0:
            fetch.missing(request.number, [index])
    fetch.ended(request.number)
