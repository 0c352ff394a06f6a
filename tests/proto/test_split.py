"""However the bytes are cut and the streams interleaved, the same happens; and with one seed, in the same order."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.proto.outputs import (
    ChunksReceived,
    HaveReceived,
    Output,
    RequestDone,
    RequestFailed,
    RequestMissing,
    RequestReceived,
)
from tests.proto.pair import End, Pair, client_session, make_chunk, server_session

sizes = st.lists(st.integers(0, 3000) | st.sampled_from([65_536, 262_144]), min_size=1, max_size=12)
seeds = st.integers(0, 2**32)


def conversation(seed: int | None, plans: list[list[int]], batch: int) -> Pair:
    """Both sides ask for chunks of which the other has two in three, and query them too."""
    pair = Pair(client_session(), server_session(), seed)
    pair.client.batch = pair.server.batch = batch
    asks = []
    for number, plan in enumerate(plans):
        chunks = [make_chunk(size, number) for size in plan]
        asking, serving = (pair.client, pair.server) if number % 3 else (pair.server, pair.client)
        serving.store(*chunks[::3], *chunks[1::3])
        asks.append((asking, [chunk.hash for chunk in chunks], 10 + sum(plan) // 2 if number % 5 == 4 else 1 << 20))
    pair.start()
    for asking, hashes, room in asks:
        asking.want(hashes, max_bytes=room)
        asking.have(hashes)
    return pair.run()


def outcome(end: End) -> dict[object, object]:
    """What is left of the events when their order among requests and the cuts between frames are taken away."""
    result: dict[object, object] = {}
    for event in end.events:
        if isinstance(event, ChunksReceived):
            for index, chunk in zip(event.indexes, event.chunks, strict=True):
                result[event.request_id, index] = (chunk.hash, chunk.codec, chunk.size, bytes(chunk.data))
        elif isinstance(event, RequestMissing):
            result.update({(event.request_id, index): None for index in event.indexes})
        elif isinstance(event, RequestDone | RequestFailed | HaveReceived | RequestReceived):
            result[event.request_id, type(event)] = event
    return result


def trace(events: Iterable[Output]) -> list[str]:
    return [repr(event) for event in events if not isinstance(event, ChunksReceived)]


@given(seeds, st.lists(sizes, min_size=1, max_size=6), st.sampled_from([1, 2, 5, 1024]))
def test_split_anywhere_equals_all_at_once(seed: int, plans: list[list[int]], batch: int) -> None:
    whole = conversation(None, plans, batch)
    split = conversation(seed, plans, batch)
    assert outcome(whole.client) == outcome(split.client)
    assert outcome(whole.server) == outcome(split.server)
    assert len(whole.client.of(HaveReceived)) + len(whole.server.of(HaveReceived)) == len(plans)


@given(seeds, st.lists(sizes, min_size=1, max_size=6))
def test_same_seed_same_trace(seed: int, plans: list[list[int]]) -> None:
    first, second = (conversation(seed, plans, 3) for _ in range(2))
    assert trace(first.client.events) == trace(second.client.events)
    assert trace(first.server.events) == trace(second.server.events)
    assert (first.client.sent, first.server.sent) == (second.client.sent, second.server.sent)
