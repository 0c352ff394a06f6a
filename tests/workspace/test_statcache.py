"""The stat cache gives back what it was given, or nothing; it never gives back anything else."""

import os
import stat
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.ids import Hash
from forge_p2p.workspace import statcache
from forge_p2p.workspace.found import Found
from forge_p2p.workspace.statcache import Seen, StatCache, boot_id, settled, settled_after_restore

SECOND = 1_000_000_000
ROOT = Root(Kind.TREE, Link(Hash(bytes(range(32))), 1 << 40, 3))
PATHS = st.binary(max_size=40).filter(lambda path: b"\0" not in path)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
UINT64 = st.integers(0, (1 << 64) - 1)
ITEMS = st.builds(
    Found,
    path=PATHS,
    st_mode=st.integers(0, 0xFFFF),
    size=st.integers(0, 1 << 50),
    mtime_ns=INT64,
    ctime_ns=INT64,
    inode=UINT64,
    device=UINT64,
    level=st.integers(0, 6),
    payload=st.binary(max_size=64),
)
FILE = Found(b"a/file", stat.S_IFREG | 0o644, 5, 17 * SECOND + 1, 18 * SECOND + 1, 3, 4, 0, bytes(32))


@given(st.lists(ITEMS, max_size=20, unique_by=lambda item: item.path), st.sampled_from([None, ROOT]), PATHS)
def test_gives_back_what_was_saved(items: list[Found], root: Root | None, path: bytes) -> None:
    with TemporaryDirectory() as folder:
        cache = StatCache(Path(folder) / "made" / "when needed")
        cache.save(path, items, root)
        assert cache.load(path) == Seen({item.path: item for item in items}, root, "")
        assert cache.load(path + b"/other") == Seen()


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    cache = StatCache(tmp_path)
    cache.save(b"/root", [FILE, Found(b"link", stat.S_IFLNK | 0o777, payload=b"target")], ROOT)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert cache.load(b"/root") == Seen(), position
        file.write_bytes(whole[:position])
        assert cache.load(b"/root") == Seen(), position
    file.write_bytes(whole)
    assert cache.load(b"/root").root == ROOT


def test_record_of_another_root_is_not_taken(tmp_path: Path) -> None:
    cache = StatCache(tmp_path)
    cache.save(b"/one", [FILE], ROOT)
    (one,) = tmp_path.iterdir()
    cache.save(b"/two", [], None)
    (two,) = set(tmp_path.iterdir()) - {one}
    one.replace(two)
    assert cache.load(b"/two") == Seen()


def test_what_was_not_forced_to_disk_is_trusted_until_the_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = StatCache(tmp_path)
    folder = Found(b"a", stat.S_IFDIR | 0o755)
    cache.save(b"/root", [folder, FILE], ROOT, boot_id())
    assert cache.load(b"/root") == Seen({b"a": folder, FILE.path: FILE}, ROOT, boot_id())
    monkeypatch.setattr(statcache, "boot_id", lambda: "the next run")
    assert cache.load(b"/root") == Seen({b"a": folder, FILE.path: FILE.without_link()}, None, "")


def test_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = StatCache(tmp_path / "file" / "cache")
    cache.save(b"/root", [FILE], ROOT)
    assert cache.load(b"/root") == Seen()


def test_writers_at_once_leave_one_whole_record(tmp_path: Path) -> None:
    cache = StatCache(tmp_path)
    sets = [[Found(b"%d/%d" % (i, j), stat.S_IFREG) for j in range(i * 50)] for i in range(6)]
    threads = [threading.Thread(target=cache.save, args=(b"/root", items, None)) for items in sets for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(cache.load(b"/root").items.values()) in sets
    assert len(os.listdir(tmp_path)) == 1


def test_roots_not_used_for_longest_are_forgotten(tmp_path: Path) -> None:
    cache = StatCache(tmp_path)
    for number in range(70):
        cache.save(b"/%d" % number, [FILE], ROOT)
        newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, ns=(number * SECOND, number * SECOND))
    assert len(os.listdir(tmp_path)) == 64
    assert cache.load(b"/0") == Seen()
    assert cache.load(b"/69").root == ROOT


def test_young_files_are_read_again() -> None:
    start = 100 * SECOND
    fine = Found(b"fine", stat.S_IFREG, ctime_ns=start - 60_000_001, payload=bytes(32))
    young = Found(b"young", stat.S_IFREG, ctime_ns=start - 40_000_001, payload=bytes(32))
    later = Found(b"later", stat.S_IFREG, ctime_ns=start + SECOND, payload=bytes(32))
    coarse = Found(b"coarse", stat.S_IFREG, ctime_ns=start - SECOND, payload=bytes(32))
    old = Found(b"old", stat.S_IFREG, ctime_ns=start - 3 * SECOND, payload=bytes(32))
    kept = [item.path for item in settled([fine, young, later, coarse, old], start) if item.payload]
    assert kept == [b"fine", b"old"]


def test_restored_file_is_told_from_a_later_write_by_its_time() -> None:
    whole_seconds = Found(b"a", stat.S_IFREG, mtime_ns=99 * SECOND, ctime_ns=100 * SECOND, payload=bytes(32))
    nanoseconds = Found(b"b", stat.S_IFREG, mtime_ns=99 * SECOND + 1, ctime_ns=100 * SECOND, payload=bytes(32))
    long_ago = Found(b"c", stat.S_IFREG, mtime_ns=9 * SECOND, ctime_ns=100 * SECOND, payload=bytes(32))
    kept = [item.path for item in map(settled_after_restore, [whole_seconds, nanoseconds, long_ago]) if item.payload]
    assert kept == [b"b", b"c"]
