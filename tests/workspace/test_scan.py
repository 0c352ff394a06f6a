"""A scan finds what is there, says what it leaves out, and knows what has not changed since."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX, Kind, Root
from forge_p2p.content.paths import MAX_DEPTH
from forge_p2p.content.snapshot import encode_pages, sort_key
from forge_p2p.errors import DiskError, SourceChanged, UsageError
from forge_p2p.workspace.names import partial_name, temporary_name
from forge_p2p.workspace.scan import Scan, find_restored, rescan_changes, scan
from forge_p2p.workspace.source import SourceReader
from forge_p2p.workspace.statcache import StatCache
from tests.workspace.support import link_of_bytes, no_cache, rows, rows_of, snapshot_of
from tests.workspace.unprivileged import run_unprivileged

LONG_AGO = 10**18 + 7


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with one of everything, all of it old enough to be remembered."""
    top = tmp_path / "tree"
    (top / "a" / "empty").mkdir(parents=True)
    (top / "a" / "one").write_bytes(b"one")
    (top / "a-b").write_bytes(b"sorts between a and a/one, bytewise")
    (top / "a" / "tool").write_bytes(b"#!")
    (top / "a" / "tool").chmod(0o755)
    (top / "none").touch()
    (top / "dangling").symlink_to("no/where")
    (top / "absolute").symlink_to("/etc/passwd")
    (top / os.fsdecode(b"\xff\xfe")).write_bytes(b"not UTF-8")
    (top / "e\u0301").write_bytes(b"not normalised")
    for path in top.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return top


def look(top: Path, cache: StatCache) -> Scan:
    return scan(os.fsencode(top), cache)


def remembered(top: Path, cache: StatCache) -> Root:
    """Writes down what is there, as if it had been seen long enough ago."""
    found, made = look(top, cache), snapshot_of(top, cache)
    links = {path: link_of_bytes(content) for path, content in made.contents.items()}
    cache.save(found.root, found.resolved(links), made.root)
    return made.root


def test_finds_everything_in_the_order_of_a_listing(tree: Path, tmp_path: Path) -> None:
    made = snapshot_of(tree, no_cache(tmp_path))
    assert rows_of(made) == rows(tree)
    paths = [entry.path for entry in made.entries]
    assert paths == sorted(paths, key=sort_key)
    assert next(entry.mtime_ns for entry in made.entries if entry.path == b"none") == LONG_AGO
    assert b"".join(encode_pages(made.entries))


