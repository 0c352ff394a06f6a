"""Cutting: any way of reading a content gives the chunks that cutting it in one piece gives."""

import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.content import chunking
from forge_p2p.content.chunking import BATCH, ZERO_CHUNK, Chunk, Chunker, cut_bytes
from forge_p2p.content.link import CHUNK_MAX, CHUNK_MIN, Link, hash_bytes
from forge_p2p.content.tree import TreeBuilder
from forge_p2p.errors import DiskError, SourceChanged
from tests.content.inputs import noise, prose

Cut = list[tuple[int, int, bytes]]

SIZES = [
    *(0, 1, CHUNK_MIN - 1, CHUNK_MIN, CHUNK_MIN + 1, CHUNK_MAX - 1, CHUNK_MAX, CHUNK_MAX + 1, 2 * CHUNK_MAX),
    *(CHUNK_MAX + CHUNK_MIN, BATCH - 1, BATCH, BATCH + 1, BATCH + CHUNK_MAX, 2 * BATCH + 1),
]


def gathered(batches: Iterator[list[Chunk]], content: bytes) -> Cut:
    """The cuts, after checking that every chunk has the right bytes at the time it is handed over."""
    cuts: Cut = []
    for batch in batches:
        assert batch
        assert sum(chunk.length for chunk in batch if chunk.hash != ZERO_CHUNK) <= BATCH
        for chunk in batch:
            assert chunk.data == content[chunk.offset : chunk.offset + chunk.length]
            assert chunk.hash == hash_bytes(chunk.data)
            cuts.append(chunk[:3])
    return cuts


def at_once(content: bytes) -> Cut:
    return [chunk[:3] for chunk in cut_bytes(content)]


def of_file(path: Path, content: bytes) -> Cut:
    with path.open("rb") as file:
        return gathered(Chunker().cut_file(file.fileno(), len(content)), content)


