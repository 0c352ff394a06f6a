"""Chunks copied from the file that a new version replaces."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.content.align import Version
from forge_p2p.content.chunking import ZERO_CHUNK, cut_bytes
from forge_p2p.content.link import CHUNK_MAX, Link, hash_bytes
from forge_p2p.ids import Hash
from forge_p2p.workspace.replaced import Place, ReplacedFile
from forge_p2p.writeback import write_all
from tests.node.harness import noise


def where_it_lay(content: bytes) -> Callable[[Hash], int | None]:
    """Of a version with this content."""
    leaves = [Link(chunk.hash, chunk.length, 0) for chunk in cut_bytes(content)]
    return Version(Link(hash_bytes(content), len(content), 1), [leaves]).offset


def places_of(content: bytes) -> list[Place]:
    return [(chunk.hash, chunk.length, chunk.offset) for chunk in cut_bytes(content)]


@dataclass
class Written:
    """A new file, as a restore writes it."""

    descriptor: int
    written: int = 0

    def write_at(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self.written += sum(map(len, buffers))
        write_all(self.descriptor, buffers, offset)

    def fileno(self) -> int:
        return self.descriptor


def copied(old: Path, was: bytes, new: bytes, target: Path) -> list[Place]:
    """Copies what `new` shares with the file `old`, which was `was`, into `target`, full of holes; what it left."""
    with target.open("wb", buffering=0) as file, ReplacedFile(os.fsencode(old), where_it_lay(was)) as replaced:
        os.ftruncate(file.fileno(), len(new))
        return replaced.copy_into(Written(file.fileno()), places_of(new))


def completed(target: Path, new: bytes, left: list[Place]) -> bytes:
    """`target` when what was left came from elsewhere."""
    content = bytearray(target.read_bytes())
    for _, size, offset in left:
        assert not any(content[offset : offset + size]), "nothing of a chunk that is left was written"
        content[offset : offset + size] = new[offset : offset + size]
    return bytes(content)


@settings(max_examples=12, deadline=None)
@given(
    size=st.sampled_from([CHUNK_MAX + 1, 3_000_000, (4 << 20) + 4095, 11_000_000]),
    edits=st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 9000), st.integers(0, 9000)), max_size=6),
    in_memory=st.booleans(),
)
def test_all_that_both_versions_have_is_copied(
    tmp_path_factory: pytest.TempPathFactory, size: int, edits: list[tuple[int, int, int]], in_memory: bool
) -> None:
    """Bytes replaced, put in and taken out: what follows is aligned in neither file."""
    folder = tmp_path_factory.mktemp("replaced")
    was = noise(size, size)
    new = bytearray(was)
    for place, taken, put in edits:
        at = place % (len(new) + 1)
        new[at : at + taken] = noise(at, put)
    (folder / "old").write_bytes(was)
    if not in_memory:
        _forget(folder / "old")
    left = copied(folder / "old", was, bytes(new), folder / "new")
    known = {chunk.hash for chunk in cut_bytes(was)}
    assert [place[0] for place in left] == [place[0] for place in places_of(bytes(new)) if place[0] not in known]
    assert completed(folder / "new", bytes(new), left) == new


def test_what_somebody_wrote_to_the_old_file_is_not_copied(tmp_path: Path) -> None:
    was = noise(1, 9_000_000)
    (tmp_path / "old").write_bytes(was)
    with (tmp_path / "old").open("r+b") as file:
        file.seek(5_000_000)
        file.write(b"edited")
    left = copied(tmp_path / "old", was, was, tmp_path / "new")
    assert left
    assert any(offset <= 5_000_000 < offset + size for _, size, offset in left)
    assert completed(tmp_path / "new", was, left) == was


def test_an_old_file_that_became_short_or_is_gone(tmp_path: Path) -> None:
    was = noise(1, 9_000_000)
    (tmp_path / "old").write_bytes(was[:6_000_000])
    left = copied(tmp_path / "old", was, was, tmp_path / "new")
    assert {place for place in places_of(was) if place[2] + place[1] > 6_000_000} <= set(left)
    assert completed(tmp_path / "new", was, left) == was
    (tmp_path / "link").symlink_to("old")
    for name in ("nowhere", "link"):
        assert copied(tmp_path / name, was, was, tmp_path / "new") == places_of(was)


def test_holes_stay_holes(tmp_path: Path) -> None:
    new = noise(1, 1_000_000) + bytes(64 * CHUNK_MAX) + noise(2, 1_000_000)
    (tmp_path / "old").write_bytes(new)
    left = copied(tmp_path / "old", new, new, tmp_path / "new")
    assert not left
    assert ZERO_CHUNK in {place[0] for place in places_of(new)}
    assert (tmp_path / "new").read_bytes() == new
    assert (tmp_path / "new").stat().st_blocks * 512 < 8_000_000


def test_what_the_writer_raises_is_raised(tmp_path: Path) -> None:
    was = noise(1, 9_000_000)
    (tmp_path / "old").write_bytes(was)

    class Full(Written):
        def write_at(self, offset: int, buffers: Sequence[memoryview]) -> None:
            raise OSError(28, "No space left on device")

    with (
        ReplacedFile(os.fsencode(tmp_path / "old"), where_it_lay(was)) as replaced,
        pytest.raises(OSError, match="No space"),
    ):
        replaced.copy_into(Full(-1), places_of(was))


@pytest.fixture(params=["xfs", "btrfs"])
def sharing_blocks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system on which files can share blocks."""
    image, place = tmp_path / "image", tmp_path / "mounted"
    image.touch()
    os.truncate(image, 400 << 20)
    place.mkdir()
    package = {"xfs": "xfsprogs", "btrfs": "btrfs-progs"}[request.param]
    for words in ([f"mkfs.{request.param}", "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        try:
            done = subprocess.run(words, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.fail(f"{words[0]} is not installed: apt-get install {package}")
        assert done.returncode == 0, f"{words[0]}: {done.stderr.strip()}; run the tests as root"
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_blocks_are_shared_where_the_file_system_can(sharing_blocks: Path) -> None:
    """Only what the blocks at the edges of changed chunks have is written; an edit of the old file is not shared."""
    was = noise(1, 20_000_000)
    (sharing_blocks / "old").write_bytes(was)
    with (sharing_blocks / "old").open("r+b") as file:
        file.seek(15_000_000)
        file.write(b"edited")
    new = was[:7_000_000] + noise(2, 4096) + was[7_004_096:]
    with (sharing_blocks / "new").open("wb", buffering=0) as file:
        os.ftruncate(file.fileno(), len(new))
        written = Written(file.fileno())
        with ReplacedFile(os.fsencode(sharing_blocks / "old"), where_it_lay(was)) as replaced:
            left = replaced.copy_into(written, places_of(new))
    assert written.written < 100_000
    assert completed(sharing_blocks / "new", new, left) == new
    assert sorted(path.name for path in sharing_blocks.iterdir()) == ["new", "old"]
    with (sharing_blocks / "old").open("r+b") as file:
        file.write(bytes(1_000_000))
    assert completed(sharing_blocks / "new", new, left) == new


def _forget(path: Path) -> None:
    """The page cache lets go of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
