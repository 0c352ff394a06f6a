"""A directory, scanned and restored somewhere else, is found to be the same."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.workspace.scan import find_restored, scan
from forge_p2p.workspace.statcache import StatCache
from tests.workspace.support import no_cache, restore, rows, rows_of, small_snapshot, snapshot_of
from tests.workspace.trees import TREES, Folder, build


@settings(max_examples=80)
@given(TREES)
def test_any_tree(tree: Folder) -> None:
    with TemporaryDirectory() as folder:
        top = Path(folder)
        cache = StatCache(top / "cache")
        build(os.fsencode(top / "source"), tree)
        made = snapshot_of(top / "source", cache)
        assert rows_of(made) == rows(top / "source")
        outcome = restore(made, top / "deep" / "destination", cache)
        assert not outcome.failures
        assert rows(top / "deep" / "destination") == rows(top / "source")
        assert os.listdir(top / "deep") == ["destination"]
        assert find_restored(os.fsencode(top / "deep" / "destination"), made.root, cache)
        assert snapshot_of(top / "deep" / "destination", no_cache(top)).root == made.root


@settings(max_examples=80)
@given(TREES, TREES)
def test_any_tree_over_any_other(before: Folder, after: Folder) -> None:
    with TemporaryDirectory() as folder:
        top = Path(folder)
        cache = StatCache(top / "cache")
        destination = os.fsencode(top / "destination")
        build(destination, before)
        build(os.fsencode(top / "source"), after)
        made = snapshot_of(top / "source", cache)
        outcome = restore(made, destination, cache, replace=True, delete=True)
        assert not outcome.failures
        assert rows(destination) == rows(top / "source")
        assert find_restored(destination, made.root, cache)
        again = restore(made, destination, cache, replace=True, delete=True)
        files = sum(row[1] == "file" for row in rows_of(made))
        assert (again.written, again.unchanged, again.deleted, again.failures) == (0, files, 0, [])
        assert rows(destination) == rows(top / "source")


def test_hard_links_become_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "one").write_bytes(b"shared")
    (tmp_path / "source" / "two").hardlink_to(tmp_path / "source" / "one")
    made = snapshot_of(tmp_path / "source", no_cache(tmp_path))
    restore(made, tmp_path / "destination", no_cache(tmp_path))
    assert rows(tmp_path / "destination") == rows(tmp_path / "source")
    assert (tmp_path / "destination" / "one").stat().st_nlink == 1


def test_holes_stay_holes(tmp_path: Path) -> None:
    content = os.urandom(CHUNK_MAX) + bytes(40 * CHUNK_MAX) + b"end"
    made = small_snapshot({b"sparse": content, b"zero": bytes(20 * CHUNK_MAX)})
    restore(made, tmp_path / "destination", no_cache(tmp_path))
    assert rows(tmp_path / "destination") == rows_of(made)
    assert (tmp_path / "destination" / "sparse").stat().st_blocks * 512 < 3 * CHUNK_MAX
    assert (tmp_path / "destination" / "zero").stat().st_blocks * 512 < CHUNK_MAX


def test_umask_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "source" / "open").mkdir(parents=True)
    (tmp_path / "source" / "open" / "file").write_bytes(b"content")
    (tmp_path / "source" / "open" / "file").chmod(0o777)
    (tmp_path / "source" / "open").chmod(0o777)
    made = snapshot_of(tmp_path / "source", no_cache(tmp_path))
    mask = os.umask(0o077)
    try:
        restore(made, tmp_path / "destination", no_cache(tmp_path))
    finally:
        os.umask(mask)
    assert rows(tmp_path / "destination") == rows(tmp_path / "source")
    assert (tmp_path / "destination").stat().st_mode & 0o777 == 0o700


def test_what_was_restored_can_be_shared_without_reading(tmp_path: Path) -> None:
    cache = StatCache(tmp_path / "cache")
    made = small_snapshot({b"a/file": b"content", b"large": os.urandom(3 * CHUNK_MAX)})
    restore(made, tmp_path / "destination", cache)
    found = scan(os.fsencode(tmp_path / "destination"), cache)
    assert (found.known_root, found.unknown()) == (made.root, [])
