"""Folders that share a store and a name: edited, synced and disturbed at random, and nothing is ever lost."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forge_p2p.content.folding import fold
from forge_p2p.content.link import Root
from forge_p2p.errors import DiskError
from forge_p2p.ids import NetworkId
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, ignore_progress
from forge_p2p.node.syncing import folder as folders
from forge_p2p.node.syncing.folder import Folder, Merged, Mine
from forge_p2p.node.syncing.merging import Merging
from forge_p2p.node.syncing.state import State
from forge_p2p.store.base import Keep
from forge_p2p.workspace.ledger import Outcome
from tests.node.harness import CONFIG, contents, noise
from tests.workspace.unprivileged import run_unprivileged

NETWORK = NetworkId(bytes(32))


@dataclass
class Name:
    """What everybody syncs with; a record is put after the one that was merged with, or not at all."""

    node: LocalNode
    root: Root | None = None

    def put(self, merged: Root, after: Root | None) -> bool:
        if self.root != after:
            return False
        self.root = merged
        self.node.store.pin("name", merged, Keep.KEPT)
        return True


@dataclass
class Replica:
    """One folder."""

    name: Name
    path: Path
    folder: Folder = field(init=False)

    def __post_init__(self) -> None:
        path = os.fsencode(self.path)
        self.folder = Folder(self.name.node, path, State(self.name.node.home, NETWORK, "name", path))

    def take(self) -> Mine:
        return self.folder.take(ignore_progress)

    def merge(self, mine: Mine) -> tuple[Merged, Root | None]:
        theirs = self.name.root
        return Merging(self.folder, mine, self.path.name, theirs, "another").merged(), theirs

    def sync(self) -> Outcome:
        mine = self.take()
        merged, theirs = self.merge(mine)
        assert self.name.put(merged.root, theirs)
        return self.folder.apply(mine, merged)


@pytest.fixture
def name(tmp_path: Path) -> Iterator[Name]:
    with LocalNode(Home(tmp_path / "home"), CONFIG) as node:
        yield Name(node)


def replicas(name: Name, tmp_path: Path, count: int) -> list[Replica]:
    return [Replica(name, tmp_path / owner) for owner in ("ada", "bob", "cleo")[:count]]


def test_nothing_in_sight_is_written_before_all_content_is_here(name: Name, tmp_path: Path) -> None:
    """Of directories that are new to the scan, those that are there all the same are left to the guard."""
    ada, bob = replicas(name, tmp_path, 2)
    (ada.path / "there").mkdir(parents=True)
    (ada.path / "new" / "deep").mkdir(parents=True)
    for each in ("top", "there/file", "there/empty", "new/file", "new/deep/file", "new/deep/empty"):
        (ada.path / each).write_text("" if "empty" in each else f"{each} by ada")
    ada.sync()
    mine = bob.take()
    merged, theirs = bob.merge(mine)
    (bob.path / "there").mkdir()
    (bob.path / "there" / "file").write_text("by bob")
    before = contents(bob.path)
    writer = bob.folder.stage(mine, merged)
    assert writer is not None
    with writer:
        assert {entry.path for entry in writer.plan.write} == {b"new/file", b"new/deep/file"}
        writer.write_batch([(entry, entry.path + b" by ada") for entry in writer.plan.write])
    shown = {path: seen for path, seen in contents(bob.path).items() if b".forge-" not in path}
    assert shown == before
    assert name.put(merged.root, theirs)
    outcome = bob.folder.apply(mine, merged)
    assert {failure.path for failure in outcome.failures} == {b"there/file"}
    assert (bob.path / "there" / "file").read_text() == "by bob"
    assert (bob.path / "new" / "deep" / "file").read_text() == "new/deep/file by ada"
    bob.sync()
    ada.sync()
    assert contents(ada.path) == contents(bob.path)
    assert not [path for path in contents(bob.path) if b".forge-" in path]


def test_a_large_file_takes_what_stays_from_the_one_that_stands_there(name: Name, tmp_path: Path) -> None:
    """The store's copy of what stays has gone bad since, which only those notice who have no other."""
    ada, bob, carol = replicas(name, tmp_path, 3)
    ada.path.mkdir()
    old = noise(1, 6_000_000)
    (ada.path / "large").write_bytes(old)
    ada.sync()
    bob.sync()
    (ada.path / "large").write_bytes(old[:3_000_000] + b"put in" + old[3_000_000:])
    ada.sync()
    _rot(name.node.home.path / "store", old[500:900])
    assert not bob.sync().failures
    assert contents(ada.path) == contents(bob.path)
    assert [failure.path for failure in carol.sync().failures] == [b"large"]


