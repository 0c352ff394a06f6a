"""Which `git://` URLs git is connected to by the helper itself, and what becomes of it where nobody answers."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from forge_p2p.git.remote.daemon import Daemon, is_plain
from forge_p2p.git.remote.relay import Relay
from forge_p2p.git.remote.standing import stand_in, without_password
from tests.git.conftest import SETTINGS
from tests.git.harness import GIT, is_at_work, person
from tests.node.members_up import until

PLAIN = ["git://host/a", "git://host:1234/a/b.git", "git://10.77.0.1/a"]
OTHERS = [
    *("git://host", "git://host/", "git:///a", "git://host:/a b", "git://host:x/a", "git://host/~user/a"),
    *("git://me@host/a", "git://[::1]/a", "git://host/%41", "git://host/a\n", "git://hôst/a", "git://host/a?b"),
    *("git://a..b/a", f"git://{'a' * 64}/a", "git://host:65536/a", f"git://host:{10**30}/a"),
]


@pytest.mark.parametrize("url", PLAIN)
def test_plain_urls(url: str) -> None:
    assert stand_in(url, {}, {}) is Daemon


@pytest.mark.parametrize("url", OTHERS)
def test_urls_that_are_left_to_git(url: str) -> None:
    assert stand_in(url, {}, {}) is None


@pytest.mark.parametrize("name", ["protocol.allow", "protocol.version", "core.gitproxy", "url.a.insteadof"])
def test_settings_that_are_left_to_git(name: str) -> None:
    assert is_plain(PLAIN[0], {"forge.team/.upstream": PLAIN[0]}, {"PATH": "/bin"})
    assert not is_plain(PLAIN[0], {name: "x"}, {})


@pytest.mark.parametrize("name", ["GIT_ALLOW_PROTOCOL", "GIT_PROTOCOL_FROM_USER", "GIT_PROXY_COMMAND"])
def test_variables_that_are_left_to_git(name: str) -> None:
    assert not is_plain(PLAIN[0], {}, {name: "x"})


def test_other_schemes() -> None:
    found = [stand_in(f"{scheme}://host/a", {}, {}) for scheme in ("http", "https", "ssh", "file", "ext")]
    assert found == [Relay, Relay, None, None, None]
    assert stand_in("host:a", {}, {}) is None


def test_passwords_are_not_shown() -> None:
    urls = ["http://me:secret@host/a", "http://me@host/a@b", "http://host/a@b", "me@host:a", "git://host"]
    assert [without_password(url) for url in urls] == [
        *("http://host/a", "http://host/a@b", "http://host/a@b", "me@host:a", "git://host")
    ]


def test_nobody_listens(tmp_path: Path) -> None:
    near = person(tmp_path, "near", SETTINGS)
    near.git("config", "--global", "forge.team/.upstream", "git://127.0.0.1:9/")
    failed = near.attempt("clone", "forge://team/a", "copy")
    assert failed.returncode == 128
    assert "forge: error: git://127.0.0.1:9/a gives nothing either (Connection refused)" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (near.folder / "copy").exists()


def test_what_a_server_says_instead_cannot_draw_on_the_terminal(tmp_path: Path) -> None:
    near = person(tmp_path, "near", SETTINGS)
    said = b"ERR \x1b[2Jno\nsuch \x9b\xff" + b"x" * 60_000
    with socket.create_server(("127.0.0.1", 0)) as hostile:
        near.git("config", "--global", "forge.team/.upstream", f"git://127.0.0.1:{hostile.getsockname()[1]}/")
        words = [*GIT, "ls-remote", "forge://team/a"]
        with subprocess.Popen(words, cwd=near.folder, env=near.variables(), stderr=subprocess.PIPE) as asking:
            connection, _ = hostile.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"%04x" % (len(said) + 4) + said)
            _, told = asking.communicate(timeout=60)
    (line,) = [line for line in told.splitlines() if b"gives nothing either" in line]
    assert rb"(\x1b[2Jno\x0asuch \x9b\xffxxx" in line
    assert len(line) < 700


def test_what_git_wants_of_a_connection(tmp_path: Path) -> None:
    near = person(tmp_path, "near", SETTINGS)
    near.git("config", "--global", "forge.team/.upstream", "git://127.0.0.1:9/")
    failed = near.attempt("clone", "--ipv6", "--upload-pack", "mine", "forge://team/a", "copy")
    assert failed.returncode == 128
    assert "setting remote service path not supported" in failed.stderr
    assert "forge: error: git://127.0.0.1:9/a gives nothing either (" in failed.stderr
    assert "Connection refused" not in failed.stderr, "that is no address of the family"


def test_nobody_is_left_at_work_when_git_is_killed(tmp_path: Path) -> None:
    """While a server says nothing."""
    near = person(tmp_path, "near", SETTINGS)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        near.git("config", "--global", "forge.team/.upstream", f"git://127.0.0.1:{silent.getsockname()[1]}/")
        with near.start("ls-remote", "forge://team/a") as asking:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(100).endswith(b"git-upload-pack /a\0host=" + _place(silent) + b"\0\0version=2\0")
                helpers = psutil.Process(asking.pid).children(recursive=True)
                os.kill(asking.pid, signal.SIGKILL)
                until(lambda: not any(is_at_work(each) for each in helpers), "nobody is at work")
    assert helpers


def _place(silent: socket.socket) -> bytes:
    return b"127.0.0.1:%d" % silent.getsockname()[1]
