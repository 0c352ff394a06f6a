"""Bit flips and truncations anywhere: found on reading, quarantined, healed by storing again; never served."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge_p2p.content.codec import decode
from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import CorruptChunk, NotFound, StoreError
from forge_p2p.ids import Hash
from forge_p2p.store import repair_store, tables
from forge_p2p.store.disk import DiskStore
from forge_p2p.store.opening import open_disk_store
from tests.store.inputs import BARE, big, blob, fill, hashes, items, named, noise, open_bare


@pytest.fixture
def healed() -> list[Hash]:
    return []


@pytest.fixture
def store(tmp_path: Path, healed: list[Hash]) -> Iterator[DiskStore]:
    made = open_disk_store(tmp_path / "store", BARE, healed.extend)
    yield made
    made.close()


def data_files(store: DiskStore) -> list[Path]:
    return sorted(store.context.layout.files.glob("*/*.data"))


def overwrite(path: Path, where: bytes, change: Callable[[bytearray], None]) -> None:
    """Changes the place in a file where some bytes are, behind everybody's back."""
    with path.open("r+b") as file:
        at = file.read().index(where)
        file.seek(at)
        piece = bytearray(where)
        change(piece)
        file.seek(at)
        file.write(piece)


def flip(piece: bytearray) -> None:
    piece[len(piece) // 2] ^= 4


def assert_lost(store: DiskStore, chunk: Hash, healed: list[Hash]) -> None:
    with pytest.raises(CorruptChunk, match=chunk.hex()[:16]):
        store.read(chunk)
    assert healed == [chunk]
    assert not store.has(chunk)
    assert store.read_encoded([chunk]) == [None]
    assert store.statistics().quarantined == 1
    with pytest.raises(NotFound):
        store.read(chunk)


def test_rotten_inline_chunk(store: DiskStore, healed: list[Hash], tmp_path: Path) -> None:
    item, other = named(noise(1, 9000)), named(noise(2, 9000))
    fill(store, [item, other])
    overwrite(store.context.layout.claims, item[1], flip)
    assert_lost(store, item[0], healed)
    assert store.read(other[0]) == other[1]
    evidence = list(store.context.layout.quarantine.iterdir())
    assert [path.name.split("-")[0] for path in evidence] == [item[0].hex()]
    fill(store, [item])
    assert store.read(item[0]) == item[1]
    assert store.statistics().quarantined == 0


@pytest.mark.parametrize("group", [None, 1])
def test_rotten_slice(store: DiskStore, healed: list[Hash], group: int | None) -> None:
    chunks = big(1, 8 * CHUNK_MAX)
    fill(store, chunks, group=group)
    (path,) = data_files(store)
    overwrite(path, chunks[3][1], flip)
    found = store.read_encoded(hashes(chunks))
    assert [place for place, chunk in enumerate(found) if chunk is None] == [3]
    assert [decode(chunk) for chunk in found if chunk] == [raw for place, (_, raw) in enumerate(chunks) if place != 3]
    assert healed == [chunks[3][0]]
    fill(store, [chunks[3]])
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]


def test_truncated_data_file(store: DiskStore, healed: list[Hash]) -> None:
    chunks = big(1, 8 * CHUNK_MAX)
    fill(store, chunks)
    (path,) = data_files(store)
    os.truncate(path, 5 * CHUNK_MAX + 100)
    assert [chunk is None for chunk in store.read_encoded(hashes(chunks))] == [False] * 5 + [True] * 3
    assert sorted(healed) == sorted(hashes(chunks[5:]))


def test_deleted_data_file(store: DiskStore, healed: list[Hash]) -> None:
    chunks = big(1, 5 * CHUNK_MAX)
    fill(store, chunks)
    data_files(store)[0].unlink()
    store.context.files.close()
    assert store.read_encoded(hashes(chunks)) == [None] * 5
    assert sorted(healed) == sorted(hashes(chunks))
    fill(store, chunks)
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]


def test_copy_into_refuses_rotten_chunks(store: DiskStore, healed: list[Hash], tmp_path: Path) -> None:
    chunks = big(1, 6 * CHUNK_MAX)
    fill(store, chunks)
    overwrite(data_files(store)[0], chunks[2][1], flip)
    with (tmp_path / "target").open("w+b") as target, pytest.raises(CorruptChunk, match=chunks[2][0].hex()[:16]):
        store.copy_into(target.fileno(), [(chunk, at * CHUNK_MAX) for at, (chunk, _) in enumerate(chunks)])
    assert healed == [chunks[2][0]]


def test_right_bytes_of_another_chunk_are_not_served(store: DiskStore, healed: list[Hash]) -> None:
    """An index that has gone wrong points at bytes that are sound, and not the ones asked for."""
    one, two = big(1, 2 * CHUNK_MAX)
    fill(store, [one, two])
    index = store.context.index

    def swap(transaction: object) -> None:
        values = [transaction.get(chunk, db=index.slices) for chunk, _ in (one, two)]  # type: ignore[attr-defined]
        for (chunk, _), value in zip((two, one), values, strict=True):
            transaction.put(chunk, value, db=index.slices)  # type: ignore[attr-defined]

    index.environment.write(swap)
    assert store.read_encoded([one[0], two[0]]) == [None, None]