def _rot(store: Path, content: bytes) -> None:
    """Changes a byte of `content` wherever it is kept."""
    found = [path for path in store.rglob("*") if path.is_file() and content in path.read_bytes()]
    assert found
    for path in found:
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.seek(path.read_bytes().index(content))
            file.write(bytes([content[0] ^ 1]))


def test_an_edit_while_it_is_brought_up_to_date_stays(name: Name, tmp_path: Path) -> None:
    """Somebody writes, deletes and makes files between the scan and the writing."""
    ada, bob = replicas(name, tmp_path, 2)
    ada.path.mkdir()
    for each in ("edited", "deleted", "taken", "touched"):
        (ada.path / each).write_text(f"{each} base")
    ada.sync()
    bob.sync()
    for each in ("edited", "deleted", "taken", "touched", "made"):
        (ada.path / each).write_text(f"{each} by ada")
    ada.sync()
    mine = bob.take()
    merged, theirs = bob.merge(mine)
    assert name.put(merged.root, theirs)
    (bob.path / "edited").write_text("edited by bob")
    (bob.path / "deleted").unlink()
    (bob.path / "made").write_text("made by bob")
    outcome = bob.folder.apply(mine, merged)
    assert {failure.path for failure in outcome.failures} == {b"edited", b"deleted", b"made"}
    assert (bob.path / "taken").read_text() == "taken by ada"
    assert (bob.path / "edited").read_text() == "edited by bob"
    assert (bob.path / "made").read_text() == "made by bob"
    bob.sync()
    ada.sync()
    assert contents(ada.path) == contents(bob.path)
    assert {path.read_text() for path in ada.path.iterdir()} == {
        *("edited by ada", "edited by bob", "made by ada", "made by bob", "deleted by ada", "taken by ada"),
        "touched by ada",
    }


def test_a_deletion_spares_what_was_edited_meanwhile(name: Name, tmp_path: Path) -> None:
    ada, bob = replicas(name, tmp_path, 2)
    (ada.path / "folder").mkdir(parents=True)
    (ada.path / "folder" / "file").write_text("base")
    (ada.path / "folder" / "other").write_text("other")
    ada.sync()
    bob.sync()
    for each in ("file", "other"):
        (ada.path / "folder" / each).unlink()
    (ada.path / "folder").rmdir()
    ada.sync()
    mine = bob.take()
    merged, theirs = bob.merge(mine)
    assert name.put(merged.root, theirs)
    (bob.path / "folder" / "file").write_text("edited")
    bob.folder.apply(mine, merged)
    assert os.listdir(bob.path / "folder") == ["file"]
    bob.sync()
    ada.sync()
    assert (ada.path / "folder" / "file").read_text() == "edited"


def test_an_edit_of_something_else_than_was_merged_is_no_conflict_later(name: Name, tmp_path: Path) -> None:
    """What was left undone is known: it is not taken for an edit."""
    ada, bob = replicas(name, tmp_path, 2)
    ada.path.mkdir()
    for each in ("a", "b"):
        (ada.path / each).write_text("base")
    ada.sync()
    bob.sync()
    (ada.path / "a").write_text("second")
    (ada.path / "b").write_text("second")
    ada.sync()
    mine = bob.take()
    merged, theirs = bob.merge(mine)
    assert name.put(merged.root, theirs)
    os.utime(bob.path / "a", ns=(5, 5))
    assert [failure.path for failure in bob.folder.apply(mine, merged).failures] == [b"a"]
    (ada.path / "b").write_text("third")
    ada.sync()
    bob.sync()
    assert {each: (bob.path / each).read_text() for each in os.listdir(bob.path)} == {"a": "second", "b": "third"}


