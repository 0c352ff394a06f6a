"""Whole contents as files: out of the store and into it without a copy."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX, CHUNK_MIN, hash_bytes
from forge_p2p.ids import Hash
from forge_p2p.store.base import LAYOUT_MAX, Store
from tests.store.inputs import encoded, lay_out, named, noise, open_bare, open_hot

Sized = list[tuple[Hash, int]]


def parts(seed: int, count: int = 24) -> list[bytes]:
    """Chunks of a content that does not compress."""
    return [noise(seed * 1000 + number, CHUNK_MAX - 1000 * number) for number in range(count)]


def sized(pieces: list[bytes]) -> Sized:
    return [(hash_bytes(piece), len(piece)) for piece in pieces]


def put(store: Store, pieces: list[bytes], *, order: int | None = None) -> None:
    """Puts a content as one group, in its order or, as it arrives from many, in another."""
    given = list(pieces)
    if order is not None:
        random.Random(order).shuffle(given)
    with store.ingest() as ingest:
        for start in range(0, len(given), 8):
            ingest.put([(hash_bytes(piece), piece) for piece in given[start : start + 8]], group=1)
        ingest.commit()


@pytest.mark.parametrize("opened", [open_bare, open_hot])
def test_what_lies_in_order_is_linked(opened: Callable[[Path], Store], tmp_path: Path) -> None:
    store, pieces, path = opened(tmp_path / "store"), parts(1), tmp_path / "out"
    put(store, pieces)
    assert store.link_into(os.fsencode(path), sized(pieces))
    assert path.read_bytes() == b"".join(pieces)
    assert path.stat().st_mode & 0o777 == 0o444
    store.close()


def test_what_does_not_lie_in_order_is_not(tmp_path: Path) -> None:
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "out"
    put(store, pieces, order=3)
    assert not store.link_into(os.fsencode(path), sized(pieces))
    put(store, [*parts(2), b"more"])
    assert not store.link_into(os.fsencode(path), sized(parts(2))), "the file is longer"
    assert not store.link_into(os.fsencode(path), sized(parts(3))), "nothing of it is here"
    assert not path.exists()
    store.close()


def test_a_file_becomes_the_place_of_its_chunks(tmp_path: Path) -> None:
    store, pieces, path, again = open_bare(tmp_path / "store"), parts(1), tmp_path / "in", tmp_path / "out"
    put(store, pieces, order=3)
    path.write_bytes(b"".join(pieces))
    assert store.adopt_file(os.fsencode(path), sized(pieces))
    assert store.link_into(os.fsencode(again), sized(pieces))
    assert os.path.samefile(path, again)
    assert store.statistics().files == 1, "the one that they arrived in is gone"
    (journal,) = (tmp_path / "store" / "files").glob("*/*.slices")
    assert path.stat().st_mtime_ns <= journal.stat().st_mtime_ns, "or it would be read before each link"
    path.unlink()
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    store.rebuild()
    assert not store.verify().corrupt
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    store.close()


def test_a_content_that_repeats_itself(tmp_path: Path) -> None:
    store, pieces, path, again = open_bare(tmp_path / "store"), parts(1), tmp_path / "in", tmp_path / "out"
    pieces = [*pieces, *pieces[:3]]
    put(store, pieces, order=3)
    path.write_bytes(b"".join(pieces))
    assert store.adopt_file(os.fsencode(path), sized(pieces))
    assert store.link_into(os.fsencode(again), sized(pieces))
    assert again.read_bytes() == path.read_bytes()
    store.close()


def laid_out(store: Store, pieces: list[bytes], left_out: int | None = None, key: Hash | None = None) -> None:
    """Puts a content, each chunk where it lies in it; of those that repeat, the first."""
    kept = [named(piece) for number, piece in enumerate(pieces) if number != left_out]
    with store.ingest(key) as ingest:
        lay_out(ingest, kept, 1, [named(piece) for piece in pieces])
        ingest.commit()


@pytest.mark.parametrize("compressible", [False, True])
@pytest.mark.parametrize("opened", [open_bare, open_hot])
def test_what_is_laid_out_as_it_comes_is_linked(
    opened: Callable[[Path], Store], compressible: bool, tmp_path: Path
) -> None:
    store, path = opened(tmp_path / "store"), tmp_path / "out"
    pieces = [bytes(CHUNK_MAX - 1) + bytes([each]) for each in range(24)] if compressible else parts(1)
    laid_out(store, pieces)
    assert store.link_into(os.fsencode(path), sized(pieces))
    assert path.read_bytes() == b"".join(pieces)
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    store.rebuild()
    assert not store.verify().corrupt
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    store.close()


@pytest.mark.parametrize("place", [0, 11, 23])
def test_what_was_left_out_is_no_hole_in_what_is_linked(place: int, tmp_path: Path) -> None:
    """It may come by another way, and lie elsewhere."""
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "out"
    laid_out(store, pieces, left_out=place)
    put(store, [pieces[place]])
    assert not store.link_into(os.fsencode(path), sized(pieces))
    assert not path.exists()
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    store.close()


@pytest.mark.parametrize("place", [3, 12, 24])
def test_what_repeats_itself_is_no_hole_in_what_is_linked(place: int, tmp_path: Path) -> None:
    """A chunk comes once, and is laid where it is wanted first."""
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "out"
    pieces.insert(place, pieces[1])
    laid_out(store, pieces)
    assert not store.link_into(os.fsencode(path), sized(pieces))
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    path.write_bytes(b"".join(pieces))
    assert store.adopt_file(os.fsencode(path), sized(pieces)), "copied, it can be taken as it is"
    assert store.link_into(os.fsencode(tmp_path / "again"), sized(pieces))
    store.close()


@pytest.mark.parametrize("place", [3, 12])
def test_what_repeats_itself_is_no_hole_in_what_was_interrupted_at_the_end(place: int, tmp_path: Path) -> None:
    """All of it had come, and nothing was committed."""
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "out"
    once = [named(piece) for piece in pieces]
    pieces.insert(place, pieces[1])
    key = hash_bytes(b"root")
    with store.ingest(key) as ingest:
        lay_out(ingest, once, 1, [named(piece) for piece in pieces])
    with store.ingest(key) as ingest:
        assert not ingest.missing(name for name, _ in once)
        ingest.commit()
    assert not store.link_into(os.fsencode(path), sized(pieces))
    assert not path.exists()
    store.close()


def test_what_repeats_itself_has_to_be_in_each_of_its_places(tmp_path: Path) -> None:
    """Of the later ones the index says nothing, so whoever may write to the file has to be believed, or it is read."""
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "in"
    pieces.append(pieces[1])
    put(store, pieces)
    path.write_bytes(b"".join(pieces))
    assert store.adopt_file(os.fsencode(path), sized(pieces))
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"other")
    assert not store.link_into(os.fsencode(tmp_path / "out"), sized(pieces))
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    store.close()


def test_a_list_that_says_another_size_is_no_way_to_what_lies_between(tmp_path: Path) -> None:
    store, pieces = open_bare(tmp_path / "store"), parts(1)
    laid_out(store, pieces, left_out=11)
    longer = [*sized(pieces[:10]), (hash_bytes(pieces[10]), len(pieces[10] + pieces[11])), *sized(pieces[12:])]
    assert not store.link_into(os.fsencode(tmp_path / "out"), longer)
    store.close()


def test_what_has_no_place_in_a_layout_takes_none(tmp_path: Path) -> None:
    store, pieces = open_bare(tmp_path / "store"), parts(1)
    whole = [named(piece) for piece in pieces]
    with store.ingest() as ingest:
        lay_out(ingest, whole[:4], 1, whole)
        ingest.put_encoded(encoded(whole[20:22]), 1)
        ingest.put(whole[22:], 1)
        lay_out(ingest, whole[4:20], 1, whole)
        ingest.commit()
    assert [bytes(each) for each in store.read_many([name for name, _ in whole])] == pieces
    store.close()


def test_a_layout_of_very_many_chunks_is_not_kept_in_memory(tmp_path: Path) -> None:
    """Which somebody else's list may name, however small they are."""
    store, most = open_bare(tmp_path / "store"), LAYOUT_MAX // CHUNK_MIN
    chunks = [named(b"%d" % number) for number in range(100_000, 100_000 + most + 8)]
    places = {chunk: 6 * number for number, (chunk, _) in enumerate(chunks)}
    with store.ingest(hash_bytes(b"root")) as ingest:
        for start in range(0, len(chunks), 4096):
            ingest.put_encoded(encoded(chunks[start : start + 4096]), 1, places)
        assert len(ingest.held()) == 8
        ingest.commit()
    assert not store.missing(places)
    store.close()


