"""What restoring does to a destination that is there already, to what is in its way, and when it is stopped."""

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import Malformed, UsageError
from forge_p2p.workspace.plan import Check, plan_restore
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.scan import find_restored
from forge_p2p.workspace.statcache import StatCache
from tests.workspace.support import (
    Snapshot,
    carry_out,
    directory,
    no_cache,
    restore,
    rows,
    rows_of,
    small_snapshot,
    symlink,
    write,
)
from tests.workspace.unprivileged import run_unprivileged

LARGE = b"large" * CHUNK_MAX


@pytest.fixture
def cache(tmp_path: Path) -> StatCache:
    return StatCache(tmp_path / "cache")


@pytest.fixture
def made() -> Snapshot:
    return small_snapshot(
        {b"a/one": b"one", b"a/b/two": b"two", b"large": LARGE, b"none": b""},
        symlink(b"link", b"a"),
        directory(b"empty"),
    )


def test_only_what_differs_is_wanted(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    restore(made, top, cache)
    inode = (top / "a" / "one").stat().st_ino
    (top / "a" / "b" / "two").write_bytes(b"owt")
    (top / "large").unlink()
    (top / "none").chmod(0o600)
    (top / "mine").write_bytes(b"stays")
    plan = plan_restore(os.fsencode(top), made.root, made.entries, cache)
    assert [entry.path for entry in plan.write] == [b"a/b/two", b"large"]
    assert [entry.path for entry in plan.retouch] == [b"none"]
    assert (plan.unchanged, plan.bytes_needed) == (1, 3 + len(LARGE))
    outcome = carry_out(plan, made, cache)
    assert (outcome.written, outcome.unchanged, outcome.bytes_written) == (2, 1, 3 + len(LARGE))
    assert (top / "mine").read_bytes() == b"stays"
    (top / "mine").unlink()
    assert rows(top) == rows_of(made)
    assert (top / "a" / "one").stat().st_ino == inode


def test_without_a_cache_content_is_read_and_kept(tmp_path: Path, made: Snapshot) -> None:
    top = tmp_path / "destination"
    restore(made, top, no_cache(tmp_path))
    for path in top.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            os.utime(path)
    (top / "a" / "one").write_bytes(b"eno")
    plan = plan_restore(os.fsencode(top), made.root, made.entries, no_cache(tmp_path))
    assert [entry.path for entry in plan.write] == [b"a/one"]
    carry_out(plan, made, no_cache(tmp_path))
    assert rows(top) == rows_of(made)


def test_what_had_to_be_read_is_remembered(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    restore(made, top, cache)
    (top / "large").chmod(0o600)
    (top / "large").chmod(0o644)
    assert find_restored(os.fsencode(top), made.root, cache) is None
    assert restore(made, top, cache).unchanged == 4
    found = find_restored(os.fsencode(top), made.root, cache)
    assert found is not None
    assert sum(item.is_file for item in found.items) == 4


def test_check_finds_what_no_time_tells(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    restore(made, top, cache)
    flip_a_bit(top / "a" / "one", cache)
    flip_a_bit(top / "large", cache)
    trusting = plan_restore(os.fsencode(top), made.root, made.entries, cache)
    trusting.close()
    assert trusting.write == []
    plan = plan_restore(os.fsencode(top), made.root, made.entries, cache, check=Check.CONTENT)
    assert [entry.path for entry in plan.write] == [b"a/one", b"large"]
    carry_out(plan, made, cache)
    assert rows(top) == rows_of(made)


def flip_a_bit(path: Path, cache: StatCache) -> None:
    """As a disk does: nothing in the cache tells."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(1)
        file.write(b"\x7f")
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    top = os.fsencode(path.parents[1] if path.name == "one" else path.parent)
    seen = cache.load(top)
    name = os.path.relpath(os.fsencode(path), top)
    items = dict(seen.items)
    items[name] = msgspec.structs.replace(items[name], ctime_ns=path.stat().st_ctime_ns)
    cache.save(top, items.values(), seen.root, seen.boot)


def test_existing_empty_directory_is_used_as_it_is(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    top.mkdir(mode=0o711)
    before = top.stat()
    restore(made, top, cache)
    assert rows(top) == rows_of(made)
    assert (top.stat().st_ino, top.stat().st_mode) == (before.st_ino, before.st_mode)


def test_nothing_is_seen_before_the_end(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    for top, there in ((tmp_path / "new", False), (tmp_path / "old", True)):
        if there:
            (top / "a").mkdir(parents=True)
        with RestoreWriter(plan_restore(os.fsencode(top), made.root, made.entries, cache), cache) as writer:
            for entry in writer.plan.write:
                if entry.level:
                    file = writer.open_large(entry)
                    file.write_at(0, [LARGE[:CHUNK_MAX]])
            seen = [row[0] for row in rows(top) if b".forge-" not in row[0]] if there else []
            assert seen == ([b"a", b"none"] if there else [])
            assert top.exists() == there


def test_interrupted_restore_is_taken_up(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    with RestoreWriter(plan_restore(os.fsencode(top), made.root, made.entries, cache), cache) as writer:
        for entry in writer.plan.write[:2]:
            write(writer, entry, made.contents[entry.path])
        file = writer.open_large(writer.plan.write[2])
        file.write_at(CHUNK_MAX, [LARGE[CHUNK_MAX : 2 * CHUNK_MAX]])
    assert not top.exists()
    plan = plan_restore(os.fsencode(top), made.root, made.entries, cache)
    assert [entry.path for entry in plan.write] == [b"large"]
    assert carry_out(plan, made, cache).unchanged == 3
    assert rows(top) == rows_of(made)
    assert sorted(os.listdir(tmp_path)) == ["cache", "destination"]


def test_remains_of_another_snapshot_are_removed_and_not_used(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    other = small_snapshot({b"a/one": b"eno", b"old": b"old"})
    for there in (False, True):
        plan = plan_restore(os.fsencode(top), other.root, other.entries, cache)
        with RestoreWriter(plan, cache) as writer:
            writer.write_batch([(entry, other.contents[entry.path]) for entry in plan.write])
        assert top.exists() == there
        assert restore(made, top, cache, delete=True).written == 3
        assert rows(top) == rows_of(made)
        assert sorted(os.listdir(tmp_path)) == ["cache", "destination"]
        shutil.rmtree(top / "a")
        (top / "large").unlink()


def test_remains_of_another_destination_are_left_alone(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    other = plan_restore(os.fsencode(tmp_path / "destination.old"), made.root, made.entries, cache)
    with RestoreWriter(other, cache) as writer:
        writer.write_batch([(entry, made.contents[entry.path]) for entry in other.write if not entry.level])
    restore(small_snapshot({b"file": b"file"}), tmp_path / "destination", cache)
    plan = plan_restore(os.fsencode(tmp_path / "destination.old"), made.root, made.entries, cache)
    assert [entry.path for entry in plan.write] == [b"large"]
    plan.close()


def test_two_at_once_are_refused(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    for there in (False, True):
        plan = plan_restore(os.fsencode(top), made.root, made.entries, cache)
        with pytest.raises(UsageError, match=r"another `forge get` is writing to .*destination"):
            plan_restore(os.fsencode(top), made.root, made.entries, cache)
        carry_out(plan, made, cache)
        assert there or rows(top) == rows_of(made)


def test_what_is_in_the_way_is_named_and_stays(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    (top / "large").mkdir(parents=True)
    (top / "large" / "precious").write_bytes(b"precious")
    (top / "a").write_bytes(b"a file")
    (top / "link").write_bytes(b"a file")
    with pytest.raises(UsageError, match="destination/a and 2 more is in the way"):
        restore(made, top, cache)
    assert (top / "large" / "precious").read_bytes() == b"precious"
    outcome = restore(made, top, cache, replace=True)
    assert not outcome.failures
    assert rows(top) == rows_of(made)


def test_delete_spares_what_would_not_be_shared(tmp_path: Path, cache: StatCache) -> None:
    rules = {b".forgeignore": b"build/\n*.o\n", b"a/.forgeignore": b"!keep.o\n"}
    made = small_snapshot({b"a/one": b"one", b"a/b/two": b"two", **rules})
    top = tmp_path / "destination"
    restore(made, top, cache)
    spared = [".git/config", "build/result", "a/b/two.o"]
    for name in [*spared, "a/extra", "extra/file", "a/b/keep.o", "a/b/build"]:
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_bytes(b"")
    outcome = restore(made, top, cache, delete=True)
    assert (outcome.deleted, outcome.failures) == (4, [])
    for name in spared:
        (top / name).unlink()
    (top / ".git").rmdir()
    (top / "build").rmdir()
    assert rows(top) == rows_of(made)


def test_read_only_directories_are_written_to_and_left_read_only(tmp_path: Path, cache: StatCache) -> None:
    closed = small_snapshot({b"a/b/file": b"old", b"a/gone": b""}, directory(b"a", 0o555), directory(b"a/b", 0o500))
    changed = small_snapshot(
        {b"a/b/file": b"new", b"a/c/more": b"more"},
        directory(b"a", 0o555),
        directory(b"a/b", 0o500),
        directory(b"a/c", 0o111),
        symlink(b"a/link", b"b"),
    )

    def work() -> None:
        top = tmp_path / "destination"
        restore(closed, top, cache)
        assert rows(top) == rows_of(closed)
        outcome = restore(changed, top, cache, delete=True)
        assert outcome.failures == []
        again = restore(changed, top, cache, delete=True)
        assert (again.written, again.unchanged, again.failures) == (0, 2, [])
        assert (top / "a" / "c").stat().st_mode & 0o777 == 0o111
        (top / "a" / "c").chmod(0o755)
        seen = {row[0]: row for row in rows(top)}
        (top / "a" / "c").chmod(0o111)
        assert [seen[row[0]] for row in rows_of(changed) if row[0] != b"a/c"] == [
            row for row in rows_of(changed) if row[0] != b"a/c"
        ]

    run_unprivileged(work, tmp_path)


def test_content_that_is_missing_is_a_failure(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    top = tmp_path / "destination"
    with RestoreWriter(plan_restore(os.fsencode(top), made.root, made.entries, cache), cache) as writer:
        writer.write_batch([(entry, made.contents[entry.path]) for entry in writer.plan.write if not entry.level])
        outcome = writer.finish()
    assert [str(failure) for failure in outcome.failures] == ["large: its content did not arrive"]
    assert [row for row in rows_of(made) if row[0] != b"large"] == rows(top)
    assert restore(made, top, cache).written == 1


def test_content_of_another_size_is_malformed(tmp_path: Path, cache: StatCache, made: Snapshot) -> None:
    plan = plan_restore(os.fsencode(tmp_path / "destination"), made.root, made.entries, cache)
    with RestoreWriter(plan, cache) as writer, pytest.raises(Malformed, match="a/b/two has 2 bytes of content"):
        writer.write_small(plan.write[0], b"tw")
