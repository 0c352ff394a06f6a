"""Removing what an older version had put into a directory, and nothing else."""

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.workspace.pruning import prune

FILES = ["a", "d/b", "d/e/c", "f/g"]


def entries(root: Path) -> list[Entry]:
    """What is there, as a listing has it."""
    found = []
    for path in sorted(root.rglob("*"), key=lambda each: os.fsencode(each.relative_to(root)).replace(b"/", b"\0")):
        name, status = os.fsencode(path.relative_to(root)), path.lstat()
        if path.is_symlink():
            found.append(Entry(name, EntryKind.SYMLINK, 0o777, 0, 0, 0, os.fsencode(os.readlink(path))))
        elif path.is_dir():
            found.append(Entry(name, EntryKind.DIRECTORY, status.st_mode & 0o777, 0, 0, 0, b""))
        else:
            found.append(
                Entry(name, EntryKind.FILE, status.st_mode & 0o777, status.st_mtime_ns, status.st_size, 0, bytes(32))
            )
    return found


def fill(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_nothing_outside_is_touched(tmp_path: Path) -> None:
    """A directory that has become a symlink since is not followed."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    fill(root, ["d/file"])
    before = entries(root)
    fill(outside, ["file"])
    os.utime(outside / "file", ns=(0, (root / "d" / "file").stat().st_mtime_ns))
    (root / "d" / "file").unlink()
    (root / "d").rmdir()
    (root / "d").symlink_to(outside)
    pruned = prune(os.fsencode(root), before, set())
    assert (outside / "file").exists()
    assert pruned.removed == 0


def test_what_was_changed_stays_and_is_named(tmp_path: Path) -> None:
    fill(tmp_path, ["longer", "touched", "same", "folder"])
    (tmp_path / "link").symlink_to("same")
    (tmp_path / "other link").symlink_to("same")
    before = entries(tmp_path)
    (tmp_path / "longer").write_text("longer and longer")
    os.utime(tmp_path / "touched", (1, 1))
    (tmp_path / "folder").unlink()
    (tmp_path / "folder").mkdir()
    (tmp_path / "other link").unlink()
    (tmp_path / "other link").symlink_to("elsewhere")
    pruned = prune(os.fsencode(tmp_path), before, set())
    assert sorted(os.listdir(tmp_path)) == ["folder", "longer", "other link", "touched"]
    assert pruned.removed == 2
    assert [line.split(" is ")[0] for line in pruned.left] == ["touched", "other link", "longer", "folder"]


def test_there_may_be_no_directory(tmp_path: Path) -> None:
    fill(tmp_path / "root", ["file"])
    before = entries(tmp_path / "root")
    assert prune(os.fsencode(tmp_path / "nothing"), before, set()).removed == 0
    assert prune(os.fsencode(tmp_path / "root" / "file"), before, set()).removed == 0


@given(st.sets(st.sampled_from(FILES)), st.sets(st.sampled_from([*FILES, "own", "d/own", "d/e/own"])))
def test_own_files_and_those_of_the_new_version_stay(kept: set[str], edited: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fill(root, FILES)
        before = entries(root)
        for name in edited:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("somebody's own work")
        after = {(entry.path, int(entry.kind)) for entry in before if os.fsdecode(entry.path) in kept}
        prune(os.fsencode(root), before, after)
        assert {os.fsdecode(entry.path) for entry in entries(root) if entry.kind == EntryKind.FILE} == kept | edited
