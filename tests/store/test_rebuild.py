"""What is derived is made anew from what is not; what cannot be opened is repaired."""

import os
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import StoreError
from forge_p2p.store import repair_store
from tests.store.inputs import BARE, big, blob, fill, hashes, items, open_bare


def fill_all(path: Path) -> list[tuple[bytes, bytes]]:
    store = open_bare(path)
    contents = items(40, 2000) + big(1, 8 * CHUNK_MAX) + big(2, 30 * CHUNK_MAX)
    fill(store, contents[:40])
    fill(store, contents[40:48], group=1)
    fill(store, contents[48:])
    store.pin("a", blob(contents[0]))
    store.close()
    return [(chunk, raw) for chunk, raw in contents]


def test_missing_index_is_built_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "store"
    contents = fill_all(path)
    before = open_bare(path)
    held = before.statistics()
    before.close()
    for name in ("index.lmdb", "index.lmdb-lock"):
        (path / name).unlink()
    store = open_bare(path)
    assert [store.read(chunk) for chunk, _ in contents] == [raw for _, raw in contents]  # type: ignore[arg-type]
    after = store.statistics()
    assert (after.total, after.files, after.codecs) == (held.total, held.files, held.codecs)
    store.close()


def test_index_of_another_store_is_not_believed(tmp_path: Path) -> None:
    contents = fill_all(tmp_path / "one")
    fill_all(tmp_path / "two")
    for name in ("index.lmdb", "index.lmdb-lock"):
        (tmp_path / "two" / name).rename(tmp_path / "one" / name)
    store = open_bare(tmp_path / "one")
    assert [store.read(chunk) for chunk, _ in contents] == [raw for _, raw in contents]  # type: ignore[arg-type]
    store.close()


def test_rebuild_while_open_and_twice(tmp_path: Path) -> None:
    contents = fill_all(tmp_path / "store")
    store, other = open_bare(tmp_path / "store"), open_bare(tmp_path / "store")
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        rebuilt = store.rebuild(lambda done, total: seen.append((done, total)))
        assert (rebuilt.files, rebuilt.chunks, rebuilt.lost) == (2, len(contents), [])
        assert rebuilt.bytes == sum(len(raw) for _, raw in contents)
    assert seen[-1][0] == seen[-1][1] > 0
    assert [other.read(chunk) for chunk, _ in contents] == [raw for _, raw in contents]  # type: ignore[arg-type]
    store.close()
    other.close()


def test_torn_journal_costs_its_end_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_bare(path)
    chunks = big(1, 30 * CHUNK_MAX)
    fill(store, chunks)
    (journal,) = path.glob("files/*/*.slices")
    os.truncate(journal, 64 * 21 + 30)
    rebuilt = store.rebuild()
    assert rebuilt.chunks == 20
    assert store.read_many(hashes(chunks[:20])) == [raw for _, raw in chunks[:20]]
    assert store.missing(hashes(chunks)) == hashes(chunks[20:])
    assert journal.stat().st_size == 64 * 21
    fill(store, chunks)
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    store.close()


def test_data_file_without_a_journal_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_bare(path)
    fill(store, big(1, 8 * CHUNK_MAX))
    (journal,) = path.glob("files/*/*.slices")
    journal.unlink()
    rebuilt = store.rebuild()
    assert (rebuilt.files, rebuilt.chunks) == (0, 0)
    assert rebuilt.lost == [journal.with_suffix(".data").name]
    assert (path / "quarantine" / rebuilt.lost[0]).stat().st_size == 8 * CHUNK_MAX
    store.close()


def test_repair_needs_the_store_to_itself(tmp_path: Path) -> None:
    fill_all(tmp_path / "store")
    store = open_bare(tmp_path / "store")
    with pytest.raises(StoreError, match="in use"):
        repair_store(tmp_path / "store", BARE)
    store.close()
    assert repair_store(tmp_path / "store", BARE).pins == []


@pytest.mark.parametrize("interrupted", [False, True])
def test_salvage_finds_chunks_and_pins_in_a_broken_database(tmp_path: Path, interrupted: bool) -> None:
    path = tmp_path / "store"
    contents = fill_all(path)
    content = bytearray((path / "store.lmdb").read_bytes())
    content[:8192] = bytes(8192)  # both meta pages
    (path / "store.lmdb").write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.lmdb"):
        open_bare(path)
    repaired = repair_store(path, BARE)
    if interrupted:  # just before its last rename
        (path / "store.lmdb").rename(path / "store.salvaged")
        repaired = repair_store(path, BARE)
    assert repaired.pins == ["a"]
    assert repaired.chunks == len(contents)
    store = open_bare(path)
    assert [store.read(chunk) for chunk, _ in contents] == [raw for _, raw in contents]  # type: ignore[arg-type]
    assert [pin.name for pin in store.pins()] == ["a"]
    store.close()


def test_lost_database_is_not_taken_for_a_new_store(tmp_path: Path) -> None:
    contents = fill_all(tmp_path / "store")
    (tmp_path / "store" / "store.lmdb").unlink()
    with pytest.raises(StoreError, match="lost its content") as caught:
        open_bare(tmp_path / "store")
    assert "rebuild" in caught.value.hint
    (tmp_path / "store" / "store.lmdb").unlink()
    assert repair_store(tmp_path / "store", BARE).chunks == len(contents) - 40
    open_bare(tmp_path / "store").close()


def test_other_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    fill_all(tmp_path / "store")
    from xxhash import xxh3_64_hexdigest

    identity = tmp_path / "store" / "identity"
    lines = identity.read_text().replace("store 1", "store 7").splitlines()
    body = f"{lines[0]}\n{lines[1]}\n"
    identity.write_text(f"{body}{xxh3_64_hexdigest(body.encode())}\n")
    for attempt in (lambda: open_bare(tmp_path / "store"), lambda: repair_store(tmp_path / "store", BARE)):
        with pytest.raises(StoreError, match="format 7"):
            attempt()
    assert identity.read_text().startswith("forge store 7")
