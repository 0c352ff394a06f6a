"""What the operating system refuses: one file is written down and the rest goes on; a whole disk is an error."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX, Kind, Root
from forge_p2p.errors import DiskError, DiskFull
from forge_p2p.workspace.blob import plan_file
from forge_p2p.workspace.plan import plan_restore
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.statcache import StatCache
from tests.workspace.support import (
    Snapshot,
    link_of_bytes,
    mount,
    mounted,
    no_cache,
    restore,
    rows,
    rows_of,
    small_snapshot,
    symlink,
    write,
)
from tests.workspace.unprivileged import run_unprivileged

MIB = 1 << 20
LARGE = b"large" * CHUNK_MAX


def test_directory_that_belongs_to_another(tmp_path: Path) -> None:
    files = {b"%d/%d" % (number % 10, number): b"%d" % number for number in range(200)}
    made = small_snapshot(files | {b"7/large": LARGE, b"7/sub/file": b"file"}, symlink(b"7/link", b"target"))
    destination = tmp_path / "destination"
    (destination / "7").mkdir(parents=True)
    cache = StatCache(tmp_path / "cache")

    def work() -> None:
        for written in (180, 0):
            outcome = restore(made, destination, cache)
            failed = {failure.path for failure in outcome.failures}
            assert failed == {entry.path for entry in made.entries if entry.path.startswith(b"7/")}
            assert str(outcome.failures[0]) == "7/107: it cannot be written: Permission denied"
            assert (outcome.written, outcome.unchanged) == (written, 180 - written)
            assert rows(destination) == [row for row in rows_of(made) if row[0] not in failed]

    run_unprivileged(work, tmp_path, destination / "7")
    assert not restore(made, destination, cache).failures
    assert rows(destination) == rows_of(made)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    path = tmp_path / "small disk"
    path.mkdir()
    with mounted(path):
        yield path


@pytest.fixture
def too_large() -> Snapshot:
    files = {b"a/%02d" % number: os.urandom(20_000) for number in range(30)}
    return small_snapshot(files | {b"large": os.urandom(3 * CHUNK_MAX)})


def test_space_is_asked_for_before_anything_is_written(small_disk: Path, too_large: Snapshot, tmp_path: Path) -> None:
    destination = small_disk / "destination"
    plan = plan_restore(os.fsencode(destination), too_large.root, too_large.entries, no_cache(tmp_path))
    with RestoreWriter(plan, no_cache(tmp_path)):
        with pytest.raises(DiskFull, match=r"destination: it needs 1400832 bytes, 10\d+ are free"):
            plan.require_space()
        plan.require_space(holes=CHUNK_MAX * 2)


@pytest.mark.parametrize("there", [False, True])
def test_disk_that_fills_up(small_disk: Path, too_large: Snapshot, tmp_path: Path, there: bool) -> None:
    destination = small_disk / "destination"
    cache = StatCache(tmp_path / "cache")
    if there:
        (destination / "a").mkdir(parents=True)
    with pytest.raises(
        DiskFull, match=r"no space left for .*/destination/(large|a/\d\d), which needs (786432|20000) bytes"
    ):
        restore(too_large, destination, cache)
    assert destination.exists() == there
    mount("-o", "remount,size=4m", str(small_disk))
    outcome = restore(too_large, destination, cache)
    assert outcome.written + outcome.unchanged == 31
    assert rows(destination) == rows_of(too_large)
    assert os.listdir(small_disk) == ["destination"]


def test_large_file_that_fills_the_disk(small_disk: Path, too_large: Snapshot, tmp_path: Path) -> None:
    entry = next(entry for entry in too_large.entries if entry.level)
    plan = plan_restore(os.fsencode(small_disk / "new"), too_large.root, too_large.entries, no_cache(tmp_path))
    with RestoreWriter(plan, no_cache(tmp_path)) as writer:
        for small in plan.write[:20]:
            writer.write_small(small, too_large.contents[small.path])
        with pytest.raises(DiskFull, match=r"no space left for .*/new/large, which needs 786432 bytes"):
            write(writer, entry, too_large.contents[entry.path])


def test_blob_that_fills_the_disk(small_disk: Path, tmp_path: Path) -> None:
    content = os.urandom(8 * CHUNK_MAX)
    root = Root(Kind.BLOB, link_of_bytes(content))
    (small_disk / "file").write_bytes(b"before")
    plan = plan_file(os.fsencode(small_disk / "file"), root, no_cache(tmp_path))
    with RestoreWriter(plan, no_cache(tmp_path)) as writer:
        message = r"no space left for .*/small disk/file, which needs 2097152 bytes"
        with pytest.raises(DiskFull, match=message):
            write(writer, plan.write[0], content)
    assert (small_disk / "file").read_bytes() == b"before"


def test_large_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    made = small_snapshot({b"large": LARGE, b"file": b"file"})
    destination = tmp_path / "destination"
    destination.mkdir()
    plan = plan_restore(os.fsencode(destination), made.root, made.entries, no_cache(tmp_path))
    with RestoreWriter(plan, no_cache(tmp_path)) as writer:
        file = writer.open_large(plan.write[1])
        file.write_at(0, [LARGE])
        (destination / "large").mkdir()
        file.finish()
        writer.write_small(plan.write[0], b"file")
        outcome = writer.finish()
    assert [str(failure) for failure in outcome.failures] == ["large: it cannot be written: Is a directory"]
    assert sorted(os.listdir(destination)) == ["file", "large"]


def test_read_only_disk(small_disk: Path, tmp_path: Path) -> None:
    made = small_snapshot({b"a/file": b"content"})
    restore(made, small_disk / "there", no_cache(tmp_path))
    (small_disk / "there" / "a" / "file").write_bytes(b"changed")
    mount("-o", "remount,ro", str(small_disk))
    for name, path in (("there", "a/file"), ("new", "/new")):
        with pytest.raises(DiskError, match=rf"{path} cannot be written: Read-only file system .*choose another"):
            restore(made, small_disk / name, no_cache(tmp_path))


def test_large_file_whose_directory_went_away(tmp_path: Path) -> None:
    made = small_snapshot({b"a/large": LARGE, b"b/file": b"file"})
    destination = tmp_path / "destination"
    (destination / "a").mkdir(parents=True)
    plan = plan_restore(os.fsencode(destination), made.root, made.entries, no_cache(tmp_path))
    with RestoreWriter(plan, no_cache(tmp_path)) as writer:
        (destination / "a").rmdir()
        file = writer.open_large(plan.write[0])
        assert file.failed
        os.pwrite(file.fileno(), b"goes nowhere", 0)
        file.write_at(0, [LARGE])
        file.finish()
        writer.write_small(plan.write[1], b"file")
        outcome = writer.finish()
    assert [failure.path for failure in outcome.failures] == [b"a/large"]
    assert rows(destination) == [row for row in rows_of(made) if row[0].startswith(b"b")]


def test_name_that_the_file_system_refuses(tmp_path: Path) -> None:
    made = small_snapshot({b"n" * 255: b"longest", b"file": b"file"})
    outcome = restore(made, tmp_path / "destination", no_cache(tmp_path))
    assert not outcome.failures
    assert rows(tmp_path / "destination") == rows_of(made)
    made = small_snapshot({b"d" * 255 + b"/file": b"file"})
    assert not restore(made, tmp_path / "destination", no_cache(tmp_path)).failures
    assert (tmp_path / "destination" / ("d" * 255) / "file").read_bytes() == b"file"


def test_something_takes_the_name_meanwhile(tmp_path: Path) -> None:
    made = small_snapshot({b"a/file": b"file"})
    destination = tmp_path / "destination"
    cache = StatCache(tmp_path / "cache")
    for there in (False, True):
        plan = plan_restore(os.fsencode(destination), made.root, made.entries, cache)
        with RestoreWriter(plan, cache) as writer:
            writer.write_small(plan.write[0], b"file")
            intruder = destination / "a" / "intruder" if there else destination / "intruder"
            intruder.parent.mkdir(exist_ok=True)
            intruder.write_bytes(b"precious")
            outcome = writer.finish()
        where = "a" if there else str(destination)
        assert [str(failure) for failure in outcome.failures] == [
            f"{where}: it cannot be put in place: Directory not empty"
        ]
        assert intruder.read_bytes() == b"precious"
    assert not restore(made, destination, cache, delete=True).failures
    assert rows(destination) == rows_of(made)
    assert sorted(os.listdir(tmp_path)) == ["cache", "destination"]


ONCE = """
import os, sys
from pathlib import Path
from forge_p2p.errors import DiskError
from forge_p2p.workspace.statcache import StatCache
from tests.workspace.test_failures import of_everything
from tests.workspace.support import restore
try:
    restore(of_everything(), Path(sys.argv[1]), StatCache(Path(sys.argv[2])), replace=True)
