"""`git clone forge://NAME` where Forge cannot give it: the server that the person has named, or a clear message."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from simulations.versus.git.servers import daemon, http
from tests.cli.harness import forge
from tests.git.conftest import SETTINGS
from tests.git.harness import GIT, Person, person, sound
from tests.node.members_up import said

HASTY = SETTINGS.replace("dial_timeout = 5", "dial_timeout = 2\nstall_timeout = 1\nreconnect_timeout = 1")


@dataclass(frozen=True)
class Place:
    """A git server with `project.git`, a repository to push to it from, who made the network, and an agent in it."""

    url: str
    work: Path
    far: Person
    near: Person


@contextmanager
def two_and_a_server(folder: Path, scheme: str) -> Iterator[Place]:
    slow = HASTY + "limit_up = 200000\n"
    far, near = person(folder, "far", slow), person(folder, "near", HASTY)
    work = far.repository("work")
    (work / "large").write_bytes(os.urandom(3_000_000))
    far.commit(work, "small")
    (folder / "served").mkdir()
    far.git("clone", "--quiet", "--mirror", str(work), str(folder / "served" / "project.git"))
    far.git("remote", "add", "origin", str(folder / "served" / "project.git"), at=work)
    said(far.home, "network", "create", "team")
    said(far.home, "up", "--detach")
    said(near.home, "network", "join", far.forge("network", "invite"))
    said(near.home, "up", "--detach")
    served = folder / "served"
    with daemon(served) if scheme == "git" else http(served, folder / "http") as url:
        yield Place(f"{url}project.git", work, far, near)
    for each in (far, near):
        forge(each.home, "down")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with two_and_a_server(tmp_path_factory.mktemp("place"), "git") as place:
        yield place


@pytest.fixture
def place(lasting: Place, tmp_path: Path) -> Place:
    """The same two; the agent with a folder and settings of this test's own."""
    near = Person(lasting.near.home, tmp_path, lasting.near.bin)
    near.git("config", "--global", "forge.team/.upstream", lasting.url.removesuffix("project.git"))
    return replace(lasting, near=near)


def test_what_is_not_published(place: Place) -> None:
    near, tip = place.near, place.far.git("rev-parse", "HEAD", at=place.work)
    cloned = near.attempt("clone", "forge://team/project.git", "copy")
    assert cloned.returncode == 0, cloned.stderr
    assert f"nothing is published as 'project.git'; turning to {place.url}" in cloned.stderr
    copy = near.folder / "copy"
    sound(near, copy)
    assert near.git("rev-parse", "HEAD", at=copy) == tip
    assert near.git("config", "checkout.workers", at=copy) == "0", "checked out as every clone by Forge is"
    assert near.git("cat-file", "-t", "v1", at=copy) == "tag"
    assert near.git("config", "remote.origin.url", at=copy) == "forge://team/project.git"
    assert tip in near.git("ls-remote", "forge://team/project.git", "HEAD")

    later = place.far.commit(place.work, "later")
    place.far.git("push", "--quiet", "origin", "main", at=place.work)
    near.git("pull", "--quiet", at=copy)
    assert near.git("rev-parse", "HEAD", at=copy) == later

    place.far.forge("git", "publish", str(place.work), "team/now.git")
    near.git("remote", "set-url", "origin", "forge://team/now.git", at=copy)
    fetched = near.attempt("fetch", "--quiet", at=copy)
    assert (fetched.returncode, fetched.stderr) == (0, ""), "Forge gives it to who has it from the server"
    sound(near, copy)


def test_parts_of_what_is_not_published(place: Place) -> None:
    near = place.near
    near.git("clone", "--quiet", "--depth", "1", "forge://team/project.git", "copy")
    copy = near.folder / "copy"
    assert near.git("rev-list", "--count", "HEAD", at=copy) == "1"
    near.git("fetch", "--quiet", "--unshallow", at=copy)
    assert near.git("rev-list", "--count", "HEAD", at=copy) == near.git("rev-list", "--count", "HEAD", at=place.work)
    sound(near, copy)
    near.git("clone", "--quiet", "--filter=blob:none", "forge://team/project.git", "partial")
    assert (near.folder / "partial" / "large").stat().st_size == 3_000_000


def test_what_git_has_to_find_out_about_connecting(place: Place) -> None:
    """Where somebody has told it anything about that, it is asked beside, in the words that it understands."""
    near = place.near
    near.git("-c", "protocol.version=2", "clone", "--quiet", "forge://team/project.git", "copy")
    sound(near, near.folder / "copy")
    assert near.git("config", "checkout.workers", at=near.folder / "copy") == "0"
    refused = near.attempt("-c", "protocol.git.allow=never", "clone", "forge://team/project.git", "second")
    assert refused.returncode == 128
    assert "transport 'git' not allowed" in refused.stderr


