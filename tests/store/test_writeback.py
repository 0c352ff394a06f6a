"""Writing large files past the page cache: the same bytes, wherever writes begin and end, and where it is refused."""

import itertools
import mmap
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.writeback import BulkFile, write_all

KIB = 1024
SIZES = st.sampled_from([0, 1, 4095, 4096, 4097, 256 * KIB, 260 * KIB + 3, 1024 * KIB + 1])
"""Around a block, the least that goes past the cache, and what its buffer holds."""


@settings(max_examples=40, deadline=None)
@given(
    runs=st.lists(st.lists(SIZES, min_size=1, max_size=5), min_size=1, max_size=6),
    direct_from=st.sampled_from([0, 4097, 1 << 40]),
    seed=st.integers(0, 1 << 32),
)
def test_appended_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[int]], direct_from: int, seed: int
) -> None:
    rest = random.Random(seed)
    path = tmp_path_factory.mktemp("bulk") / "file"
    written = b""
    with path.open("wb", buffering=0) as file:
        bulk = BulkFile(file.fileno(), direct_from=direct_from)
        for sizes in runs:
            buffers = [rest.randbytes(size) for size in sizes]
            bulk.write(buffers, len(written))
            written += b"".join(buffers)
            assert os.stat(file.fileno()).st_size == len(written)
        bulk.close()
    assert path.read_bytes() == written


def test_from_memory_that_is_aligned_or_is_not(tmp_path: Path) -> None:
    """What may go to the disk without being copied first, and what may not."""
    rest = random.Random(3)
    memory = mmap.mmap(-1, 2_000_000)
    memory[:] = rest.randbytes(2_000_000)
    content = memory[:]
    with (tmp_path / "file").open("w+b", buffering=0) as file, memoryview(memory) as view:
        bulk = BulkFile(file.fileno())
        for shift in (0, 1, 4096, 5000):
            bulk.write([view[shift:1_900_000]], shift)
            bulk.write([view[shift:1_900_000]], shift + 1 + 2_000_000)
            assert os.pread(file.fileno(), 1_900_000 - shift, shift) == content[shift:1_900_000]
            assert os.pread(file.fileno(), 1_900_000 - shift, shift + 2_000_001) == content[shift:1_900_000]
        bulk.close()


def test_parts_in_any_order_leave_their_neighbours_alone(tmp_path: Path) -> None:
    """Runs that meet within a block, written from the last to the first, into a file of its full length."""
    rest = random.Random(1)
    content = rest.randbytes(6_000_001)
    cuts = [0, 1_000_003, 1_000_004, 2_400_000, 3_777_777, len(content)]
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        os.ftruncate(file.fileno(), len(content))
        bulk = BulkFile(file.fileno())
        for start, end in sorted(itertools.pairwise(cuts), reverse=True):
            bulk.write([content[start : start + 70_001], memoryview(content)[start + 70_001 : end]], start)
        bulk.close()
        bulk.close()
    assert path.read_bytes() == content


def test_a_file_that_nothing_gets_past_the_cache_of(tmp_path: Path) -> None:
    """Reopening it is refused here, for the descriptor is a pipe's end by then: writes go the ordinary way."""
    reader, writer = os.pipe()
    os.close(writer)
    content = os.urandom(700_000)
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        bulk = BulkFile(file.fileno())
        kept = os.dup(file.fileno())
        os.dup2(reader, file.fileno())
        assert not bulk._opens_direct()
        os.dup2(kept, file.fileno())
        bulk.write([content], 0)
        os.close(kept)
    os.close(reader)
    assert path.read_bytes() == content


VICTIM = """
import os, sys
from forge_p2p.writeback import BulkFile
with open(sys.argv[1], "wb", buffering=0) as file:
    bulk = BulkFile(file.fileno())
    for number in range(3):
        bulk.write([bytes([number + 1]) * 400_000], number * 400_000)
"""


@pytest.mark.parametrize(("error", "lines"), [("EINVAL", 0), ("ENOSPC", 1), ("EIO", 1)])
def test_what_the_file_system_says_to_it(tmp_path: Path, error: str, lines: int) -> None:
    """Other alignments than ours are no error, a full or failing disk is."""
    path = tmp_path / "file"
    inject = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=pwrite64", "-e", f"inject=pwrite64:error={error}"]
    command = [*inject, sys.executable, "-c", VICTIM, str(path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode != 0) == bool(lines), finished.stderr
    if not lines:
        assert path.read_bytes() == b"".join(bytes([number]) * 400_000 for number in (1, 2, 3))
    else:
        assert "OSError" in finished.stderr


REFUSED = """
import os, sys
from forge_p2p.writeback import BulkFile
def opened():
    names = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(name) for name in names if os.path.lexists(name)].count(sys.argv[1])
with open(sys.argv[1], "wb", buffering=0) as file:
    bulk = BulkFile(file.fileno())
    bulk.write([bytes(400_000)], 0)
    print(opened())
    bulk.close()
    print(opened())
"""


def test_what_is_refused_keeps_its_descriptor_until_the_end(tmp_path: Path) -> None:
    """Another thread may be about to write to it: closed meanwhile, its number could be another file's by then."""
    inject = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EINVAL"]
    command = [*inject, sys.executable, "-c", REFUSED, str(tmp_path / "file")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["2", "1"]


def test_many_buffers_in_one_write(tmp_path: Path) -> None:
    """More than the system takes in one call."""
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        write_all(file.fileno(), [bytes([at % 251]) for at in range(3000)], 5)
    assert path.read_bytes() == bytes(5) + bytes(at % 251 for at in range(3000))
