"""Shallow and partial clones, and archives: by git's own `upload-pack` over a repository of the node's."""

import fcntl
import tarfile
from contextlib import ExitStack

import pytest

from tests.git.harness import Person, sound


@pytest.fixture
def name(request: pytest.FixtureRequest, ada: Person) -> str:
    """A repository of two commits that is published under the test's name."""
    called = str(request.node.name)
    ada.forge("git", "publish", str(ada.repository("source")), called)
    return called


def test_shallow_and_then_whole(ada: Person, bob: Person, name: str) -> None:
    bob.git("clone", "--depth", "1", f"forge://{name}", "copy")
    copy = bob.folder / "copy"
    assert bob.git("rev-list", "--count", "HEAD", at=copy) == "1"
    refused = bob.attempt("push", "origin", "HEAD:refs/heads/shallow", at=copy)
    assert refused.returncode == 0 or "a shallow repository cannot be pushed from" in refused.stderr
    ada.commit(ada.folder / "source", "three")
    ada.forge("git", "publish", str(ada.folder / "source"), name)
    bob.git("fetch", "--depth", "1", at=copy)
    assert bob.git("rev-list", "--count", "origin/main", at=copy) == "1"
    bob.git("fetch", "--unshallow", at=copy)
    assert bob.git("rev-list", "--count", "origin/main", at=copy) == "3"
    sound(bob, copy)


def test_who_reads_slowly_holds_up_nobody(ada: Person, bob: Person, name: str) -> None:
    bob.git("clone", "--depth", "1", f"forge://{name}", "first")
    locks = list(bob.home.rglob("forge.lock"))
    assert locks
    with ExitStack() as stack:
        for path in locks:
            fcntl.flock(stack.enter_context(path.open()), fcntl.LOCK_SH)
        bob.git("clone", "--depth", "1", f"forge://{name}", "second")
    ada.commit(ada.folder / "source", "three")
    ada.forge("git", "publish", str(ada.folder / "source"), name)
    bob.git("clone", "--depth", "1", f"forge://{name}", "third")
    assert (bob.folder / "third" / "three").exists()


def test_partial_and_sparse(ada: Person, bob: Person, name: str) -> None:
    bob.git("clone", "--filter=blob:none", "--no-checkout", f"forge://{name}", "copy")
    copy = bob.folder / "copy"
    listed = bob.git("rev-list", "--objects", "--all", "--missing=print", at=copy)
    assert sum(line.startswith("?") for line in listed.splitlines()) == 2, "both files' contents"
    bob.git("sparse-checkout", "set", "folder", at=copy)
    bob.git("checkout", "main", at=copy)
    assert (copy / "folder" / "two").read_text() == "two\n" * 100


def test_an_archive(bob: Person, name: str) -> None:
    bob.git("archive", "--remote", f"forge://{name}", "--output", "out.tar", "HEAD", "folder")
    with tarfile.open(bob.folder / "out.tar") as archive:
        assert "folder/two" in archive.getnames()


def test_one_branch(ada: Person, bob: Person, name: str) -> None:
    bob.git("clone", "--single-branch", "--branch", "side", f"forge://{name}", "copy")
    copy = bob.folder / "copy"
    assert bob.git("for-each-ref", "--format=%(refname)", "refs/remotes", at=copy) == "refs/remotes/origin/side"
    sound(bob, copy)
