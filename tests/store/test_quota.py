"""Quotas: garbage goes first, cached pins next, the longest unused before the others, and kept ones never."""

from collections.abc import Callable
from pathlib import Path

import pytest

from forge_p2p.config import MIB, StoreConfig
from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import DiskFull
from forge_p2p.store.base import Keep, Store
from forge_p2p.store.memory import MemoryStore
from forge_p2p.store.opening import open_disk_store
from forge_p2p.store.usage import used_bytes
from tests.store.inputs import Item, big, hashes, named, noise, put_blob

QUOTA = 40 * MIB
CONTENT = 20 * CHUNK_MAX


def on_disk(path: Path, grace: float = 3600.0) -> Store:
    config = StoreConfig(quota=QUOTA, reserve=0, grace=grace, hot_bytes=0)
    return open_disk_store(path / "store", config)


def in_memory(_: Path, grace: float = 3600.0) -> Store:
    return MemoryStore(QUOTA, grace)


@pytest.fixture(params=[on_disk, in_memory])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    make: Callable[[Path], Store] = request.param
    return make(tmp_path)


def add(store: Store, name: str, chunks: list[Item], keep: Keep) -> None:
    with store.ingest() as ingest:
        for item in chunks:
            ingest.put([item], 1)
        root = put_blob(ingest, chunks)
        ingest.commit()
        store.pin(name, root, keep)


def test_cached_pins_go_by_oldest_use(store: Store) -> None:
    contents = {f"cached {n}": big(n, CONTENT) for n in range(12)}
    for name, chunks in contents.items():
        add(store, name, chunks, Keep.CACHED)
        store.touch("cached 0")
    named = {pin.name for pin in store.pins()}
    assert {"cached 0", "cached 11"} <= named
    assert not named & {"cached 1", "cached 2"}
    for name in named:
        assert store.missing(hashes(contents[name])) == []
    assert len(store.missing(hashes(contents["cached 1"]))) == 20
    store.close()


@pytest.mark.parametrize("make", [on_disk, in_memory])
def test_garbage_goes_before_any_pin(make: Callable[[Path, float], Store], tmp_path: Path) -> None:
    store = make(tmp_path, 0.0)
    add(store, "cached", big(0, CONTENT), Keep.CACHED)
    add(store, "kept", big(1, CONTENT), Keep.KEPT)
    for number in range(2, 9):
        add(store, "dropped", big(number, CONTENT), Keep.KEPT)
        store.unpin("dropped")
    assert {pin.name for pin in store.pins()} == {"cached", "kept"}
    assert store.missing(hashes(big(0, CONTENT) + big(1, CONTENT))) == []
    store.close()


def test_young_garbage_stays_and_the_error_says_what_holds_the_room(store: Store) -> None:
    for number in range(6):
        add(store, "dropped", big(number, CONTENT), Keep.KEPT)
        store.unpin("dropped")
    with pytest.raises(DiskFull, match="pinned: nothing"):
        add(store, "more", big(60, 4 * CONTENT), Keep.KEPT)
    assert store.missing(hashes(big(0, CONTENT))) == []
    store.close()


def test_kept_pins_never_go_and_the_error_names_them(store: Store) -> None:
    for number in range(6):
        add(store, f"kept {number}", big(number, CONTENT), Keep.KEPT)
    add(store, "cached", [named(noise(50, 1000))], Keep.CACHED)
    with pytest.raises(DiskFull, match=r"pinned: .*kept \d") as caught:
        add(store, "kept 6", big(60, 4 * CONTENT), Keep.KEPT)
    assert str(QUOTA) in caught.value.message
    for number in range(6):
        assert store.missing(hashes(big(number, CONTENT))) == []
    store.unpin("kept 0")
    store.unpin("kept 1")
    store.unpin("kept 2")
    add(store, "kept 6", big(61, CONTENT), Keep.KEPT)
    store.close()


def test_one_session_larger_than_what_is_free_makes_room_on_its_way(tmp_path: Path) -> None:
    store = on_disk(tmp_path)
    for number in range(5):
        add(store, f"cached {number}", big(number, CONTENT), Keep.CACHED)
    shared = big(4, CONTENT)[:3]
    with store.ingest() as ingest:
        assert ingest.missing(hashes(shared)) == []
        for item in big(70, 6 * CONTENT):
            ingest.put([item], 1)
        assert store.missing(hashes(shared)) == []
        ingest.commit()
        store.pin("new", put_blob(ingest, big(70, 6 * CONTENT) + shared))
        ingest.commit()
    assert used_bytes(store.context) < QUOTA  # type: ignore[attr-defined]
    assert store.missing(hashes(big(70, 6 * CONTENT))) == []
    store.close()


def test_reserve_is_left_to_the_file_system(tmp_path: Path) -> None:
    store = open_disk_store(tmp_path / "store", StoreConfig(reserve=1 << 60, hot_bytes=0))
    with pytest.raises(DiskFull, match="left to the file system"):
        add(store, "any", big(1, CONTENT), Keep.KEPT)
    assert store.statistics().total.chunks == 0
    store.close()