def test_a_layout_that_was_interrupted_goes_on_and_is_copied(tmp_path: Path) -> None:
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "out"
    key = hash_bytes(b"root")
    with store.ingest(key) as ingest:
        lay_out(ingest, [named(pieces[5]), named(pieces[17])], 1, [named(piece) for piece in pieces])
    with store.ingest(key) as ingest:
        assert set(ingest.held()) == {hash_bytes(pieces[5]), hash_bytes(pieces[17])}
    laid_out(store, pieces, key=key)
    assert not store.link_into(os.fsencode(path), sized(pieces))
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    assert not store.verify().corrupt
    store.close()


@pytest.mark.parametrize("wrong", ["changed", "shorter", "longer", "missing"])
def test_a_file_that_is_something_else_is_left_alone(wrong: str, tmp_path: Path) -> None:
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "in"
    put(store, pieces, order=3)
    content = bytearray(b"".join(pieces))
    content[CHUNK_MAX + 5] ^= wrong == "changed"
    if wrong != "missing":
        path.write_bytes(content[:-1] if wrong == "shorter" else content + b"x" * (wrong == "longer"))
    assert not store.adopt_file(os.fsencode(path), sized(pieces))
    assert [bytes(each) for each in store.read_many([name for name, _ in sized(pieces)])] == pieces
    assert not list((tmp_path / "store" / "staging").iterdir())
    store.close()