def test_file_is_a_blob(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    cache = StatCache(tmp_path / "cache")
    found = look(tmp_path / "file", cache)
    assert (found.kind, found.skipped, [item.path for item in found.items]) == (Kind.BLOB, [], [b""])
    with SourceReader(found) as reader:
        assert reader.read(found.items[0]) == b"content"
    root = Root(Kind.BLOB, link_of_bytes(b"content"))
    cache.save(found.root, found.resolved({b"": root.link}), root)
    again = look(tmp_path / "file", cache)
    assert (again.known_root, rescan_changes(again)) == (root, [])
    (tmp_path / "file").write_bytes(b"Content")
    assert rescan_changes(again) == [b""]
    assert look(tmp_path / "file", cache).known_root is None


def test_root_that_is_a_symlink_is_where_it_points(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("tree")
    found = look(tmp_path / "link", no_cache(tmp_path))
    assert found.root == os.fsencode(tree)
    assert found.items == look(tree, no_cache(tmp_path)).items


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing at .*absent"):
        look(tmp_path / "absent", no_cache(tmp_path))
    with pytest.raises(UsageError, match=r"neither a directory nor a file"):
        look(Path("/dev/null"), no_cache(tmp_path))


def test_what_is_no_file_is_left_out_and_said(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub" / ".git" / "hooks").mkdir(parents=True)
    (top / ".GIT").write_text("gitdir: elsewhere")
    (top / "git~1").touch()
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(top / "socket"))
    partial, temporary = partial_name(b"name", b"0123" * 8), temporary_name(b"name")
    (top / os.fsdecode(partial)).mkdir()
    (top / os.fsdecode(temporary)).touch()
    (top / ".gitignore").touch()
    found = look(top, no_cache(tmp_path))
    assert [item.path for item in found.items] == [b".gitignore", b"sub"]
    assert [skipped.path for skipped in found.skipped] == [
        b".GIT",
        temporary,
        partial,
        b"git~1",
        b"pipe",
        b"socket",
        b"sub/.git",
    ]
    assert str(found.skipped[4]) == "left out pipe: it is a socket, a pipe or a device"


@pytest.mark.parametrize("name", ["con", "a ", "a.", ".git ", "\u200c.git"])
def test_name_that_no_snapshot_may_have_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).touch()
    with pytest.raises(UsageError, match=r"cannot share .*/sub/.*forgeignore"):
        look(tmp_path, no_cache(tmp_path))


def test_deepest_directory_and_one_below(tmp_path: Path) -> None:
    path = tmp_path / "top" / "/".join(["d"] * (MAX_DEPTH - 1))
    path.mkdir(parents=True)
    (path / "f").touch()
    items = look(tmp_path / "top", no_cache(tmp_path)).items
    assert items[-1].path.count(b"/") == MAX_DEPTH - 1
    (path / "d").mkdir()
    with pytest.raises(UsageError, match=f"deeper than {MAX_DEPTH}"):
        look(tmp_path / "top", no_cache(tmp_path))


def test_unreadable_directory_and_file_are_named(tree: Path, tmp_path: Path) -> None:
    def work() -> None:
        (tree / "a" / "empty").chmod(0)
        with pytest.raises(DiskError, match=r"/tree/a/empty cannot be read: Permission denied .*forgeignore"):
            look(tree, no_cache(tmp_path))
        (tree / "a" / "empty").chmod(0o755)
        (tree / "a" / "one").chmod(0)
        found = look(tree, no_cache(tmp_path))
        with SourceReader(found) as reader:
            item = next(item for item in found.items if item.path == b"a/one")
            with pytest.raises(DiskError, match=r"/tree/a/one cannot be read: Permission denied .*forgeignore"):
                reader.read(item)

    run_unprivileged(work, tmp_path)


def test_unchanged_tree_is_known(tree: Path, tmp_path: Path) -> None:
    cache = StatCache(tmp_path / "cache")
    root = remembered(tree, cache)
    found = look(tree, cache)
    assert (found.known_root, found.unknown(), rescan_changes(found)) == (root, [], [])
    assert find_restored(os.fsencode(tree), root, cache)


def replace_by_directory(top: Path) -> None:
    (top / "a" / "one").unlink()
    (top / "a" / "one").mkdir()


def retarget(top: Path) -> None:
    (top / "dangling").unlink()
    (top / "dangling").symlink_to("no/wherE")


def rewrite_keeping_size_and_time(top: Path) -> None:
    (top / "a" / "one").write_bytes(b"eno")
    os.utime(top / "a" / "one", ns=(LONG_AGO, LONG_AGO))


def replace_keeping_size_and_time(top: Path) -> None:
    (top / "a" / "new").write_bytes(b"eno")
    os.utime(top / "a" / "new", ns=(LONG_AGO, LONG_AGO))
    (top / "a" / "new").replace(top / "a" / "one")


CHANGES: list[tuple[Callable[[Path], object], list[bytes], list[bytes]]] = [
    (lambda top: (top / "a" / "one").write_bytes(b"another"), [b"a/one"], [b"a/one"]),
    (rewrite_keeping_size_and_time, [b"a/one"], [b"a/one"]),
    (replace_keeping_size_and_time, [b"a/one"], [b"a/one"]),
    (lambda top: (top / "a" / "one").chmod(0o600), [b"a/one"], [b"a/one"]),
    (lambda top: os.utime(top / "a" / "one", ns=(0, 1)), [b"a/one"], [b"a/one"]),
    (lambda top: (top / "new").write_bytes(b""), [b"new"], [b"new"]),
    (lambda top: (top / "a" / "one").unlink(), [b"a/one"], []),
    (lambda top: (top / "a" / "one").rename(top / "a" / "two"), [b"a/one", b"a/two"], [b"a/two"]),
    (replace_by_directory, [b"a/one"], []),
    (retarget, [b"dangling"], []),
    (lambda top: (top / "a" / "empty").chmod(0o700), [b"a/empty"], []),
    (lambda top: (top / "a" / "empty").rmdir(), [b"a/empty"], []),
    (lambda top: (top / "other").mkdir(), [b"other"], []),
]


@pytest.mark.parametrize(("change", "changed", "unknown"), CHANGES)
def test_each_change_is_seen(
    tree: Path, tmp_path: Path, change: Callable[[Path], object], changed: list[bytes], unknown: list[bytes]
) -> None:
    cache = StatCache(tmp_path / "cache")
    root = remembered(tree, cache)
    before = look(tree, cache)
    change(tree)
    assert rescan_changes(before) == changed
    after = look(tree, cache)
    assert (after.known_root, [item.path for item in after.unknown()]) == (None, unknown)
    assert not find_restored(os.fsencode(tree), root, cache)


def test_no_write_is_missed_however_soon_it_follows(tmp_path: Path) -> None:
    top, cache = tmp_path / "top", StatCache(tmp_path / "cache")
    top.mkdir()
    for number in range(200):
        (top / "file").write_bytes(b"%06d" % number)
        found = look(top, cache)
        assert [item.path for item in found.unknown()] == [b"file"]
        snapshot_of(top, cache)


def test_reading_notices_a_change(tree: Path, tmp_path: Path) -> None:
    found = look(tree, no_cache(tmp_path))
    item = next(item for item in found.items if item.path == b"a/one")
    file, other = tree / "a" / "one", tree / "a-b"

    def swapped(make: Callable[[Path], object]) -> None:
        file.unlink()
        make(file)

    changes: list[Callable[[], object]] = [
        lambda: file.write_bytes(b"one and more"),
        lambda: file.write_bytes(b"o"),
        lambda: file.write_bytes(b"eno"),
        lambda: swapped(lambda path: path.write_bytes(b"one")),
        lambda: swapped(lambda path: path.symlink_to(other)),
        lambda: swapped(os.mkfifo),
        lambda: swapped(Path.mkdir),
        file.rmdir,
    ]
    with SourceReader(found) as reader:
        assert reader.read(item) == b"one"
        for change in changes:
            change()
            with pytest.raises(SourceChanged, match=r"/tree/a/one changed while it was read"):
                reader.read(item)
            with pytest.raises(SourceChanged, match=r"/tree/a/one changed while it was read"):
                os.close(reader.open_verified(item))


def test_change_after_opening_is_noticed_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(CHUNK_MAX * 3))
    found = look(tmp_path, no_cache(tmp_path))
    with SourceReader(found) as reader:
        descriptor = reader.open_verified(found.items[0])
        try:
            reader.check_unchanged(descriptor, found.items[0])
            (tmp_path / "large").write_bytes(bytes(CHUNK_MAX * 3))
            with pytest.raises(SourceChanged, match=r"large"):
                reader.check_unchanged(descriptor, found.items[0])
        finally:
            os.close(descriptor)


def test_directory_swapped_for_a_symlink_leads_nowhere(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one").write_bytes(b"one")
    found = look(tree, no_cache(tmp_path))
    (tree / "a").rename(tmp_path / "moved")
    (tree / "a").symlink_to(outside)
    item = next(item for item in found.items if item.path == b"a/one")
    with SourceReader(found) as reader, pytest.raises(SourceChanged, match=r"a/one"):
        reader.read(item)
