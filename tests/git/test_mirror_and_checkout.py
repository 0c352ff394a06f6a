"""`forge git mirror` and `forge git checkout` as commands, with a real git server behind them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulations.versus.git.servers import daemon
from tests.git.harness import Person, refs


@dataclass(frozen=True)
class Server:
    """A git server, and a clone from which it is pushed to."""

    url: str
    path: Path
    work: Path


@pytest.fixture
def server(ada: Person, tmp_path: Path) -> Iterator[Server]:
    work = ada.repository("upstream-work")
    (tmp_path / "served").mkdir()
    bare = tmp_path / "served" / "project.git"
    ada.git("clone", "--quiet", "--mirror", str(work), str(bare))
    ada.git("remote", "add", "origin", str(bare), at=work)
    with daemon(tmp_path / "served") as url:
        yield Server(f"{url}project.git", bare, work)


def run(person: Person, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "forge_p2p.cli.main", *words]
    return subprocess.run(
        command, cwd=person.folder, env=person.variables(), capture_output=True, text=True, check=False, timeout=60
    )


def ok(person: Person, *words: str) -> str:
    done = run(person, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_agents_get_from_peers_what_the_server_has(ada: Person, bob: Person, server: Server) -> None:
    assert ok(ada, "git", "mirror", "--once", server.url, "team/mirrored") == "forge://team/mirrored@1"
    tip = ada.git("rev-parse", "HEAD", at=server.work)
    assert ok(bob, "git", "checkout", "team/mirrored", "main", "work") == tip
    assert bob.git("status", "--porcelain", at=bob.folder / "work") == ""
    assert refs(ada, server.path).keys() >= {"refs/heads/main", "refs/heads/side", "refs/tags/v1"}
    bob.git("clone", "--quiet", "forge://team/mirrored", "clone")
    assert refs(bob, bob.folder / "clone", "refs/tags") == refs(ada, server.path, "refs/tags")

    told = json.loads(ok(ada, "--json", "git", "mirror", "--once", server.url, "team/mirrored"))
    assert (told["moved"], told["seq"]) == (False, 1)

    later = ada.commit(server.work, "three", "three\n")
    ada.git("push", "--quiet", "origin", "main", ":side", at=server.work)
    told = json.loads(ok(ada, "--json", "git", "mirror", "--once", server.url, "team/mirrored"))
    assert (told["moved"], told["seq"]) == (True, 2)
    told = json.loads(ok(bob, "--json", "git", "checkout", "team/mirrored", "main", "work"))
    assert (told["how"], told["commit"], told["source"]) == ("updated", later, "forge://team/mirrored")
    assert (bob.folder / "work" / "three").read_text() == "three\n"
    assert "side" not in ok(bob, "git", "checkout", "team/mirrored", "v1", "tagged", "--no-git")
    assert not (bob.folder / "tagged" / ".git").exists()
    assert not (bob.folder / "tagged" / "three").exists()


def test_a_mirror_goes_on(ada: Person, bob: Person, server: Server) -> None:
    """Polling: what is pushed to the server is there for agents soon."""
    command = [sys.executable, "-m", "forge_p2p.cli.main", "git", "mirror", "--every", "0.2", server.url, "team/polled"]
    with subprocess.Popen(command, env=ada.variables(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "forge://team/polled@1\n"
            later = ada.commit(server.work, "four")
            ada.git("push", "--quiet", "origin", "main", at=server.work)
            assert process.stdout.readline() == "forge://team/polled@2\n"
        finally:
            process.terminate()
    assert ok(bob, "git", "checkout", "team/polled", later, "work") == later


def test_the_server_when_forge_has_nothing(bob: Person, server: Server) -> None:
    tip = bob.git("rev-parse", "main", at=server.path)
    done = run(bob, "--json", "git", "checkout", "team/unknown", "main", "work")
    assert done.returncode == 4
    told = json.loads(ok(bob, "--json", "git", "checkout", "team/unknown", "main", "work", "--upstream", server.url))
    assert (told["commit"], told["source"]) == (tip, server.url)
    assert any("team/unknown" in note for note in told["notes"])


def test_a_commit_that_the_mirror_does_not_have_yet(ada: Person, bob: Person, server: Server) -> None:
    ok(ada, "git", "mirror", "--once", server.url, "team/late")
    assert run(bob, "git", "checkout", "team/late", "main", "work").returncode == 0
    later = ada.commit(server.work, "five")
    ada.git("push", "--quiet", "origin", "main", at=server.work)
    assert run(bob, "git", "checkout", "team/late", later, "work").returncode == 4
    assert ok(bob, "git", "checkout", "team/late", later, "work", "--upstream", server.url) == later
    assert (bob.folder / "work" / "five").read_text() == "five"


def test_a_server_that_is_gone(ada: Person) -> None:
    done = run(ada, "git", "mirror", "--once", "git://127.0.0.1:9/none.git", "team/none")
    assert done.returncode == 4
    assert "127.0.0.1" in done.stderr


@pytest.mark.parametrize("name", ["--upload-pack=touch x", ""])
def test_names_that_are_none(ada: Person, name: str) -> None:
    assert run(ada, "git", "checkout", "--", name, "main", "work").returncode == 2


def test_the_copy_of_a_checkout_is_checked_in_the_background(ada: Person, bob: Person) -> None:
    """It is renamed as soon as it is whole, which is before the check of it begins."""
    ada.forge("git", "publish", str(ada.repository("source")), "team/background")
    command = [sys.executable, "-m", "forge_p2p.cli.main", "git", "checkout", "team/background", "main", "work"]
    variables = {**bob.variables(), "GIT_CONFIG_VALUE_0": "background"}
    subprocess.run(command, cwd=bob.folder, env=variables, check=True, capture_output=True, timeout=60)
    (copy,) = (bob.home / "git" / "copies").glob("*background.git")
    give_up = time.monotonic() + 60
    while (copy / "forge" / "unverified").exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not (copy / "forge" / "unverified").exists()