def test_chunks_that_the_store_has_not_stay_unknown(tmp_path: Path) -> None:
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "in"
    path.write_bytes(b"".join(pieces))
    assert not store.adopt_file(os.fsencode(path), sized(pieces))
    put(store, pieces[:4])
    assert store.adopt_file(os.fsencode(path), sized(pieces))
    assert store.missing(name for name, _ in sized(pieces)) == [name for name, _ in sized(pieces[4:])]
    store.close()


def test_what_its_owner_does_to_it_is_found(tmp_path: Path) -> None:
    store, pieces, path = open_bare(tmp_path / "store"), parts(1), tmp_path / "out"
    put(store, pieces)
    assert store.link_into(os.fsencode(path), sized(pieces))
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(CHUNK_MAX + 5)
        file.write(b"edited")
    (second,) = store.read_encoded([sized(pieces)[1][0]])
    assert second is None
    assert store.read(sized(pieces)[0][0]) == pieces[0]
    store.close()


def test_what_its_owner_does_to_it_gets_no_other_name(tmp_path: Path) -> None:
    store, pieces, path, again = open_bare(tmp_path / "store"), parts(1), tmp_path / "out", tmp_path / "again"
    put(store, pieces)
    assert store.link_into(os.fsencode(path), sized(pieces))
    journal, later = next((tmp_path / "store" / "files").glob("*/*.slices")), path.stat().st_mtime_ns + 1_000_000_000
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(CHUNK_MAX + 5)
        was = file.read(6)
        file.seek(CHUNK_MAX + 5)
        file.write(b"edited")
    os.utime(path, ns=(later, later))
    assert not store.link_into(os.fsencode(again), sized(pieces))
    assert not again.exists()
    with path.open("r+b") as file:
        file.seek(CHUNK_MAX + 5)
        file.write(was)
    os.utime(path, ns=(later, later))
    assert store.link_into(os.fsencode(again), sized(pieces)), "it was only touched"
    assert journal.stat().st_mtime_ns == later, "and need not be read again"
    store.close()
