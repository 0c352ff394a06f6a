"""What is done once git has gone: by a process that the helper leaves behind, and that waits for git's end."""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forge_p2p.cli.git_behind import LOCK, NO, PROGRAM, YES, git_above
from tests.git.harness import GIT, Person, sound
from tests.git.lies import lie, nothing, swap_offsets

PATIENCE = 30.0


def until_checked(copy: Path) -> None:
    """Until nothing is left that is to be checked."""
    end = time.monotonic() + PATIENCE
    while (copy / ".git" / "forge" / "unverified").exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_index_that_lies_is_made_anew_in_the_background(ada: Person, bob: Person) -> None:
    lie(ada, "behind", ada.repository("source"), swap_offsets)
    bob.attempt("clone", "--no-checkout", "forge://behind", "copy", GIT_CONFIG_VALUE_0="background")
    until_checked(bob.folder / "copy")
    sound(bob, bob.folder / "copy")


def test_what_was_renamed_meanwhile_is_checked(ada: Person, bob: Person) -> None:
    lie(ada, "renamed", ada.repository("source"), nothing)
    bob.git("clone", "forge://renamed", "before", GIT_CONFIG_VALUE_0="background")
    (bob.folder / "before").rename(bob.folder / "after")
    until_checked(bob.folder / "after")
    sound(bob, bob.folder / "after")


@pytest.mark.parametrize("when", ["background", "now"])
def test_who_wants_git_to_find_no_bare_repositories_has_his_checked(when: str, ada: Person, bob: Person) -> None:
    """To git a `.git` is one of those, seen from within."""
    lie(ada, f"explicit-{when}", ada.repository("source"), swap_offsets)
    (bob.folder / ".gitconfig").write_text("[safe]\n\tbareRepository = explicit\n")
    bob.attempt("clone", "--no-checkout", f"forge://explicit-{when}", "copy", GIT_CONFIG_VALUE_0=when)
    until_checked(bob.folder / "copy")
    sound(bob, bob.folder / "copy")


def test_of_many_checks_at_once_one_works(ada: Person, bob: Person) -> None:
    lie(ada, "many", ada.repository("source"), nothing)
    bob.git("clone", "forge://many", "copy")
    with (bob.home / LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        words = [sys.executable, "-m", PROGRAM, str(bob.home), NO, YES, ""]
        with subprocess.Popen(words, cwd=bob.folder / "copy" / ".git", env=bob.variables()) as behind:
            end = time.monotonic() + PATIENCE
            while not any(waits(behind.pid, line) for line in Path("/proc/locks").read_text().splitlines()):
                assert time.monotonic() < end
                time.sleep(0.02)
            assert (bob.folder / "copy" / ".git" / "forge" / "unverified").exists()
            fcntl.flock(other, fcntl.LOCK_UN)
    assert behind.returncode == 0
    assert not (bob.folder / "copy" / ".git" / "forge" / "unverified").exists()


def test_what_is_removed_meanwhile_does_not_come_back(ada: Person, bob: Person) -> None:
    """Whoever clones to the same place again would find something there."""
    lie(ada, "removed", ada.repository("source"), nothing)
    bob.git("clone", "forge://removed", "copy")
    copy, real = bob.folder / "copy", shutil.which("git")
    (bob.folder / "bin").mkdir()
    git = bob.folder / "bin" / "git"
    git.write_text(f'#!/bin/sh\ncase "$*" in *index-pack*) rm -rf {copy};; esac\nexec {real} "$@"\n')
    git.chmod(0o755)
    words = [sys.executable, "-m", PROGRAM, str(bob.home), NO, YES, ""]
    variables = {**bob.variables(), "PATH": f"{git.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=copy / ".git", env=variables, capture_output=True, text=True, check=False)
    assert not copy.exists()
    assert done.returncode
    assert "Traceback" not in done.stderr


def waits(process: int, lock: str) -> bool:
    """Whether a line of /proc/locks is of this process, waiting."""
    return {"->", "FLOCK", str(process)} <= set(lock.split())


def test_the_outermost_git_is_waited_for() -> None:
    inner = "!exec git -c alias.inner='!echo $$; exec sleep 1000' inner"
    git = subprocess.Popen([*GIT, "-c", f"alias.outer={inner}", "outer"], stdout=subprocess.PIPE, process_group=0)
    assert git.stdout is not None
    above = git_above(int(git.stdout.readline()))
    assert above is not None
    ended = select.poll()
    ended.register(above, select.POLLIN)
    assert not ended.poll(0)
    git.kill()
    assert ended.poll(PATIENCE * 1000)
    os.close(above)
    os.killpg(git.pid, signal.SIGKILL)
    git.communicate()


def test_where_no_git_is_above_nothing_is_waited_for() -> None:
    assert git_above(os.getpid()) is None
    assert git_above(0) is None
