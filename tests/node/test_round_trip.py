"""What is shared arrives as it was, byte for byte, and only what is missing travels."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import UsageError
from tests.node.conftest import Pair
from tests.node.harness import CHUNK, contents, get, noise, partials, share, small_tree


def every_kind(root: Path) -> Path:
    """A directory with one of everything that a snapshot keeps."""
    root.mkdir()
    (root / "empty").mkdir()
    (root / "deep" / "er" / "still").mkdir(parents=True)
    (root / "deep" / "er" / "file").write_bytes(b"down here")
    (root / "nothing").write_bytes(b"")
    (root / "script").write_bytes(b"#!/bin/sh\n")
    (root / "script").chmod(0o755)
    (root / "private").write_bytes(b"mine")
    (root / "private").chmod(0o600)
    (root / "read only").write_bytes(b"kept")
    (root / "read only").chmod(0o444)
    (root / "sealed").mkdir()
    (root / "sealed" / "inside").write_bytes(b"within")
    (root / "sealed").chmod(0o555)
    (root / "link").symlink_to("deep/er/file")
    (root / "dangling").symlink_to("no/such/thing")
    (root / "to a directory").symlink_to("deep")
    for name in (b"caf\xe9", b"\xff\xfe", "e\u0301".encode(), "\u00e9".encode(), b"new\nline", b"two  blanks"):
        (Path(os.fsdecode(os.path.join(os.fsencode(root), name)))).write_bytes(name * 3)
    os.utime(root / "script", ns=(1, 1_234_567_890_123_456_789))
    os.utime(root / "private", ns=(1, -1_500_000_001))
    os.utime(root / "nothing", ns=(1, 999_999_999))
    return root


def around_a_chunk(root: Path) -> None:
    root.mkdir()
    for size in (1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 3):
        (root / str(size)).write_bytes(noise(size, size))


def equal_files(root: Path) -> None:
    root.mkdir()
    for number in range(50):
        (root / f"small{number}").write_bytes(noise(1, 5000))
    for number in range(5):
        (root / f"large{number}").write_bytes(noise(2, 3 * CHUNK))


def one_chunk_over_and_over(root: Path) -> None:
    root.mkdir()
    (root / "pattern").write_bytes(noise(3, 4096) * 1024)
    (root / "zeros").write_bytes(bytes(4 * CHUNK))
    (root / "zeros and a bit").write_bytes(bytes(4 * CHUNK) + b"end")
    (root / "a chunk of zeros").write_bytes(bytes(CHUNK))


def compressible(root: Path) -> None:
    root.mkdir()
    (root / "text").write_bytes(b"again and again\n" * 100_000)


def many_small_files(root: Path) -> None:
    for number in range(700):
        path = root / f"{number % 30}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number, 10 * number))


SHAPES: dict[str, Callable[[Path], object]] = {
    "empty directory": Path.mkdir,
    "one of everything": every_kind,
    "files around a chunk": around_a_chunk,
    "compressible": compressible,
    "equal files": equal_files,
    "one chunk over and over": one_chunk_over_and_over,
    "many small files": many_small_files,
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_arrives_as_it_was(pair: Pair, shape: str) -> None:
    source, copy = pair.path / "source", pair.path / "copy"
    SHAPES[shape](source)
    shared = await share(pair.here, source)
    result = await get(pair.there, shared.ticket, copy)
    assert contents(copy) == contents(source)
    assert result.problems == []
    assert result.link == shared.link
    assert result.fetched_bytes <= shared.add.new_bytes
    assert partials(copy) == []

    again = await get(pair.there, shared.ticket, copy)
    assert (again.unchanged, again.files) == (again.files, result.files)
    assert (again.fetched_bytes, again.wire_sent, again.wire_received) == (0, 0, 0)
    assert contents(copy) == contents(source)


async def test_sparse_file(pair: Pair) -> None:
    source, copy = pair.path / "source", pair.path / "copy"
    source.mkdir()
    with (source / "disk.img").open("wb") as file:
        file.write(noise(4, 100_000))
        file.seek(300 << 20)
        file.write(noise(5, 100_000))
        file.truncate(400 << 20)
    shared = await share(pair.here, source)
    assert shared.add.stored_bytes < 4 << 20
    result = await get(pair.there, shared.ticket, copy)
    assert result.wire_received < 2 << 20
    status = (copy / "disk.img").stat()
    assert status.st_size == 400 << 20
    assert status.st_blocks * 512 < 8 << 20, "holes stay holes"
    with (copy / "disk.img").open("rb") as file:
        assert file.read(100_000) == noise(4, 100_000)
        file.seek(300 << 20)
        assert file.read(100_000) == noise(5, 100_000)


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 8 * CHUNK])
async def test_single_file(pair: Pair, size: int) -> None:
    source, copy = pair.path / "source.bin", pair.path / "new" / "copy.bin"
    source.write_bytes(noise(size, size))
    shared = await share(pair.here, source)
    result = await get(pair.there, shared.ticket, copy)
    assert copy.read_bytes() == noise(size, size)
    assert (result.files, result.bytes, result.problems) == (1, size, [])
    assert os.listdir(copy.parent) == ["copy.bin"]
    again = await get(pair.there, shared.ticket, copy)
    assert (again.unchanged, again.wire_sent) == (1, 0)


async def test_single_file_over_a_directory(pair: Pair) -> None:
    source, folder = pair.path / "source.bin", pair.path / "folder"
    source.write_bytes(b"content")
    folder.mkdir()
    shared = await share(pair.here, source)
    with pytest.raises(UsageError, match="is a directory, and the link is one file"):
        await get(pair.there, shared.ticket, folder)
    assert os.listdir(folder) == []


async def test_single_file_over_a_file(pair: Pair) -> None:
    source, copy = pair.path / "source.bin", pair.path / "copy.bin"
    source.write_bytes(noise(1, 2 * CHUNK))
    copy.write_bytes(b"something older")
    copy.chmod(0o640)
    shared = await share(pair.here, source)
    await get(pair.there, shared.ticket, copy)
    assert copy.read_bytes() == noise(1, 2 * CHUNK)
    assert copy.stat().st_mode & 0o777 == 0o640


async def test_directory_over_a_file(pair: Pair) -> None:
    source, copy = small_tree(pair.path / "source"), pair.path / "copy"
    copy.write_bytes(b"in the way")
    shared = await share(pair.here, source)
    with pytest.raises(UsageError, match="is not a directory"):
        await get(pair.there, shared.ticket, copy)
    assert copy.read_bytes() == b"in the way"


async def test_completes_and_repairs(pair: Pair) -> None:
    source, copy = small_tree(pair.path / "source"), pair.path / "copy"
    shared = await share(pair.here, source)
    await get(pair.there, shared.ticket, copy)
    (copy / "d0" / "f000").unlink()
    (copy / "d1" / "f001").write_bytes(b"changed")
    (copy / "d2" / "f002").chmod(0o700)
    shutil.rmtree(copy / "d3")
    with (copy / "large").open("r+b") as file:
        file.seek(CHUNK)
        file.write(b"damage")
    (copy / "extra").write_bytes(b"of the user's own")
    result = await get(pair.there, shared.ticket, copy)
    assert contents(copy).pop(b"extra").content == b"of the user's own"
    assert {path: seen for path, seen in contents(copy).items() if path != b"extra"} == contents(source)
    assert result.fetched_bytes == 0, "all of it was in the store"
    assert result.wire_sent == 0


async def test_repairs_without_a_store(pair: Pair) -> None:
    source, copy = small_tree(pair.path / "source"), pair.path / "copy"
    shared = await share(pair.here, source)
    await get(pair.there, shared.ticket, copy)
    shutil.rmtree(pair.there.node.home.path)
    pair.there.node.close()
    (copy / "d0" / "f000").unlink()
    result = await get(pair.there, shared.ticket, copy)
    assert contents(copy) == contents(source)
    assert result.unchanged == result.files - 1
    assert result.fetched_bytes < 10_000


async def test_check_finds_what_the_times_hide(pair: Pair) -> None:
    source, copy = small_tree(pair.path / "source"), pair.path / "copy"
    shared = await share(pair.here, source)
    await get(pair.there, shared.ticket, copy)
    for name in ("large", "d1/f005"):
        status = (copy / name).stat()
        content = bytearray((copy / name).read_bytes())
        content[100] ^= 1
        (copy / name).write_bytes(content)
        os.utime(copy / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = await get(pair.there, shared.ticket, copy, check=True)
    assert contents(copy) == contents(source)
    assert result.files - result.unchanged == 2


async def test_second_share_sends_what_is_new(pair: Pair) -> None:
    source = small_tree(pair.path / "source", files=100)
    first = await share(pair.here, source)
    await get(pair.there, first.ticket, pair.path / "copy")
    (source / "d0" / "f000").write_bytes(noise(77, 5000))
    with (source / "large").open("ab") as file:
        file.write(b"one more line")
    second = await share(pair.here, source)
    result = await get(pair.there, second.ticket, pair.path / "copy")
    assert contents(pair.path / "copy") == contents(source)
    assert result.fetched_bytes < 4 * CHUNK, "the listing, one small file, the end of the large one"
    other = await get(pair.there, second.ticket, pair.path / "other")
    assert contents(pair.path / "other") == contents(source)
    assert other.wire_sent == 0, "everything was here"


async def test_equal_content_in_two_shares_travels_once(pair: Pair) -> None:
    for name in ("a", "b"):
        (pair.path / name).mkdir()
        (pair.path / name / f"own {name}").write_bytes(noise(ord(name), 1000))
        (pair.path / name / f"common {name}").write_bytes(noise(9, 10 * CHUNK))
    first, second = await share(pair.here, pair.path / "a"), await share(pair.here, pair.path / "b")
    await get(pair.there, first.ticket, pair.path / "copy a")
    result = await get(pair.there, second.ticket, pair.path / "copy b")
    assert contents(pair.path / "copy b") == contents(pair.path / "b")
    assert result.fetched_bytes < 10_000


async def test_two_gets_of_one_share_at_once(pair: Pair) -> None:
    import trio

    source = small_tree(pair.path / "source", files=200)
    shared = await share(pair.here, source)
    async with trio.open_nursery() as nursery:
        for name in ("one", "two", "three"):
            nursery.start_soon(get, pair.there, shared.ticket, pair.path / name)
    for name in ("one", "two", "three"):
        assert contents(pair.path / name) == contents(source)


async def test_names_in_their_text_form(pair: Pair) -> None:
    """Arguments name paths in text; a name that is not UTF-8 survives it."""
    source = Path(os.fsdecode(os.path.join(os.fsencode(pair.path), b"caf\xe9")))
    small_tree(source)
    shared = await share(pair.here, Path(path_text(os.fsencode(source))))
    await get(pair.there, shared.ticket, pair.path / "copy")
    assert contents(pair.path / "copy") == contents(source)
