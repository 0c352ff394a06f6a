"""A file system of 1 MB: a clear error, a sound store, and the same commands work once there is room."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import DiskError, DiskFull
from forge_p2p.store.disk import DiskStore
from tests.store.inputs import Item, big, blob, fill, hashes, items, named, noise, open_bare


def mount(path: Path, options: str) -> None:
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"this test mounts a small tmpfs, which needs root: {result.stderr}"


def remount(path: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    mount(path, "size=1m")
    yield path
    try:
        subprocess.run(["umount", str(path)], check=True)
    except subprocess.CalledProcessError:  # somebody still holds a file: that is the failure, the mount must go
        subprocess.run(["umount", "-l", str(path)], check=True)
        raise


def add_all(store: DiskStore, chunks: list[Item], group: int | None, key: bool) -> None:
    with store.ingest(chunks[0][0] if key else None) as ingest:
        for item in chunks:
            ingest.put([item], group)
        ingest.commit()


@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize("group", [None, 1])
@pytest.mark.parametrize("size", [2000, 200_000])
def test_disk_full_while_adding(small: Path, group: int | None, key: bool, size: int) -> None:
    store = open_bare(small / "store")
    kept = items(20)
    fill(store, kept)
    for number, item in enumerate(kept):
        store.pin(f"kept {number}", blob(item))
    chunks = [named(noise(n, size)) for n in range(2_000_000 // size)]
    with pytest.raises(DiskFull, match=rf"{small}.* bytes") as caught:
        add_all(store, chunks, group, key)
    assert caught.value.exit_code == 8
    assert caught.value.hint
    del caught  # its frames hold open files
    assert store.read_many(hashes(kept)) == [raw for _, raw in kept]
    assert store.verify().corrupt == []
    store.close()
    store = open_bare(small / "store")
    assert store.read_many(hashes(kept)) == [raw for _, raw in kept]
    remount(small, "size=16m")
    add_all(store, chunks, group, key)
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    assert store.verify().corrupt == []
    store.close()


@pytest.mark.parametrize("filled", [0, 500, 900, 960, 990, 1000])
def test_disk_full_while_opening(small: Path, filled: int) -> None:
    """However little room there is: no crash, and the store can be made afterwards."""
    (small / "other").write_bytes(bytes(filled * 1024))
    message = str(small)
    try:
        store = open_bare(small / "store")
    except DiskFull as error:
        message = error.message
    else:
        fill(store, items(3))
        store.close()
    assert str(small) in message
    (small / "other").unlink()
    store = open_bare(small / "store")
    fill(store, items(3))
    assert store.read_many(hashes(items(3))) == [raw for _, raw in items(3)]
    store.close()


def test_disk_full_while_pinning_and_collecting(small: Path) -> None:
    store = open_bare(small / "store")
    chunks = [named(noise(n, 3000)) for n in range(60)]
    fill(store, chunks)
    store.pin("one", blob(chunks[0]))
    free = small / "filler"
    with free.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with suppress(DiskFull):
        for attempt in range(20):
            store.pin(f"pin {attempt}", blob(chunks[attempt]))
    with suppress(DiskFull):
        store.collect()
    assert store.read(chunks[0][0]) == chunks[0][1]
    free.unlink()
    store.pin("two", blob(chunks[1]))
    store.collect()
    assert store.read_many(hashes(chunks[:2])) == [raw for _, raw in chunks[:2]]
    store.close()


def test_disk_that_turned_read_only(small: Path) -> None:
    store = open_bare(small / "store")
    chunks = items(10)
    fill(store, chunks)
    store.close()
    remount(small, "ro")
    try:
        with pytest.raises(DiskError, match=str(small)) as caught:
            open_bare(small / "store")
        assert "read-only" in str(caught.value).lower()
    finally:
        remount(small, "rw")
    store = open_bare(small / "store")
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    store.close()


def test_interrupted_for_want_of_room_keeps_what_arrived(small: Path) -> None:
    store = open_bare(small / "store")
    chunks = big(1, 8 * CHUNK_MAX)
    key = chunks[0][0]
    with pytest.raises(DiskFull):
        add_all(store, chunks, 1, key=True)
    remount(small, "size=16m")
    with store.ingest(key) as ingest:
        missing = ingest.missing(hashes(chunks))
        assert 0 < len(missing) < 8
        ingest.put([item for item in chunks if item[0] in missing])
        ingest.commit()
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    store.close()