def test_kinds_change_places(name: Name, tmp_path: Path) -> None:
    ada, bob = replicas(name, tmp_path, 2)
    (ada.path / "folder" / "inner").mkdir(parents=True)
    (ada.path / "folder" / "inner" / "file").write_text("1")
    (ada.path / "file").write_text("2")
    (ada.path / "link").symlink_to("file")
    ada.sync()
    bob.sync()
    (ada.path / "folder" / "inner" / "file").unlink()
    (ada.path / "folder" / "inner").rmdir()
    (ada.path / "folder").rmdir()
    (ada.path / "folder").write_text("3")
    (ada.path / "file").unlink()
    (ada.path / "file").mkdir()
    (ada.path / "file" / "below").write_text("4")
    (ada.path / "link").unlink()
    (ada.path / "link").write_text("5")
    ada.sync()
    assert not bob.sync().failures
    assert contents(bob.path) == contents(ada.path)


def test_nothing_is_done_without_the_disk(name: Name, tmp_path: Path) -> None:
    """Where it cannot be written down how far a folder is, nothing in it is touched."""
    ada, bob = replicas(name, tmp_path, 2)
    ada.path.mkdir()
    (ada.path / "file").write_text("1")
    ada.sync()
    bob.path.mkdir()
    (tmp_path / "home" / "sync").rename(tmp_path / "away")
    (tmp_path / "home" / "sync").write_text("in the way")
    with pytest.raises(DiskError):
        bob.sync()
    assert not list(bob.path.iterdir())


def test_one_directory_of_another_user_does_not_stop_the_rest(tmp_path: Path) -> None:
    """What cannot be read was not deleted, what cannot be written is named, and both are made good later."""
    (tmp_path / "ada" / "closed").mkdir(parents=True)
    (tmp_path / "ada" / "shut").mkdir()
    for number in range(200):
        (tmp_path / "ada" / f"{number}").write_text("base")
    for name in ("closed/file", "shut/file"):
        (tmp_path / "ada" / name).write_text("base")

    def sync(edits: bool) -> None:
        with LocalNode(Home(tmp_path / "home"), CONFIG) as node:
            ada, bob = replicas(Name(node, _pinned(node) if edits else None), tmp_path, 2)
            if edits:
                for path in ("1", "2", "closed/file", "shut/file"):
                    (ada.path / path).write_text("edited")
            ada.sync()
            mine = bob.take()
            merged, theirs = bob.merge(mine)
            assert bob.name.put(merged.root, theirs)
            outcome = bob.folder.apply(mine, merged)
            failed = {failure.path for failure in [*mine.problems, *outcome.failures]}
            assert failed == ({b"closed", b"shut/file"} if edits else set())
            assert (bob.path / "1").read_text() == (bob.path / "2").read_text() == ("edited" if edits else "base")

    _import_all(tmp_path / "before")
    run_unprivileged(lambda: sync(False), tmp_path)
    (tmp_path / "bob" / "closed").chmod(0o700)
    run_unprivileged(lambda: sync(True), tmp_path, tmp_path / "bob" / "closed", tmp_path / "bob" / "shut")
    assert (tmp_path / "bob" / "closed" / "file").read_text() == "base"
    (tmp_path / "bob" / "closed").chmod(0o755)
    with LocalNode(Home(tmp_path / "home"), CONFIG) as node:
        ada, bob = replicas(Name(node, _pinned(node)), tmp_path, 2)
        assert not bob.sync().failures
        assert not ada.sync().failures
        assert contents(bob.path) == contents(ada.path)