@pytest.mark.parametrize("make", [noise, prose, bytes], ids=["noise", "prose", "zeros"])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_around_every_boundary(make: type[bytes], size: int, tmp_path: Path) -> None:
    content = make(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    cuts = at_once(content)
    assert [offset for offset, _, _ in cuts] == [sum(length for _, length, _ in cuts[:i]) for i in range(len(cuts))]
    assert sum(length for _, length, _ in cuts) == size
    assert len(cuts) == 1 if size <= CHUNK_MAX else len(cuts) > 1
    assert all(CHUNK_MIN <= length <= CHUNK_MAX for _, length, _ in cuts[:-1])
    assert of_file(path, content) == cuts
    assert gathered(Chunker().cut_pieces([content]), content) == cuts


LONG = noise(BATCH + 3 * CHUNK_MAX, seed=1)


@settings(max_examples=25)
@given(st.lists(st.integers(0, len(LONG)), max_size=12))
def test_split_anywhere(places: list[int]) -> None:
    edges = [0, *sorted(places), len(LONG)]
    pieces = [LONG[start:stop] for start, stop in pairwise(edges)]
    assert gathered(Chunker().cut_pieces(iter(pieces)), LONG) == at_once(LONG)


def test_one_chunker_cuts_many_contents(tmp_path: Path) -> None:
    chunker = Chunker()
    for size in (*SIZES, *reversed(SIZES)):
        content = noise(size, seed=size)
        assert gathered(chunker.cut_pieces([content]), content) == at_once(content)


def test_a_batch_stays_while_the_next_is_cut() -> None:
    """Of one content and from one to the next: it may be stored by another thread meanwhile."""
    chunker = Chunker()
    before: list[Chunk] = []
    for size in (3 * BATCH + 17, 100, 2 * BATCH, CHUNK_MAX + 1):
        for batch in chunker.cut_pieces([noise(size, seed=size)]):
            assert all(hash_bytes(chunk.data) == chunk.hash for chunk in before)
            before = batch


def test_reading_in_dribs(tmp_path: Path) -> None:
    content = noise(CHUNK_MAX * 3)
    pieces = (content[i : i + 4093] for i in range(0, len(content), 4093))
    assert gathered(Chunker().cut_pieces(pieces), content) == at_once(content)


@pytest.mark.parametrize("seed", range(60))
def test_sparse_files_are_cut_as_if_they_were_read(seed: int, tmp_path: Path) -> None:
    source = random.Random(seed)
    size = source.choice([CHUNK_MAX + 1, 2 * CHUNK_MAX, source.randrange(1, 3 * BATCH)])
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(size)
        for _ in range(source.randrange(6)):
            place = source.randrange(size) & source.choice([~0, ~4095, ~(CHUNK_MAX - 1)])
            file.seek(place)
            file.write(source.randbytes(min(source.choice([1, 4096, 70_000, 300_000, CHUNK_MAX]), size - place)))
    content = path.read_bytes()
    assert len(content) == size
    assert of_file(path, content) == at_once(content)


def test_zeros_are_cut_into_zero_chunks() -> None:
    cuts = at_once(bytes(3 * CHUNK_MAX + 5))
    assert cuts[:3] == [(i * CHUNK_MAX, CHUNK_MAX, ZERO_CHUNK) for i in range(3)]
    assert cuts[3][:2] == (3 * CHUNK_MAX, 5)


def sparse_image(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for place in (12_345, size // 2 + 1, size - 4):
            file.seek(place)
            file.write(b"data")
    return path


def test_a_huge_hole_needs_little_memory(tmp_path: Path) -> None:
    size = 1 << 36
    with sparse_image(tmp_path / "disk.img", size).open("rb") as file:
        tracemalloc.start()
        total = sum(chunk.length for batch in Chunker().cut_file(file.fileno(), size) for chunk in batch)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert total == size
    assert peak < 3 * BATCH, "two buffers, and what describes a batch"


def test_a_terabyte_of_hole_is_not_read(tmp_path: Path) -> None:
    size = 1 << 40
    builder = TreeBuilder()
    real = 0
    with sparse_image(tmp_path / "disk.img", size).open("rb") as file:
        for batch in Chunker().cut_file(file.fileno(), size):
            builder.add_all((chunk.hash, chunk.length) for chunk in batch)
            real += sum(chunk.hash != ZERO_CHUNK for chunk in batch)
    assert builder.finish() == Link(builder.take_nodes()[-1][0], size, 3)
    assert 3 <= real < 20


def test_an_insertion_changes_few_chunks() -> None:
    content = noise(4 << 20)
    old = {chunk.hash for chunk in cut_bytes(content)}
    for place in (0, 1_000_000, 4 << 20):
        new = {chunk.hash for chunk in cut_bytes(content[:place] + b"inserted" + content[place:])}
        assert 1 <= len(new - old) <= 3


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(noise(1000))
    with (
        path.open("rb") as file,
        pytest.raises(SourceChanged, match=r"photo changed while it was read.*it has 1000 bytes and had 2000"),
    ):
        list(Chunker().cut_file(file.fileno(), 2000, "photo"))


def test_a_file_that_shrinks_while_it_is_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(noise(2 * BATCH))
    with path.open("rb") as file:
        batches = Chunker().cut_file(file.fileno(), 2 * BATCH)
        next(batches)
        os.truncate(path, BATCH + 7)
        with pytest.raises(SourceChanged, match=str(BATCH + 7)):
            list(batches)


def test_a_sparse_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 10 * BATCH)
    with path.open("rb") as file, pytest.raises(SourceChanged):
        list(Chunker().cut_file(file.fileno(), 20 * BATCH))


def test_a_file_that_grows_is_cut_up_to_its_size(tmp_path: Path) -> None:
    content = noise(BATCH)
    path = tmp_path / "file"
    path.write_bytes(content + b"appended")
    assert of_file(path, content) == at_once(content)


def test_a_file_that_cannot_be_read_is_a_disk_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)  # reading a directory fails with EISDIR
    try:
        with pytest.raises(DiskError, match="reading the file at byte 0"):
            list(Chunker().cut_file(fd, 10))
    finally:
        os.close(fd)


def test_without_the_compiled_cutter_nothing_is_cut_slowly() -> None:
    program = f"import sys; sys.modules['pyfastcdc.cy'] = None; import {chunking.__name__}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ForgeError: pyfastcdc's compiled part cannot be loaded" in done.stderr