except DiskError as error:
    print(type(error).__name__, error)
"""


def of_everything() -> Snapshot:
    return small_snapshot({b"a/file": b"content", b"a/large": LARGE, b"sub/new": b"new"}, symlink(b"a/link", b"file"))


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        ("mkdirat", "ENOSPC", "sub"),
        ("ftruncate", "EIO", "a/large"),
        ("pwritev,pwritev2", "ENOSPC", "a/large"),
        ("utimensat", "EIO", "a/file"),
        ("symlinkat", "EIO", "a/link"),
        ("renameat", "EIO", "a/file"),
        ("renameat:when=4", "EIO", "sub"),
    ],
)
def test_failing_device(tmp_path: Path, call: str, error: str, named: str) -> None:
    destination, cache = tmp_path / "destination", tmp_path / "cache"
    (destination / "a").mkdir(parents=True)
    (destination / "a" / "file").write_bytes(b"old")
    name, _, when = call.partition(":")
    inject = f"inject={name}:error={error}" + (f":{when}" if when else "")
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={name}", "-e", inject]
    done = subprocess.run(
        [*command, sys.executable, "-c", ONCE, str(destination), str(cache)], capture_output=True, text=True, check=True
    )
    kind = "DiskFull" if error == "ENOSPC" else "DiskError"
    assert re.match(rf"{kind} .*\b{named}\b", done.stdout), done.stdout + done.stderr
    made = of_everything()
    assert not restore(made, destination, StatCache(cache)).failures
    assert rows(destination) == rows_of(made)
    assert sorted(os.listdir(tmp_path)) == ["cache", "destination"]
