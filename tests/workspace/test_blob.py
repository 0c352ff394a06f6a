"""A destination that is one file."""

import os
import time
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX, Kind, Root
from forge_p2p.errors import UsageError
from forge_p2p.workspace.blob import plan_file
from forge_p2p.workspace.ledger import Outcome
from forge_p2p.workspace.plan import Check
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.scan import find_restored, scan
from forge_p2p.workspace.statcache import StatCache
from tests.workspace.support import link_of_bytes, write

CONTENTS = [b"", b"small", os.urandom(CHUNK_MAX), os.urandom(CHUNK_MAX + 1), bytes(9 * CHUNK_MAX) + b"end"]


@pytest.fixture
def cache(tmp_path: Path) -> StatCache:
    return StatCache(tmp_path / "cache")


def restore(path: Path, content: bytes, cache: StatCache, check: Check = Check.CACHE, replace: bool = False) -> Outcome:
    root = Root(Kind.BLOB, link_of_bytes(content))
    with RestoreWriter(plan_file(os.fsencode(path), root, cache, check=check, replace=replace), cache) as writer:
        for entry in writer.plan.write:
            write(writer, entry, content)
        return writer.finish()


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_new_same_and_other(tmp_path: Path, cache: StatCache, content: bytes) -> None:
    path = tmp_path / "made when needed" / "file"
    started = time.time_ns()
    restore(path, content, cache)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file"]
    assert started <= path.stat().st_mtime_ns <= time.time_ns()
    before = path.stat()
    assert restore(path, content, cache).unchanged == 1
    assert restore(path, content, cache, check=Check.CONTENT).unchanged == 1
    assert path.stat() == before
    path.chmod(0o640)
    outcome = restore(path, b"other", cache)
    assert (outcome.written, outcome.bytes_written) == (1, 5)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"other", 0o640)
    assert path.stat().st_mtime_ns > before.st_mtime_ns


def test_known_afterwards_by_itself_and_not_as_its_directory(tmp_path: Path, cache: StatCache) -> None:
    path = tmp_path / "folder" / "file"
    restore(path, b"content", cache)
    root = Root(Kind.BLOB, link_of_bytes(b"content"))
    assert find_restored(os.fsencode(path), root, cache)
    assert scan(os.fsencode(path.parent), cache).known_root is None


def test_umask_holds_for_a_new_file(tmp_path: Path, cache: StatCache) -> None:
    mask = os.umask(0o027)
    try:
        restore(tmp_path / "file", b"content", cache)
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_interrupted_and_resumed(tmp_path: Path, cache: StatCache) -> None:
    content = os.urandom(3 * CHUNK_MAX)
    root = Root(Kind.BLOB, link_of_bytes(content))
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with RestoreWriter(plan_file(os.fsencode(path), root, cache), cache) as writer:
        writer.open_large(writer.plan.write[0]).write_at(0, [content[:CHUNK_MAX]])
        with pytest.raises(UsageError, match="another `forge get` is writing"):
            plan_file(os.fsencode(path), root, cache)
    assert path.read_bytes() == b"before"
    restore(path, content, cache)
    assert path.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["cache", "file"]


def test_nothing_written_leaves_everything_as_it_was(tmp_path: Path, cache: StatCache) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    root = Root(Kind.BLOB, link_of_bytes(b"content"))
    with RestoreWriter(plan_file(os.fsencode(path), root, cache), cache) as writer:
        outcome = writer.finish()
    assert [str(failure) for failure in outcome.failures] == ["file: its content did not arrive"]
    assert path.read_bytes() == b"before"
    assert ".forge" not in "".join(os.listdir(tmp_path))


def test_symlink_is_followed_and_stays(tmp_path: Path, cache: StatCache) -> None:
    (tmp_path / "link").symlink_to("target")
    restore(tmp_path / "link", b"content", cache)
    assert (tmp_path / "target").read_bytes() == b"content"
    assert (tmp_path / "link").is_symlink()


def test_what_is_no_file_is_in_the_way(tmp_path: Path, cache: StatCache) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="folder is a directory, and the link is one file"):
        restore(tmp_path / "folder", b"content", cache)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is in the way"):
        restore(tmp_path / "pipe", b"content", cache)
    restore(tmp_path / "pipe", b"content", cache, replace=True)
    assert (tmp_path / "pipe").read_bytes() == b"content"
