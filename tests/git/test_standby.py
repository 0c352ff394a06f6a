"""Runs of the helper by a child of the standby: the same results, and nothing lost with any of the processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.harness import ROOT, forge
from tests.git.conftest import SETTINGS
from tests.git.harness import GIT, Person, leavings, person, programs, sound
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


class Watched:
    """Programs as installed, of which the one that can do everything leaves a mark."""

    def __init__(self, person: Person, source: Path, folder: Path) -> None:
        self.bin = programs(folder / "bin")
        self._person = person
        self._source = source
        self.mark = folder / "mark"
        program = self.bin / "forge-git-remote"
        first, rest = program.read_text().split("\n", 1)
        program.write_text(f"{first}\nopen({str(self.mark)!r}, 'w').close()\n{rest}")

    def hands_over(self, **more: str) -> bool:
        """Whether a fetch does without it."""
        self.mark.unlink(missing_ok=True)
        variables = {**self._person.variables(), "PATH": f"{self.bin}:{os.environ['PATH']}", **more}
        words = [*GIT, "fetch", "origin"]
        subprocess.run(words, cwd=self._source, env=variables, capture_output=True, timeout=PATIENCE, check=True)
        return not self.mark.exists()


@pytest.fixture
def watched(carol: Person, source: Path, tmp_path: Path) -> Watched:
    return Watched(carol, source, tmp_path)


def test_a_run_is_handed_over_without_python(watched: Watched) -> None:
    assert watched.hands_over()
    assert not watched.hands_over(FORGE_STANDBY="0")


@pytest.mark.parametrize("variable", ["PERL5OPT", "PERL_UNICODE"])
def test_perl_is_left_alone_where_it_is_told_to_be_another(variable: str, watched: Watched) -> None:
    assert not watched.hands_over(**{variable: "0"})


def test_who_would_find_other_code_does_everything_itself(watched: Watched, tmp_path: Path) -> None:
    assert not watched.hands_over(PYTHONPATH=str(tmp_path))
    assert watched.hands_over()


def test_a_program_of_another_python_does_everything_itself(watched: Watched) -> None:
    program = watched.bin / "forge-git-remote"
    other = watched.bin / "python"
    other.symlink_to(sys.executable)
    program.write_text(program.read_text().replace(sys.executable, str(other), 1))
    assert not watched.hands_over(PYTHONHOME=sys.base_prefix, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))


def test_without_perl_all_is_the_same(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "git").symlink_to(str(shutil.which("git")))
    assert not watched.hands_over(PATH=f"{watched.bin}:{tmp_path}")


def test_a_link_to_the_helper_leads_to_what_is_beside_it(watched: Watched, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "git-remote-forge").symlink_to(watched.bin / "git-remote-forge")
    path = f"{linked}:{os.environ['PATH']}"
    assert watched.hands_over(PATH=path)
    assert not watched.hands_over(PATH=path, FORGE_STANDBY="0")


def test_nobody_is_waited_for_who_does_not_answer(carol: Person, watched: Watched) -> None:
    process = standby(carol)
    os.kill(process, signal.SIGSTOP)
    until(lambda: state(process) == "T")  # and starts no more
    all_of_it = [process, *children(process)]
    for each in all_of_it[1:]:
        os.kill(each, signal.SIGSTOP)
    try:
        assert not watched.hands_over()
    finally:
        for each in all_of_it:
            os.kill(each, signal.SIGCONT)
    until(lambda: len(children(process)) == 1)


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
    """Processes that a process has started, the oldest first; the last one of a standby waits for a run."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def state(process: int) -> str:
    """As `ps` has it."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


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


def test_a_run_need_not_wait_for_those_that_came_before(carol: Person, watched: Watched) -> None:
    with ExitStack() as opened:
        for _ in range(3):  # each has a child to itself, and asks nothing of it
            idle = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            idle.connect(str(carol.home / "standby.sock"))
        assert watched.hands_over()


def test_garbage_harms_nobody(carol: Person, source: Path) -> None:
    process = standby(carol)
    for garbage in (b"", b"\xff" * 100, b"\0\0\0\4abcd", b"\0\0\0\4"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.connect(str(carol.home / "standby.sock"))
            stranger.sendall(garbage)
    until(lambda: len(children(process)) == 1)
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


PASSWORD = """#!/bin/sh
cat /proc/self/status > "$SEEN/status"
readlink /proc/self/ns/net > "$SEEN/net"
(: < /dev/tty) && touch "$SEEN/terminal"
exit 1
"""
"""In the place of ssh: what the command that talks to an upstream may, sees and can ask."""


@pytest.fixture
def seen(carol: Person, source: Path, tmp_path: Path) -> tuple[Path, list[str], dict[str, str]]:
    """A folder in which a command that turns upstream says what it is, the command, and its environment."""
    carol.git("config", "forge.nothing.upstream", "ssh://nowhere.invalid/it", at=source)
    ssh = tmp_path / "ssh"
    ssh.write_text(PASSWORD)
    ssh.chmod(0o755)
    variables = {**carol.variables(), "GIT_SSH_COMMAND": str(ssh), "SEEN": str(tmp_path)}
    return tmp_path, [*GIT, "-C", str(source), "fetch", "forge://nothing"], variables


def test_nobody_gets_more_than_he_may(seen: tuple[Path, list[str], dict[str, str]]) -> None:
    folder, words, variables = seen
    limited = ["setpriv", "--no-new-privs", *words]
    subprocess.run(limited, env=variables, capture_output=True, timeout=PATIENCE, check=False)
    assert "NoNewPrivs:\t1\n" in (folder / "status").read_text()


def test_who_has_another_network_keeps_it(seen: tuple[Path, list[str], dict[str, str]]) -> None:
    folder, words, variables = seen
    apart = ["unshare", "--map-root-user", "--net", *words]
    subprocess.run(apart, env=variables, capture_output=True, timeout=PATIENCE, check=False)
    assert (folder / "net").read_text().strip() != os.readlink("/proc/self/ns/net")


def at_a_terminal(words: list[str], variables: dict[str, str]) -> None:
    """Runs a command to its end, with a controlling terminal."""
    above, below = os.openpty()
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY); os.execvp(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", take, *words],
        stdin=below,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=variables,
        start_new_session=True,
    )
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(above)
        os.close(below)


def test_an_upstream_can_ask_for_a_password(seen: tuple[Path, list[str], dict[str, str]]) -> None:
    folder, words, variables = seen
    at_a_terminal(words, variables)
    assert (folder / "terminal").exists()


def test_at_a_terminal_runs_are_handed_over_but_for_an_upstream(carol: Person, source: Path, watched: Watched) -> None:
    variables = {**carol.variables(), "PATH": f"{watched.bin}:{os.environ['PATH']}"}
    for name, handed_over in (("nothing", True), (source.name.removeprefix("source-"), False)):
        carol.git("config", f"forge.{name}.upstream", "ssh://nowhere.invalid/it", at=source)
        watched.mark.unlink(missing_ok=True)
        at_a_terminal([*GIT, "-C", str(source), "fetch", "origin"], variables)
        assert watched.mark.exists() != handed_over


def test_a_perl_that_does_not_start_harms_nobody(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "perl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "perl").chmod(0o755)
    assert watched.hands_over(PATH=f"{watched.bin}:{tmp_path}:{os.environ['PATH']}")


def test_a_perl_that_cannot_do_it_leaves_it(watched: Watched) -> None:
    assert not watched.hands_over(PERLIO=":utf8")


def test_code_that_is_gone_is_no_more_stood_by_for(tmp_path: Path) -> None:
    erin = person(tmp_path, "erin", SETTINGS)
    code = tmp_path / "code"
    shutil.copytree(ROOT / "forge_p2p", code / "forge_p2p", ignore=shutil.ignore_patterns("__pycache__"))
    said(erin.home, "network", "create", "alone")
    said(erin.home, "up", "--detach")
    words = [sys.executable, "-m", "forge_p2p.cli.standby.answering", str(erin.home)]
    process = subprocess.Popen(words, env={**erin.variables(), "PYTHONPATH": str(code)}, cwd="/")
    try:
        until((erin.home / "standby.sock").exists)
        shutil.rmtree(code)
        assert reached(erin) is None
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        forge(erin.home, "down")
