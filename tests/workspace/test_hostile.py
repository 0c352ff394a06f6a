"""Nothing outside the destination is written, whatever the snapshot says and whoever plants what meanwhile."""

import os
import threading
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root, hash_bytes
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.errors import DiskError, HostileSnapshot, UsageError
from forge_p2p.workspace import plan as planning
from forge_p2p.workspace.destination import folds_names
from forge_p2p.workspace.names import partial_key, partial_name, temporary_name
from forge_p2p.workspace.plan import plan_restore
from forge_p2p.workspace.restore import RestoreWriter
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
from tests.workspace.unprivileged import NOBODY

ROOT = Root(Kind.TREE, Link(hash_bytes(b"hostile"), 1, 0))
LARGE = bytes(3 * CHUNK_MAX) + b"end"


def file(path: bytes, content: bytes = b"planted") -> Entry:
    return Entry(path, EntryKind.FILE, 0o644, 1, len(content), 0, hash_bytes(content))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that must stay as it is: empty but for one file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"untouched")
    return outside


def is_untouched(outside: Path) -> bool:
    return [(row[0], row[4]) for row in rows(outside)] == [(b"file", b"untouched")]


@pytest.mark.parametrize(
    "entries",
    [
        [file(b"../escaped")],
        [directory(b".."), file(b"../escaped")],
        [directory(b"a"), directory(b"a/.."), file(b"a/../escaped")],
        [directory(b"."), file(b"./file")],
        [file(b"/escaped")],
        [directory(b"a"), file(b"a/")],
        [symlink(b"a", b"../outside"), file(b"a/file")],
        [file(b"a"), file(b"a/file")],
        [file(b"nowhere/file")],
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_listing_that_no_decoder_checked(tmp_path: Path, outside: Path, entries: list[Entry], there: bool) -> None:
    destination = tmp_path / "destination"
    if there:
        destination.mkdir()
    with pytest.raises(HostileSnapshot, match="refused entry"):
        plan_restore(os.fsencode(destination), ROOT, entries, no_cache(tmp_path))
    assert is_untouched(outside)
    assert sorted(os.listdir(tmp_path)) == (["destination", "outside"] if there else ["outside"])


@pytest.fixture
def made() -> Snapshot:
    files = {b"a/b/file": b"planted", b"a/large": LARGE, b"file": b"planted"}
    return small_snapshot(files, symlink(b"z", b"../outside"))


def test_symlinks_at_the_destination_are_in_the_way(tmp_path: Path, outside: Path, made: Snapshot) -> None:
    destination = tmp_path / "destination"
    destination.mkdir()
    (destination / "a").symlink_to(outside)
    (destination / "file").symlink_to(outside / "file")
    with pytest.raises(UsageError, match="destination/a and 1 more is in the way"):
        restore(made, destination, no_cache(tmp_path))
    outcome = restore(made, destination, no_cache(tmp_path), replace=True)
    assert not outcome.failures
    assert rows(destination) == rows_of(made)
    assert is_untouched(outside)


def test_symlinks_that_lead_outside_are_left_out_and_named(tmp_path: Path, made: Snapshot) -> None:
    destination = tmp_path / "destination"
    for _ in range(2):
        plan = plan_restore(os.fsencode(destination), made.root, made.entries, no_cache(tmp_path), outside_links=False)
        outcome = carry_out(plan, made, no_cache(tmp_path))
        assert [failure.path for failure in outcome.failures] == [b"z"]
        assert "outside the destination, to ../outside" in outcome.failures[0].reason
        assert rows(destination) == [row for row in rows_of(made) if row[0] != b"z"]


def test_symlinks_under_temporary_names(tmp_path: Path, outside: Path, made: Snapshot) -> None:
    destination = tmp_path / "destination"
    (destination / "a" / "b").mkdir(parents=True)
    plan = plan_restore(os.fsencode(destination), made.root, made.entries, no_cache(tmp_path))
    for path in (b"a/b/file", b"a/large", b"file", b"z"):
        parent, name = os.path.split(path)
        planted = destination / os.fsdecode(parent) / os.fsdecode(temporary_name(name))
        planted.symlink_to(outside / "file")
    with RestoreWriter(plan, no_cache(tmp_path)) as writer:
        for entry in plan.write:
            write(writer, entry, made.contents[entry.path])
        assert not writer.finish().failures
    assert rows(destination) == rows_of(made)
    assert is_untouched(outside)


def swap(path: Path, target: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to(target)


@pytest.mark.parametrize("moment", ["before writing", "before finishing"])
@pytest.mark.parametrize("there", [False, True])
def test_directory_becomes_a_symlink_meanwhile(
    tmp_path: Path, outside: Path, made: Snapshot, moment: str, there: bool
) -> None:
    destination = tmp_path / "destination"
    if there:
        (destination / "a" / "b").mkdir(parents=True, mode=0o700)
    plan = plan_restore(os.fsencode(destination), made.root, made.entries, no_cache(tmp_path))
    with RestoreWriter(plan, no_cache(tmp_path)) as writer:
        top = destination if there else tmp_path / os.fsdecode(plan.place.partial or b"")
        if moment == "before writing":
            swap(top / "a", outside)
        for entry in plan.write:
            write(writer, entry, made.contents[entry.path])
        if moment == "before finishing":
            swap(top / "a", outside)
        outcome = writer.finish()
    assert bool(outcome.failures) == (moment == "before writing" or there)
    assert is_untouched(outside)


def test_directory_that_flickers(tmp_path: Path, outside: Path) -> None:
    """Another process swaps a directory and a symlink as fast as it can, for as long as files are written there."""
    destination = tmp_path / "destination"
    (destination / "a").mkdir(parents=True)
    (destination / "symlink").symlink_to(outside)
    made = small_snapshot({b"a/%d" % number: b"planted" for number in range(300)})
    stop = threading.Event()

    def flicker() -> None:
        while not stop.is_set():
            (destination / "a").rename(destination / "directory")
            (destination / "symlink").rename(destination / "a")
            (destination / "a").rename(destination / "symlink")
            (destination / "directory").rename(destination / "a")

    plan = plan_restore(os.fsencode(destination), made.root, made.entries, no_cache(tmp_path))
    with RestoreWriter(plan, no_cache(tmp_path)) as writer:
        thread = threading.Thread(target=flicker)
        thread.start()
        for entry in plan.write:
            writer.write_small(entry, b"planted")
        stop.set()
        thread.join()
        outcome = writer.finish()
    assert is_untouched(outside)
    written = {path for path, kind, *_ in rows(destination / "a") if kind == "file" and b".forge" not in path}
    assert written.isdisjoint(os.path.basename(failure.path) for failure in outcome.failures)
    assert len(written) + len(outcome.failures) == 300


def test_partial_planted_by_somebody_else(tmp_path: Path, outside: Path, made: Snapshot) -> None:
    destination = tmp_path / "destination"
    planted = tmp_path / os.fsdecode(partial_name(b"destination", partial_key(made.root)))
    planted.symlink_to(outside)
    with pytest.raises(DiskError, match="destination"):
        restore(made, destination, no_cache(tmp_path))
    planted.unlink()
    planted.mkdir(mode=0o777)
    planted.chmod(0o777)
    (planted / "file").write_bytes(b"PLANTED")
    entry = next(entry for entry in made.entries if entry.path == b"file")
    os.utime(planted / "file", ns=(entry.mtime_ns, entry.mtime_ns))
    assert not restore(made, destination, no_cache(tmp_path)).failures
    assert rows(destination) == rows_of(made)
    assert is_untouched(outside)


def test_partial_of_another_user(tmp_path: Path, made: Snapshot) -> None:
    planted = tmp_path / os.fsdecode(partial_name(b"destination", partial_key(made.root)))
    planted.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(planted, NOBODY, NOBODY)
        with pytest.raises(UsageError, match="is somebody else's"):
            restore(made, tmp_path / "destination", no_cache(tmp_path))
        os.chown(planted, 0, 0)
    assert not restore(made, tmp_path / "destination", no_cache(tmp_path)).failures


def test_destination_that_is_a_file(tmp_path: Path, outside: Path, made: Snapshot) -> None:
    for destination in (outside / "file", outside / "file" / "below"):
        with pytest.raises(UsageError, match="file is not a directory"):
            restore(made, destination, no_cache(tmp_path))
    assert is_untouched(outside)


COLLISIONS: list[tuple[list[bytes], bool]] = [
    ([b"README", b"readme"], True),
    ([b"a/x", b"A/y"], True),
    (["\u00e9".encode(), "e\u0301".encode()], True),
    (["stra\u00dfe".encode(), b"STRASSE"], True),
    ([b"a", b"b"], False),
    ([b"a/x", b"b/x"], False),
    ([b"\xff", b"\xfe"], False),
]


@pytest.mark.parametrize(("paths", "collide"), COLLISIONS)
def test_names_that_are_one_where_case_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[bytes], collide: bool
) -> None:
    made = small_snapshot(dict.fromkeys(paths, b"content"))
    restore(made, tmp_path / "tells them apart", no_cache(tmp_path))
    assert rows(tmp_path / "tells them apart") == rows_of(made)
    monkeypatch.setattr(planning, "folds_names", lambda directory: True)
    if collide:
        with pytest.raises(HostileSnapshot, match=r"refused entry .* is the same name as"):
            restore(made, tmp_path / "does not", no_cache(tmp_path))
        assert not (tmp_path / "does not").exists()
    else:
        assert not restore(made, tmp_path / "does not", no_cache(tmp_path)).failures


def test_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert folds_names(descriptor) is False
    finally:
        os.close(descriptor)
    assert os.listdir(tmp_path) == []