def test_verify_reports_and_quarantines(store: DiskStore, healed: list[Hash]) -> None:
    chunks = items(20, 2000) + big(3, 4 * CHUNK_MAX)
    fill(store, chunks)
    overwrite(data_files(store)[0], chunks[21][1], flip)
    overwrite(store.context.layout.claims, chunks[4][1], flip)
    verified = store.verify()
    assert sorted(verified.corrupt) == sorted([chunks[21][0], chunks[4][0]])
    assert verified.chunks == len(chunks) - 2
    assert sorted(healed) == sorted(verified.corrupt)
    assert store.verify().corrupt == []


def test_damaged_leftovers_of_an_interrupted_session_are_not_trusted(store: DiskStore) -> None:
    chunks = big(1, 8 * CHUNK_MAX) + items(50)
    key = chunks[0][0]
    with store.ingest(key) as ingest:
        ingest.put(chunks[:8], group=1)
        ingest.put(chunks[8:])
    for path in store.context.layout.staging.glob("*/*"):
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged + b"torn")
    with store.ingest(key) as ingest:
        missing = ingest.missing(hashes(chunks))
        assert 0 < len(missing) < 8
        ingest.put(chunks)
        ingest.commit()
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    assert store.verify().corrupt == []


def sample_store(path: Path) -> None:
    """A store with everything in it: inline chunks, data files, pins, several transactions."""
    contents = big(2, 5 << 20) + items(150, 300, seed=5) + items(20, 5000) + big(1, 6 * CHUNK_MAX)
    store = open_bare(path)
    fill(store, [named(raw[at : at + 20_000]) for _, raw in contents[:20] for at in range(0, len(raw), 20_000)])
    fill(store, contents[20:190])
    fill(store, contents[190:], group=1)
    for number in range(10):
        store.pin(f"pin {number}", blob(contents[20 + number]))
    store.close()


CHECK = """
import pathlib, sys
from tests.store.test_damage import check_flips
check_flips(pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


@pytest.mark.parametrize("flips", [4, pytest.param(2000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("pattern", ["store.lmdb", "index.lmdb", "identity", "files/*/*.data", "files/*/*.slices"])
def test_no_flipped_bit_is_ever_served(tmp_path: Path, pattern: str, flips: int) -> None:
    """In a process of its own, so that a crash is seen as what it is."""
    sample_store(tmp_path / "sound")
    arguments = [sys.executable, "-c", CHECK, str(tmp_path), pattern, str(flips), "1"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr[-3000:]


def check_flips(folder: Path, pattern: str, count: int, seed: int) -> None:
    """Flips one bit at a time: every chunk reads right or not at all, and repairing brings a sound store back."""
    random_ = random.Random(seed)
    contents = sample_contents(folder / "sound")
    names = sorted(path.relative_to(folder / "sound") for path in (folder / "sound").glob(pattern))
    for _ in range(count):
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / "sound", copy)
        name = random_.choice(names)
        content = bytearray((copy / name).read_bytes())
        at = random_.randrange(len(content.rstrip(b"\0")))  # databases end in a hole
        content[at] ^= 1 << random_.randrange(8)
        (copy / name).write_bytes(content)
        try:
            check_reads(copy, contents)
            repair_store(copy, BARE)
            check_reads(copy, contents)
            store = open_bare(copy)
            store.collect()
            store.verify()
            assert store.verify().corrupt == []
            store.close()
        except BaseException as error:
            error.add_note(f"seed {seed}: bit flipped in byte {at} of {name}")
            raise


def sample_contents(path: Path) -> dict[Hash, bytes]:
    store = open_bare(path)
    with store.context.index.environment.read() as transaction:
        chunks = [chunk for _, _, chunk in store.context.index.all_places(transaction)]
    with store.context.claims.environment.read() as transaction:
        chunks += tables.hashes(transaction, store.context.claims.inline)
    contents = {chunk: store.read(chunk) for chunk in chunks}
    store.close()
    return contents


def check_reads(path: Path, contents: dict[Hash, bytes]) -> None:
    try:
        store = open_bare(path)
    except StoreError:
        return
    try:
        for chunk, raw in contents.items():
            try:
                assert store.read(chunk) == raw
            except (NotFound, CorruptChunk):
                continue
        for form, raw in zip(store.read_encoded(list(contents)), contents.values(), strict=True):
            assert form is None or decode(form) == raw
        store.pins()
        fill(store, items(3, seed=9))
        store.verify()
    except StoreError:
        return
    finally:
        store.close()


@pytest.mark.parametrize("name", ["store.lmdb", "index.lmdb", "identity"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_database_is_repaired(tmp_path: Path, name: str, part: float) -> None:
    sample_store(tmp_path / "sound")
    arguments = [sys.executable, "-c", TRUNCATE, str(tmp_path), name, str(part)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr[-3000:]


TRUNCATE = """
import os, pathlib, sys
from tests.store.test_damage import check_reads, sample_contents
from tests.store.inputs import BARE, open_bare
from forge_p2p.store import repair_store, tables
folder, name, part = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
store = folder / "sound"
contents = sample_contents(store)
os.truncate(store / name, int((store / name).stat().st_size * part))
check_reads(store, contents)
repair_store(store, BARE)
check_reads(store, contents)
opened = open_bare(store)
in_files = [chunk for chunk in contents if len(contents[chunk]) > 6000]
assert opened.missing(in_files) == [], len(opened.missing(in_files))
if name != "store.lmdb":
    assert opened.missing(contents) == [] and len(opened.pins()) == 10
opened.close()
"""
