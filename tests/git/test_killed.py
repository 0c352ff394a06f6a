"""Killed at any point, a repository is sound, the same command works afterwards, and nothing is left over."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.git.harness import Person, killed_at, leavings, refs, sound

STOPS = [
    "rename:signal=KILL:when=1",
    "rename:signal=KILL:when=2",
    "rename:signal=KILL:when=3",
    "mkdir:signal=KILL:when=1",
    "flock:signal=KILL:when=1",
    "sendto:signal=KILL:when=2",
    "unlink,unlinkat:signal=KILL:when=1",
]
"""System calls of the helper, between which it does everything that lasts."""


@pytest.fixture(scope="module")
def growing(people: tuple[Person, Person], tmp_path_factory: pytest.TempPathFactory) -> tuple[Person, Path]:
    """A repository that is published as `growing`, and who may push to it."""
    ada = Person(people[0].home, tmp_path_factory.mktemp("growing"), people[0].bin)
    source = ada.repository("source")
    ada.forge("git", "publish", str(source), "growing")
    ada.git("remote", "add", "origin", "forge://growing", at=source)
    return ada, source


@pytest.mark.parametrize("stop", STOPS)
def test_a_fetch(stop: str, growing: tuple[Person, Path], bob: Person) -> None:
    ada, source = growing
    bob.git("clone", "--quiet", "forge://growing", "copy")
    new = ada.commit(source, f"fetched-{STOPS.index(stop)}", stop)
    ada.git("push", "--quiet", "origin", "main", at=source)
    copy = bob.folder / "copy"
    killed_at(bob, stop, bob.folder, "fetch", "origin")
    assert bob.attempt("fsck", "--strict", at=copy).returncode == 0
    bob.git("fetch", "origin", at=copy)
    assert bob.git("rev-parse", "origin/main", at=copy) == new
    sound(bob, copy)


@pytest.mark.parametrize("stop", STOPS[3:])
def test_a_push(stop: str, growing: tuple[Person, Path], bob: Person) -> None:
    bob.git("clone", "--quiet", "forge://growing", "copy")
    copy, branch = bob.folder / "copy", f"pushed-{STOPS.index(stop)}"
    new = bob.commit(copy, branch, stop)
    killed_at(bob, stop, bob.folder, "push", "origin", f"HEAD:refs/heads/{branch}")
    assert bob.attempt("fsck", "--strict", at=copy).returncode == 0
    bob.git("push", "origin", f"HEAD:refs/heads/{branch}", at=copy)
    assert bob.git("ls-remote", "origin", f"refs/heads/{branch}", at=copy).split()[0] == new
    bob.git("fetch", "--quiet", at=copy)
    sound(bob, copy)


def test_everything_at_any_time(growing: tuple[Person, Path], bob: Person) -> None:
    """git and its helper together, killed after less and less time."""
    ada, source = growing
    bob.git("clone", "--quiet", "forge://growing", "copy")
    copy = bob.folder / "copy"
    chance = random.Random(7)
    for number in range(6):
        ada.commit(source, f"any-{number}")
        ada.git("push", "--quiet", "origin", "main", at=source)
        running = bob.start("fetch", "origin", at=copy)
        time.sleep(chance.random() * 0.5)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        assert bob.attempt("fsck", "--strict", at=copy).returncode == 0
    bob.git("fetch", "--quiet", "origin", at=copy)
    assert refs(bob, copy, "refs/remotes/origin/main").popitem()[1] == ada.git("rev-parse", "HEAD", at=source)
    assert leavings(bob, copy) == []


def test_a_lock_of_somebody_who_lives_is_left_alone(growing: tuple[Person, Path], bob: Person) -> None:
    from forge_p2p.git.landing import Landing

    bob.git("clone", "--quiet", "forge://growing", "copy")
    packs = bob.folder / "copy" / ".git" / "objects" / "pack"
    (pack,) = packs.glob("*.pack")
    name = bytes.fromhex(pack.stem.removeprefix("pack-"))
    with Landing(os.fsencode(packs)) as one:
        kept = one.hold(name)
        with Landing(os.fsencode(packs)) as other:
            assert os.path.exists(one.folder)
            assert other.hold(name) == b"", "held already"
        assert os.path.exists(kept)
    assert leavings(bob, bob.folder / "copy") == []
