"""The home of names, or whoever has the packs, is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import forge
from tests.git.conftest import SETTINGS
from tests.git.harness import Person, person, sound
from tests.node.members_up import said

HASTY = SETTINGS.replace("dial_timeout = 5", "dial_timeout = 2\nstall_timeout = 1\nreconnect_timeout = 1")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Person, Person]]:
    """Who made a network, up, and a member whose node is up only while a command runs."""
    far, near = (person(tmp_path, name, HASTY) for name in ("far", "near"))
    said(far.home, "network", "create", "team")
    said(far.home, "up", "--detach")
    said(near.home, "network", "join", far.forge("network", "invite", "--role", "writer"))
    yield far, near
    forge(far.home, "down")


def test_what_is_known_is_used_and_said(pair: tuple[Person, Person]) -> None:
    far, near = pair
    far.forge("git", "publish", str(far.repository("source")), "proj")
    near.git("clone", "--quiet", "forge://proj", "copy")
    said(far.home, "down")
    copy = near.folder / "copy"
    fetched = near.attempt("fetch", at=copy)
    assert fetched.returncode == 0, fetched.stderr
    assert "cannot be reached" in fetched.stderr
    near.git("clone", "--quiet", "forge://proj", "second")
    sound(near, near.folder / "second")
    near.commit(copy, "three")
    refused = near.attempt("push", "origin", "main", at=copy)
    assert refused.returncode != 0
    assert "forge: error: the home of 'proj'" in refused.stderr
    sound(near, copy)


def test_what_is_not_known_fails_clearly_and_leaves_nothing(pair: tuple[Person, Person]) -> None:
    far, near = pair
    far.forge("git", "publish", str(far.repository("source")), "proj")
    said(far.home, "down")
    failed = near.attempt("clone", "forge://proj", "copy")
    assert failed.returncode == 128
    assert "could be reached" in failed.stderr or "cannot be reached" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (near.folder / "copy").exists()