def test_a_push_goes_nowhere_else(place: Place) -> None:
    near = place.near
    near.git("clone", "--quiet", "forge://team/project.git", "copy")
    tip = near.commit(near.folder / "copy", "mine")
    refused = near.attempt("push", "origin", "main", at=near.folder / "copy")
    assert refused.returncode != 0
    assert "may not push there" in refused.stderr
    assert tip not in near.git("ls-remote", place.url)


def test_peers_that_go(tmp_path: Path) -> None:
    """The only one who has it is killed while it sends; then it is gone from the beginning; then the network is."""
    with two_and_a_server(tmp_path, "http") as place:
        far, near = place.far, place.near
        near.git("config", "--global", "forge.team/.upstream", place.url.removesuffix("project.git"))
        far.forge("git", "publish", str(place.work), "team/project.git")
        node = json.loads(forge(far.home, "--json", "status").stdout)["pid"]
        words = [*GIT, "clone", "--progress", "forge://team/project.git", "copy"]
        with subprocess.Popen(words, cwd=near.folder, env=near.variables(), stderr=subprocess.PIPE) as clone:
            assert clone.stderr is not None
            before = b""
            while b"Receiving packs:" not in before:
                piece = os.read(clone.stderr.fileno(), 4096)
                assert piece, before
                before += piece
            os.kill(node, signal.SIGKILL)
            rest = clone.stderr.read().decode()
        assert clone.returncode == 0, rest
        assert f"turning to {place.url}" in rest
        sound(near, near.folder / "copy")

        for name in ("gone", "left"):
            cloned = near.attempt("clone", "forge://team/project.git", name)
            assert cloned.returncode == 0, cloned.stderr
            assert f"turning to {place.url}" in cloned.stderr
            sound(near, near.folder / name)
            if name == "gone":
                said(near.home, "network", "leave", "team")


def test_who_is_in_no_network_does_not_become_a_node_first(place: Place, tmp_path: Path) -> None:
    alone = person(tmp_path / "alone", "alone", HASTY)
    served = (place.far.folder.parent / "served").as_uri()
    alone.git("config", "--global", "forge.team/.upstream", f"{served}/")
    listed = alone.attempt("ls-remote", "forge://team/project.git", "HEAD", PYTHONPROFILEIMPORTTIME="1")
    assert listed.returncode == 0, listed.stderr
    assert place.far.git("rev-parse", "HEAD", at=place.work) in listed.stdout
    assert f"names belong to a network, and this node is in none; turning to {served}/project.git" in listed.stderr
    assert "forge_p2p.git.remote.upstream" in listed.stderr
    assert not [line for line in listed.stderr.splitlines() if line.endswith((" trio", " qh3", " lmdb"))]


def test_neither_has_it(place: Place) -> None:
    failed = place.near.attempt("clone", "forge://team/nowhere.git", "copy")
    assert failed.returncode == 128
    assert "nothing is published as 'nowhere.git'" in failed.stderr
    assert "forge: error: git://" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (place.near.folder / "copy").exists()


@pytest.mark.parametrize("url", ["ext::touch owned ", "--upload-pack=touch owned;", "-oProxyCommand=touch owned:", "/"])
def test_what_is_no_server_is_not_run(url: str, place: Place) -> None:
    near = place.near
    near.git("config", "--global", "forge.team/.upstream", url)
    refused = near.attempt("clone", "forge://team/project.git", "copy")
    assert refused.returncode == 128
    assert "is no git server" in refused.stderr
    assert not list(near.folder.rglob("owned*"))


def test_rewritten_urls_do_not_go_in_circles(place: Place) -> None:
    """CI rewrites the server's URLs to Forge's, and Forge turns to the server."""
    near = place.near
    server = place.url.removesuffix("project.git")
    near.git("config", "--global", "url.forge://team/.insteadOf", server)
    near.git("clone", "--quiet", place.url, "copy")
    sound(near, near.folder / "copy")
    near.git("config", "--global", "url.forge://team/project.git.insteadOf", place.url)
    refused = near.attempt("clone", place.url, "second")
    assert refused.returncode == 128
    assert "transport 'forge' not allowed" in refused.stderr


def test_an_environment_that_allows_every_transport(place: Place) -> None:
    """A list of schemes in the environment is above git's settings; a command is not run for all that."""
    near = place.near
    near.git("config", "--global", "url.ext::touch owned .insteadOf", place.url)
    refused = near.attempt("clone", "forge://team/project.git", "copy", GIT_ALLOW_PROTOCOL="forge:ext:git")
    assert refused.returncode == 128
    assert "transport 'ext' not allowed" in refused.stderr
    assert not list(near.folder.rglob("owned*"))


def test_a_password_is_not_shown(place: Place) -> None:
    near = place.near
    near.git("config", "--global", "forge.team/.upstream", "http://me:secret@127.0.0.1:9/")
    failed = near.attempt("clone", "forge://team/project.git", "copy")
    assert failed.returncode == 128
    assert "turning to http://127.0.0.1:9/project.git" in failed.stderr
    assert "secret" not in failed.stderr