def test_a_folder_that_does_not_tell_case(name: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What two names were elsewhere gets two names here, and then there: nothing overwrites the other."""
    ada, bob = replicas(name, tmp_path, 2)
    for path in ("Readme", "README", "Docs/a", "docs/b", "docs/A"):
        (ada.path / path).parent.mkdir(parents=True, exist_ok=True)
        (ada.path / path).write_text(path)
    ada.sync()
    monkeypatch.setattr(folders, "folds_names", lambda directory: True)
    assert not bob.sync().failures
    found = [os.path.relpath(path, bob.path) for path in bob.path.rglob("*")]
    assert len({fold(os.fsencode(path)) for path in found}) == len(found)
    assert versions(bob.path) == versions(ada.path)
    monkeypatch.undo()
    ada.sync()
    assert contents(ada.path) == contents(bob.path)


def test_a_link_that_leads_outside_is_named_and_stays_where_it_was_made(name: Name, tmp_path: Path) -> None:
    ada, bob = replicas(name, tmp_path, 2)
    ada.path.mkdir()
    (ada.path / "link").symlink_to("/etc/passwd")
    (ada.path / "file").write_text("file")
    ada.sync()
    for _ in range(2):
        assert [failure.path for failure in bob.sync().failures] == [b"link"]
    ada.sync()
    assert (ada.path / "link").is_symlink()
    assert os.listdir(bob.path) == ["file"]


def _pinned(node: LocalNode) -> Root:
    return next(pin.root for pin in node.store.pins() if pin.name == "name")


def _import_all(folder: Path) -> None:
    """Another user may have no right to read the packages that are imported late."""
    with LocalNode(Home(folder / "home"), CONFIG) as node:
        for each in replicas(Name(node), folder, 2):
            each.path.mkdir(parents=True)
            (each.path / each.path.name).write_text("content")
            each.sync()
    with LocalNode(Home(folder / "home"), CONFIG) as node:
        _pinned(node)


# At random


class Editors:
    """People at work. Every content is written once, so that it is known whether somebody meant it to go."""

    def __init__(self, seed: int, replicas: list[Replica]) -> None:
        self.chance = random.Random(seed)
        self.replicas = replicas
        self.alive: set[bytes] = set()
        self._written = 0

    def edit(self, replica: Replica) -> None:
        path = replica.path / self.chance.choice(["a", "b.txt", "d/a", "d/b", "d/e/a", "d"])
        replica.path.mkdir(exist_ok=True)
        if self.chance.random() < 0.3:
            self._remove(path)
            return
        for parent in reversed(path.relative_to(replica.path).parents[:-1]):
            if (replica.path / parent).is_file():
                self._remove(replica.path / parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._remove(path)
        if self.chance.random() < 0.1:
            path.mkdir()
            return
        self._written += 1
        content = b"content %d" % self._written
        path.write_bytes(content)
        path.chmod(self.chance.choice([0o644, 0o755]))
        self.alive.add(content)

    def _remove(self, path: Path) -> None:
        """As a person does who sees what is there."""
        if path.is_dir():
            for child in list(path.iterdir()):
                self._remove(child)
            path.rmdir()
        elif path.exists():
            self.alive.discard(path.read_bytes())
            path.unlink()

    def disturbed_sync(self, replica: Replica) -> None:
        """A round in the middle of which somebody edits, somebody else is faster, or all ends."""
        mine = replica.take()
        if self.chance.random() < 0.3:
            self.edit(replica)
        merged, theirs = replica.merge(mine)
        if self.chance.random() < 0.2:
            self.chance.choice(self.replicas).sync()
        if not replica.name.put(merged.root, theirs):
            return
        if self.chance.random() < 0.2:
            return
        if self.chance.random() < 0.4:
            self.edit(replica)
        replica.folder.apply(mine, merged)


def versions(root: Path) -> set[bytes]:
    return {path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(12, 400))])
def test_random_editors_converge_and_lose_nothing(name: Name, tmp_path: Path, seed: int) -> None:
    all_of_them = replicas(name, tmp_path, 3)
    editors = Editors(seed, all_of_them)
    for _ in range(40):
        replica = editors.chance.choice(all_of_them)
        if editors.chance.random() < 0.6:
            editors.edit(replica)
        else:
            editors.disturbed_sync(replica)
    for _ in range(3):
        for replica in all_of_them:
            assert not replica.sync().failures
    assert contents(all_of_them[0].path) == contents(all_of_them[1].path) == contents(all_of_them[2].path)
    assert editors.alive <= versions(all_of_them[0].path)
