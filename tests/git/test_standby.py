"""Runs of the helper by a child of the standby: the same results, and nothing lost with any of the processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.harness import forge
from tests.git.conftest import SETTINGS
from tests.git.harness import GIT, Person, leavings, person, sound
from tests.node.members_up import said

PATIENCE = 20.0


def until(true: Callable[[], bool]) -> None:
    """Waits until something is so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def carol(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Who made a network, and has a node that is up; what she publishes is at home there."""
    carol = person(tmp_path_factory.mktemp("standby"), "carol", SETTINGS)
    said(carol.home, "network", "create", "alone")
    said(carol.home, "up", "--detach")
    yield carol
    forge(carol.home, "down")


@pytest.fixture
def source(carol: Person, request: pytest.FixtureRequest) -> Path:
    """A repository of hers that is published under the test's name, with a standby for what comes."""
    source = carol.repository(f"source-{request.node.name}")
    url = f"forge://{request.node.name}"
    carol.forge("git", "publish", str(source), request.node.name)
    carol.git("remote", "add", "origin", url, at=source)
    carol.git("fetch", "origin", at=source)
    until(lambda: reached(carol) is not None)
    return source


def reached(person: Person) -> int | None:
    """The exit code of a run without an URL, if a standby did it."""
    program = "import sys; from forge_p2p.cli.standby.asking import run_elsewhere; print(run_elsewhere(['origin']))"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env=person.variables(), capture_output=True, text=True, check=True)
    return None if done.stdout.strip() == "None" else int(done.stdout)


def standby(person: Person) -> int:
    """The process that stands by."""
    told = subprocess.run(
        ["pgrep", "-o", "-f", f"standby.answering {person.home}$"], capture_output=True, text=True, check=True
    )
    return int(told.stdout)


def test_fetch_push_and_errors_are_as_without_it(carol: Person, source: Path) -> None:
    name = source.name.removeprefix("source-")
    copy = carol.folder / f"copy-{name}"
    carol.git("clone", "--quiet", f"forge://{name}", str(copy))
    new = carol.commit(copy, "file", "content")
    carol.git("push", "--quiet", "origin", "main", at=copy)
    carol.git("fetch", "--quiet", "origin", at=source)
    assert carol.git("rev-parse", "origin/main", at=source) == new
    carol.commit(source, "other", "content")
    refused = carol.attempt("push", "origin", "main", at=source)
    assert (refused.returncode, "[rejected]" in refused.stderr) == (1, True)
    missing = carol.attempt("fetch", "forge://nothing", at=copy)
    assert (missing.returncode, "nothing is published as" in missing.stderr) == (128, True)
    sound(carol, copy)


def test_umask_and_surroundings_are_the_runs_own(carol: Person, source: Path) -> None:
    name = source.name.removeprefix("source-")
    words = [*GIT, "clone", "--quiet", "--bare", f"forge://{name}", "bare"]
    subprocess.run(words, cwd=carol.folder, env=carol.variables(), umask=0o027, check=True)
    state = carol.folder / "bare" / "forge" / "packs"
    assert state.stat().st_mode & 0o777 == 0o640
    relative = {**carol.variables(), "GIT_DIR": "bare"}
    carol.commit(source, "more", "content")
    carol.git("push", "--quiet", "origin", "main", at=source)
    subprocess.run([*GIT, "fetch", "--quiet", f"forge://{name}", "main"], cwd=carol.folder, env=relative, check=True)


def test_a_run_that_is_killed_takes_its_child_along(carol: Person, source: Path) -> None:
    name = source.name.removeprefix("source-")
    read, write = os.pipe()
    helper = subprocess.Popen(
        [str(carol.bin / "git-remote-forge"), "origin", f"forge://{name}"],
        env={**carol.variables(), "GIT_DIR": str(source / ".git")},
        stdin=read,
        stdout=subprocess.PIPE,
    )
    os.write(write, b"capabilities\n")
    assert helper.stdout is not None
    assert helper.stdout.readline() == b"option\n"
    child = next(pid for pid in children(standby(carol)) if pid != helper.pid)
    helper.send_signal(signal.SIGKILL)
    helper.wait()
    until(lambda: not Path(f"/proc/{child}").exists())
    os.close(read)
    os.close(write)
    helper.stdout.close()
    assert leavings(carol, source) == []


def children(process: int) -> list[int]:
    """Processes that a process has started."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_without_it_the_run_does_everything_and_the_next_one_has_it_again(carol: Person, source: Path) -> None:
    process = standby(carol)
    os.kill(process, signal.SIGKILL)
    until(lambda: reached(carol) is None)
    carol.git("fetch", "origin", at=source)
    until(lambda: reached(carol) is not None)
    assert standby(carol) != process


def test_who_sees_other_files_does_everything_itself(carol: Person, source: Path) -> None:
    process = standby(carol)
    words = ["unshare", "--map-root-user", "--mount", *GIT, "fetch", "origin"]
    subprocess.run(words, cwd=source, env=carol.variables(), capture_output=True, check=True)
    assert standby(carol) == process


def test_garbage_harms_nobody(carol: Person, source: Path) -> None:
    process = standby(carol)
    for garbage in (b"", b"\xff" * 100, b"\0\0\0\4abcd", b"\0\0\0\4"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.connect(str(carol.home / "standby.sock"))
            stranger.sendall(garbage)
    until(lambda: not children(process))
    carol.git("fetch", "origin", at=source)
    assert standby(carol) == process


def test_it_ends_with_its_node(tmp_path: Path) -> None:
    dora = person(tmp_path, "dora", SETTINGS)
    said(dora.home, "network", "create", "alone")
    said(dora.home, "up", "--detach")
    try:
        source = dora.repository("source")
        dora.forge("git", "publish", str(source), "brief")
        dora.git("ls-remote", "forge://brief", at=source)
        until((dora.home / "standby.sock").exists)
        process = standby(dora)
    finally:
        forge(dora.home, "down")
    until(lambda: not Path(f"/proc/{process}").exists())
    assert not (dora.home / "standby.sock").exists()
