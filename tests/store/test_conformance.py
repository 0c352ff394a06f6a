"""One suite for every store: what `Store` and `Ingest` promise, on disk, in memory and behind the hot tier."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.codec import Codec, EncodedChunk, decode
from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import CorruptChunk, NotFound, StoreError
from forge_p2p.store.base import Keep, Pin, Store
from forge_p2p.store.hot import HotStore
from forge_p2p.store.memory import MemoryStore
from tests.store.inputs import (
    SIZES,
    big,
    blob,
    encoded,
    fill,
    hashes,
    items,
    named,
    noise,
    open_bare,
    open_hot,
    put_blob,
    put_tree,
    text,
)

MAKERS: dict[str, Callable[[Path], Store]] = {
    "disk": open_bare,
    "hot disk": open_hot,
    "memory": lambda _: MemoryStore(1 << 30, grace=0.0),
    "hot memory": lambda _: HotStore(MemoryStore(1 << 30, grace=0.0), 1 << 20),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MAKERS[request.param](tmp_path / "store")
    yield made
    made.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [noise, text])
def test_what_was_put_is_read(store: Store, size: int, make: Callable[[int, int], bytes]) -> None:
    item = named(make(1, size))
    fill(store, [item])
    assert store.read(item[0]) == item[1]
    assert store.read(item[0]) == item[1]
    assert store.has(item[0])
    (stored,) = store.read_encoded([item[0]])
    assert stored is not None
    assert decode(stored) == item[1]


def test_empty_store_has_nothing(store: Store) -> None:
    chunk = named(b"absent")[0]
    assert not store.has(chunk)
    assert store.missing([chunk, chunk]) == [chunk]
    assert store.read_encoded([chunk]) == [None]
    with pytest.raises(NotFound, match=chunk.hex()[:16]):
        store.read(chunk)
    with pytest.raises(NotFound):
        store.read_many([chunk])
    assert store.pins() == []
    assert store.statistics().total.chunks == 0


def test_missing_keeps_order_and_drops_repeats(store: Store) -> None:
    there, absent = items(4), items(4, seed=1)
    fill(store, there)
    asked = [absent[1][0], there[0][0], absent[0][0], absent[1][0], there[1][0]]
    assert store.missing(asked) == [absent[1][0], absent[0][0]]
    with store.ingest() as ingest:
        assert ingest.missing(asked) == [absent[1][0], absent[0][0]]
        ingest.put([absent[1]])
        assert ingest.missing(asked) == [absent[0][0]]


def test_uncommitted_is_readable_at_once_and_gone_afterwards(store: Store) -> None:
    chunks = items(20) + big(3, 3 * CHUNK_MAX)
    with store.ingest() as ingest:
        ingest.put(chunks)
        assert store.missing(hashes(chunks)) == []
        assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
        assert [decode(c) for c in store.read_encoded(hashes(chunks)) if c] == [raw for _, raw in chunks]
    assert store.missing(hashes(chunks)) == hashes(chunks)


def test_another_session_does_not_count_on_uncommitted_chunks(store: Store) -> None:
    chunks = items(5)
    with store.ingest() as first, store.ingest() as second:
        first.put(chunks)
        assert second.missing(hashes(chunks)) == hashes(chunks)
        second.put(chunks)
        second.commit()
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]


@pytest.mark.parametrize("group", [None, 7])
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("size", [100, 30_000, 200_000])
def test_many_chunks_in_several_calls(store: Store, group: int | None, keyed: bool, size: int) -> None:
    chunks = items(60, size)
    with store.ingest(chunks[0][0] if keyed else None) as ingest:
        for at in range(0, 60, 7):
            ingest.put(chunks[at : at + 7], group)
        ingest.commit()
        added = ingest.statistics()
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    statistics = store.statistics()
    assert (statistics.total.chunks, statistics.total.raw_bytes) == (60, sum(len(raw) for _, raw in chunks))
    assert added == statistics.total
    assert sum(codec.chunks for codec in statistics.codecs.values()) == 60


def test_commit_twice_and_go_on(store: Store) -> None:
    first, second = items(5), items(5, seed=1)
    with store.ingest() as ingest:
        ingest.put(first)
        ingest.commit()
        ingest.put(second)
        ingest.put(first)
        ingest.commit()
        ingest.commit()
    assert store.missing(hashes(first + second)) == []
    assert store.statistics().total.chunks == 10


def test_ended_session_refuses(store: Store) -> None:
    with store.ingest() as ingest:
        pass
    with pytest.raises(StoreError, match="ended"):
        ingest.put(items(1))
    with pytest.raises(StoreError, match="ended"):
        ingest.commit()


def test_put_encoded_returns_raw_and_keeps_the_form(store: Store) -> None:
    chunks = items(10)
    with store.ingest() as ingest:
        raws = ingest.put_encoded(encoded(chunks))
        ingest.commit()
    assert raws == [raw for _, raw in chunks]
    assert store.read_encoded(hashes(chunks)) == encoded(chunks)


def test_put_encoded_stores_nothing_of_a_call_with_a_lie(store: Store) -> None:
    chunks = encoded(items(6))
    lie = EncodedChunk(chunks[3].hash, Codec.RAW, 5, b"wrong")
    with store.ingest() as ingest:
        with pytest.raises(CorruptChunk, match=lie.hash.hex()[:16]):
            ingest.put_encoded([*chunks[:3], lie, *chunks[4:]])
        assert len(ingest.missing(chunk.hash for chunk in chunks)) == 6
        ingest.put_encoded(chunks[:3])
        ingest.commit()
    assert len(store.missing(chunk.hash for chunk in chunks)) == 3


def test_caller_may_reuse_its_buffers(store: Store) -> None:
    raw = noise(5, 5000)
    buffer = bytearray(raw)
    chunk = named(raw)[0]
    with store.ingest() as ingest:
        ingest.put([(chunk, memoryview(buffer))])
        buffer[:] = bytes(len(buffer))
        ingest.commit()
    assert store.read(chunk) == raw


def test_interrupted_session_with_a_key_resumes(store: Store) -> None:
    chunks = items(30) + big(4, 5 * CHUNK_MAX)
    key = chunks[0][0]
    for part in (chunks[:10], chunks[10:33]):
        with store.ingest(key) as ingest:
            ingest.put(part)
        assert store.missing(hashes(part)) == hashes(part)
    with store.ingest(chunks[1][0]) as other:
        assert len(other.missing(hashes(chunks))) == 35
    with store.ingest(key) as ingest:
        assert ingest.missing(hashes(chunks)) == hashes(chunks[33:])
        assert sorted(ingest.held()) == sorted(hashes(chunks[:33]))
        ingest.put(chunks[33:])
        assert sorted(ingest.held()) == sorted(hashes(chunks))
        ingest.commit()
        assert ingest.held() == []
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]


def test_sessions_of_one_key_at_the_same_time(store: Store) -> None:
    chunks = items(20)
    key = chunks[0][0]
    with store.ingest(key) as first, store.ingest(key) as second:
        first.put(chunks[:10])
        second.put(chunks[10:])
    with store.ingest(key) as ingest:
        assert ingest.missing(hashes(chunks)) == []
        ingest.commit()
    assert store.missing(hashes(chunks)) == []


def test_copy_into_writes_every_chunk_at_its_offset(store: Store, tmp_path: Path) -> None:
    chunks = items(70, 5000) + big(9, 4 * CHUNK_MAX + 5)
    fill(store, chunks)
    content = b"".join(raw for _, raw in chunks)
    places, offset = [], 0
    for chunk, raw in chunks:
        places.append((chunk, offset))
        offset += len(raw)
    holes = [(ZERO_CHUNK, offset), (ZERO_CHUNK, offset + CHUNK_MAX)]
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(fd, offset + 2 * CHUNK_MAX)
        store.copy_into(fd, places[::2] + holes)
        store.copy_into(fd, places[1::2])
        assert os.pread(fd, 1 << 24, 0) == content + bytes(2 * CHUNK_MAX)
        with pytest.raises(NotFound):
            store.copy_into(fd, [places[0], (named(b"absent")[0], 0)])
    finally:
        os.close(fd)


def test_pins_are_named_replaced_touched_and_removed(store: Store) -> None:
    one, two = items(2)
    store.pin("a", blob(one))
    store.pin("ü/😀", blob(one), Keep.CACHED, expires=2e10)
    store.pin("a", blob(two))
    store.pin("past", blob(two), expires=1.0)
    pins = {pin.name: pin for pin in store.pins()}
    assert set(pins) == {"a", "ü/😀"}
    assert (pins["a"].root, pins["a"].keep, pins["a"].expires) == (blob(two), Keep.KEPT, 0.0)
    assert (pins["ü/😀"].keep, pins["ü/😀"].expires) == (Keep.CACHED, 2e10)
    assert store.touch("a")
    assert not store.touch("b")
    assert {pin.name: pin.used for pin in store.pins()}["a"] > pins["a"].used
    assert store.unpin("a")
    assert not store.unpin("a")
    assert [pin.name for pin in store.pins()] == ["ü/😀"]


def test_what_is_committed_with_a_pin_stays(store: Store) -> None:
    small, large = (named(noise(number, size)) for number, size in enumerate((1000, CHUNK_MAX)))
    for item in (small, large):
        with store.ingest() as ingest:
            ingest.put([item])
            ingest.commit(Pin("with", blob(item), Keep.CACHED, 2e10, 1.0))
            assert [(pin.name, pin.root, pin.keep, pin.expires) for pin in store.pins()] == [
                ("with", blob(item), Keep.CACHED, 2e10)
            ]
        store.collect(grace=0.0)
        assert store.read(item[0]) == item[1]
    assert not store.has(small[0])
    with store.ingest() as ingest:
        ingest.commit(Pin("of nothing new", blob(large), Keep.KEPT, 0.0, 1.0))
    assert {pin.name for pin in store.pins()} == {"with", "of nothing new"}


def test_collect_keeps_what_pins_reach(store: Store) -> None:
    files = {b"small": items(1), b"large": big(1, 6 * CHUNK_MAX), b"many": items(150, 2000, seed=2)}
    loose = items(10, seed=3) + big(5, 2 * CHUNK_MAX)
    blobs = items(140, 2000, seed=4)
    with store.ingest() as ingest:
        tree = put_tree(ingest, files)
        single = put_blob(ingest, blobs)
        ingest.put(loose)
        ingest.commit()
        store.pin("tree", tree)
        store.pin("blob", single)
    kept = [item for chunks in files.values() for item in chunks] + blobs
    collected = store.collect()
    assert (collected.chunks, collected.condemned, collected.incomplete) == (len(loose), 0, [])
    assert store.missing(hashes(loose)) == hashes(loose)
    assert store.read_many(hashes(kept)) == [raw for _, raw in kept]
    store.unpin("tree")
    store.collect()
    assert store.read_many(hashes(blobs)) == [raw for _, raw in blobs]
    assert len(store.missing(hashes(kept))) == len(kept) - len(blobs)
    store.unpin("blob")
    assert store.collect().freed_bytes > sum(len(raw) for _, raw in blobs) // 2
    assert store.statistics().total.chunks == 0


def test_the_epoch_changes_before_anything_is_collected(store: Store) -> None:
    first, second = items(3), items(4, seed=1)
    fill(store, first)
    begun = store.epoch()
    fill(store, second)
    store.collect(grace=3600)
    assert store.epoch() == begun, "what comes changes nothing, nor what stays"
    with store.ingest() as ingest:
        assert ingest.missing(hashes(second)) == []
        store.collect()
        after = store.epoch()
        assert after != begun
    store.collect()
    assert store.missing(hashes(second)) == hashes(second)
    assert store.epoch() not in {begun, after}


def test_collect_drops_expired_pins(store: Store) -> None:
    item = items(1)[0]
    fill(store, [item])
    store.pin("old", blob(item), expires=1.0)
    assert store.collect().dropped_pins == 1
    with pytest.raises(NotFound):
        store.read(item[0])


def test_grace_period_keeps_the_young(store: Store) -> None:
    chunks = items(3) + big(1, 5 * CHUNK_MAX)
    fill(store, chunks)
    assert store.collect(grace=3600).chunks == 0
    assert store.missing(hashes(chunks)) == []


def test_running_session_keeps_what_it_has_seen(store: Store) -> None:
    seen, unseen = items(10) + big(1, 5 * CHUNK_MAX), items(10, seed=1)
    fill(store, seen)
    fill(store, unseen)
    with store.ingest() as ingest:
        assert ingest.missing(hashes(seen)) == []
        assert store.collect().chunks == len(unseen)
        assert ingest.missing(hashes(seen)) == []
        assert store.missing(hashes(seen)) == []
    assert store.collect().chunks == len(seen)


def test_incomplete_pin_stops_collecting(store: Store) -> None:
    loose = items(3, seed=1)
    with store.ingest() as ingest:
        root = put_blob(ingest, items(140, 100))
    fill(store, loose)
    store.pin("broken", root)
    collected = store.collect()
    assert collected.chunks == 0
    assert "broken" in collected.incomplete[0]
    assert store.missing(hashes(loose)) == []
    store.unpin("broken")
    assert store.collect().chunks == 3


def test_verify_finds_a_sound_store_sound(store: Store) -> None:
    chunks = items(100, 700) + big(1, 5 * CHUNK_MAX)
    fill(store, chunks)
    seen: list[tuple[int, int]] = []
    verified = store.verify(lambda done, total: seen.append((done, total)))
    assert (verified.chunks, verified.bytes) == (len(chunks), sum(len(raw) for _, raw in chunks))
    assert verified.corrupt == []
    assert seen[-1] == (len(chunks), len(chunks))


def test_several_threads_put_and_read_in_one_session(store: Store) -> None:
    chunks = items(400, 2000) + big(2, 8 * CHUNK_MAX)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for at in range(number, len(chunks) - 8, 3):
                ingest.put(chunks[at : at + 8], group=number)
                assert store.read(chunks[at][0]) == chunks[at][1]
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    with store.ingest() as ingest:
        threads = [Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ingest.put(chunks)
        ingest.commit()
    assert failures == []
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    assert store.statistics().total.chunks == len(chunks)
