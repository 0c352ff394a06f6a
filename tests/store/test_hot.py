"""The hot tier: bounded in bytes, filled by reading alone, never wrong."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.store.hot import HotStore
from forge_p2p.store.memory import MemoryStore
from tests.store.inputs import fill, hashes, items, open_bare


def test_hits_are_counted_and_bytes_bounded() -> None:
    store = HotStore(MemoryStore(1 << 30), 20_000)
    chunks = items(10, 3000)
    fill(store, chunks)
    for _ in range(2):
        for chunk, raw in chunks[:3]:
            assert store.read(chunk) == raw
    statistics = store.statistics()
    assert (statistics.hot_hits, statistics.hot_misses) == (3, 3)
    for chunk, raw in chunks * 3:
        assert store.read(chunk) == raw
        assert store.statistics().hot_bytes <= 20_000


def test_least_recently_used_goes_first() -> None:
    store = HotStore(MemoryStore(1 << 30), 4 * 3400)
    chunks = items(5, 3000)
    fill(store, chunks)
    for chunk in hashes(chunks[:4]):
        store.read(chunk)
    store.read(chunks[0][0])
    store.read(chunks[4][0])
    before = store.statistics().hot_misses
    store.read(chunks[0][0])
    assert store.statistics().hot_misses == before
    store.read(chunks[1][0])
    assert store.statistics().hot_misses == before + 1


def test_too_large_for_the_tier_is_served_all_the_same() -> None:
    store = HotStore(MemoryStore(1 << 30), 1000)
    chunks = items(2, 3000)
    fill(store, chunks)
    assert store.read(chunks[0][0]) == chunks[0][1]
    assert store.statistics().hot_bytes == 0


def test_serving_and_copying_pass_by(tmp_path: Path) -> None:
    store = HotStore(open_bare(tmp_path / "store"), 1 << 20)
    chunks = items(5, 3000)
    fill(store, chunks)
    store.read_encoded(hashes(chunks))
    store.read_many(hashes(chunks))
    assert store.statistics().hot_bytes == 0
    store.close()


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(0, 40_000))
def test_any_order_of_reads_gives_the_right_bytes(order: list[int], limit: int) -> None:
    chunks = items(10, 3000)
    store = HotStore(MemoryStore(1 << 30), limit)
    fill(store, chunks)
    for at in order:
        assert store.read(chunks[at][0]) == chunks[at][1]
        assert store.statistics().hot_bytes <= limit
