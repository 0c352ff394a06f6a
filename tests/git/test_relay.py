"""Where Forge has nothing and the upstream speaks http, git talks to its own helper for that, by way of ours."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from simulations.versus.git.servers import http
from tests.git.conftest import SETTINGS
from tests.git.harness import GIT, Person, is_at_work, person, sound
from tests.node.members_up import until

NAMED = "forge://team/project.git"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served as `project.git`, with a branch of its own beside `main`."""
    far = person(tmp_path_factory.mktemp("far"), "far", SETTINGS)
    work = far.repository("work")
    (work / "large").write_bytes(os.urandom(3_000_000))
    far.commit(work, "small")
    far.git("switch", "--quiet", "--create", "apart", at=work)
    far.commit(work, "aside")
    far.git("switch", "--quiet", "main", at=work)
    far.git("clone", "--quiet", "--mirror", str(work), str(far.folder / "served" / "project.git"))
    far.git("config", "uploadpack.allowFilter", "true", at=far.folder / "served" / "project.git")
    return work


@pytest.fixture(scope="module")
def url(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with http(work.parent / "served", tmp_path_factory.mktemp("http") / "server") as url:
        yield url


@pytest.fixture
def near(tmp_path: Path, url: str) -> Person:
    """In no network, so Forge has nothing for them."""
    near = person(tmp_path, "near", SETTINGS)
    return turned(near, url)


def turned(near: Person, url: str) -> Person:
    near.git("config", "--global", "forge.team/.upstream", url)
    near.git("config", "--global", "http.proxy", "")  # whatever the environment says of one
    return near


@contextmanager
def served_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def left_in(repository: Path) -> list[str]:
    """What is in a repository's packs that is neither pack nor index."""
    names = (path.name for path in (repository / ".git" / "objects" / "pack").iterdir())
    return [name for name in names if not name.endswith((".pack", ".idx", ".rev"))]


def test_a_clone_is_what_it_would_be_from_that_server(near: Person, url: str) -> None:
    cloned = near.attempt("clone", NAMED, "copy")
    assert cloned.returncode == 0, cloned.stderr
    told = f"names belong to a network, and this node is in none; turning to {url}project.git"
    assert cloned.stderr.count(told) == 1
    near.git("clone", "--quiet", f"{url}project.git", "plain")
    copy, plain = near.folder / "copy", near.folder / "plain"
    sound(near, copy)
    assert not left_in(copy)
    for words in (("for-each-ref",), ("rev-parse", "HEAD"), ("status", "--porcelain")):
        assert near.git(*words, at=copy) == near.git(*words, at=plain)
    packs = ("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
    assert near.git(*packs, at=copy) == near.git(*packs, at=plain)
    assert near.git("config", "remote.origin.url", at=copy) == NAMED
    assert near.git("config", "checkout.workers", at=copy) == "0", "checked out as every clone by Forge is"


def test_refs_are_listed(near: Person, url: str) -> None:
    assert near.git("ls-remote", NAMED) == near.git("ls-remote", f"{url}project.git")
    empty = near.folder / "empty"
    near.git("init", "--quiet", str(empty))
    near.git("ls-remote", NAMED, at=empty)
    assert near.attempt("config", "checkout.workers", at=empty).returncode == 1, "nobody clones"


def test_parts(near: Person, work: Path) -> None:
    copies = [near.folder / name for name in ("shallow", "single", "partial", "bare")]
    options = (["--depth", "1"], ["--single-branch"], ["--filter=blob:none", "--no-checkout"], ["--bare"])
    for copy, option in zip(copies, options, strict=True):
        near.git("clone", "--quiet", *option, NAMED, str(copy))
    shallow, single, partial, bare = copies
    assert near.git("rev-list", "--count", "HEAD", at=shallow) == "1"
    near.git("fetch", "--quiet", "--unshallow", at=shallow)
    assert near.git("rev-list", "--count", "HEAD", at=shallow) == near.git("rev-list", "--count", "main", at=work)
    apart = near.git("rev-parse", "apart", at=work)
    assert near.attempt("cat-file", "-e", apart, at=single).returncode != 0, "of one branch, nothing else comes"
    assert "?" in near.git("rev-list", "--objects", "--missing=print", "HEAD", at=partial)
    near.git("checkout", "--quiet", "main", at=partial)
    assert (partial / "large").stat().st_size == 3_000_000, "what was left out comes when it is needed"
    assert near.attempt("config", "checkout.workers", at=bare).returncode == 1
    for copy in copies[:2]:
        sound(near, copy)


def test_later_fetches(near: Person, work: Path) -> None:
    near.git("init", "--quiet", "copy")
    copy = near.folder / "copy"
    tip = near.git("rev-parse", "main", at=work)
    near.git("fetch", "--quiet", NAMED, tip, at=copy)
    assert near.git("rev-parse", "FETCH_HEAD", at=copy) == tip
    assert near.attempt("config", "checkout.workers", at=copy).returncode == 1, "nobody has cloned it"
    near.git("fetch", "--quiet", NAMED, "refs/heads/*:refs/remotes/there/*", at=copy)
    near.git("pull", "--quiet", NAMED, "main", at=copy)
    assert near.git("rev-parse", "there/apart", at=copy) == near.git("rev-parse", "apart", at=work)
    sound(near, copy)


def test_the_older_protocol(near: Person) -> None:
    near.git("-c", "protocol.version=0", "clone", "--quiet", "--depth", "1", NAMED, "copy")
    copy = near.folder / "copy"
    assert near.git("rev-list", "--count", "HEAD", at=copy) == "1"
    assert near.git("config", "checkout.workers", at=copy) == "0"
    near.git("-c", "protocol.version=0", "fetch", "--quiet", "--unshallow", at=copy)
    sound(near, copy)
    assert not left_in(copy)


def test_a_server_of_files(near: Person, work: Path) -> None:
    """It knows nothing of git's protocol, so what was begun in packets goes on in lines."""
    served = work.parent / "served"
    near.git("update-server-info", at=served / "project.git")

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *words: object) -> None:
            super().__init__(*words, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, *words: object) -> None:
            pass

    with served_by(Files) as url:
        turned(near, url)
        cloned = near.attempt("clone", NAMED, "copy")
        assert (cloned.returncode, cloned.stderr.count("turning to")) == (0, 1), cloned.stderr
        pushed = near.attempt("push", "--quiet", "origin", "HEAD:refs/heads/mine", at=near.folder / "copy")
    assert "this node is in none" in pushed.stderr
    sound(near, near.folder / "copy")
    assert near.git("config", "checkout.workers", at=near.folder / "copy") == "0"


def test_sha256(near: Person) -> None:
    other = near.repository("other", "--object-format=sha256")
    with http(near.folder, near.folder / "server") as url:
        turned(near, url)
        near.git("clone", "--quiet", "forge://team/other/.git", "copy")
    copy = near.folder / "copy"
    assert near.git("rev-parse", "HEAD", at=copy) == near.git("rev-parse", "HEAD", at=other)
    assert near.git("rev-parse", "--show-object-format", at=copy) == "sha256"
    sound(near, copy)


def test_a_push_goes_to_forge_or_fails(people: tuple[Person, Person], ada: Person, work: Path, url: str) -> None:
    turned(ada, url)
    ada.git("clone", "--quiet", NAMED, "copy")
    copy = ada.folder / "copy"
    tip = ada.commit(copy, "mine")
    ada.git("push", "--quiet", "--atomic", "origin", "main", at=copy)
    assert tip not in ada.git("ls-remote", f"{url}project.git")
    listed = ada.attempt("ls-remote", NAMED, "refs/heads/main")
    assert (tip in listed.stdout, "turning to" in listed.stderr) == (True, False), "Forge has it from here on"
    ada.git("clone", "--quiet", NAMED, "again")
    sound(ada, ada.folder / "again")


def test_where_forge_answers_nobody_else_is_asked(people: tuple[Person, Person], ada: Person) -> None:
    asked: list[str] = []

    class Counting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with served_by(Counting) as url:
        turned(ada, url)
        ada.forge("git", "publish", str(ada.repository("mine")), "team/mine")
        ada.git("clone", "--quiet", "forge://team/mine", "copy")
        ada.git("fetch", "--quiet", at=ada.folder / "copy")
        ada.git("push", "--quiet", "origin", "HEAD:refs/heads/more", at=ada.folder / "copy")
    assert not asked


def test_what_a_server_may_answer(near: Person) -> None:
    """That there is nothing, that it wants to know who asks, or what is no answer at all."""

    class Strange(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.split("/")[1]
            if name == "garbage":
                self.send_response(200)
                self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
                self.end_headers()
                self.wfile.write(b"push \n\0lock /etc/passwd\nconnectivity-ok\n\n")
            elif name == "closed":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
            else:
                self.send_error(404)

        def log_message(self, *words: object) -> None:
            pass

    with served_by(Strange) as url:
        turned(near, url)
        for name, said in (("nowhere", "not found"), ("closed", "could not read Username"), ("garbage", "fatal")):
            failed = near.attempt("clone", f"forge://team/{name}", "copy", SSH_ASKPASS="")
            assert failed.returncode == 128, failed.stderr
            assert said in failed.stderr
            assert f"forge: error: {url}{name} gives nothing either" in failed.stderr
            assert "Traceback" not in failed.stderr
            assert not (near.folder / "copy").exists()


def cutting(repository: Path, cut: Callable[[], bool]) -> type[BaseHTTPRequestHandler]:
    """A server of one repository that stops in the middle of a pack, unless `cut`, which is called then, says no."""

    class Cutting(BaseHTTPRequestHandler):
        def _run(self, *words: str, feed: bytes = b"") -> bytes:
            command = ["git", "upload-pack", "--stateless-rpc", *words, str(repository)]
            protocol = {**os.environ, "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
            return subprocess.run(command, input=feed, env=protocol, capture_output=True, check=True).stdout

        def _say(self, kind: str, body: bytes, length: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def do_GET(self) -> None:
            body = b"001e# service=git-upload-pack\n0000" + self._run("--http-backend-info-refs")
            self._say("advertisement", body, len(body))

        def do_POST(self) -> None:
            answer = self._run(feed=self.rfile.read(int(self.headers["Content-Length"])))
            is_pack = len(answer) > 1_000_000
            half = len(answer) // 2 if is_pack else len(answer)
            self._say("result", answer[:half], len(answer))
            if is_pack and cut():
                self.wfile.write(answer[half:])

        def log_message(self, *words: object) -> None:
            pass

    return Cutting


def test_a_server_that_goes_in_the_middle(near: Person, work: Path, url: str) -> None:
    repository = work.parent / "served" / "project.git"
    near.git("init", "--quiet", "copy")
    copy = near.folder / "copy"
    with served_by(cutting(repository, lambda: False)) as broken:
        turned(near, broken)
        assert near.attempt("clone", NAMED, "gone").returncode == 128
        failed = near.attempt("fetch", NAMED, "main", at=copy)
        assert failed.returncode != 0
        assert "Traceback" not in failed.stderr
    assert not (near.folder / "gone").exists()
    assert not [name for name in left_in(copy) if "forge" in name or name.endswith((".keep", ".lock"))]
    turned(near, url)
    near.git("pull", "--quiet", NAMED, "main", at=copy)
    sound(near, copy)


def test_a_pack_that_takes_its_time(near: Person, work: Path) -> None:
    """git says nothing more and closes its end when a pack begins to come: that is no reason to end anything."""
    over = threading.Event()
    threading.Timer(8.0, over.set).start()
    with served_by(cutting(work.parent / "served" / "project.git", over.wait)) as url:
        turned(near, url)
        near.git("clone", "--quiet", NAMED, "copy")
    sound(near, near.folder / "copy")


@pytest.mark.parametrize("killed", ["git", "git-remote-forge"])
def test_a_kill_in_the_middle(killed: str, near: Person, work: Path, url: str) -> None:
    """Of git, and of the helper: nobody is left at work, and the next fetch goes well."""
    near.git("init", "--quiet", "copy")
    copy = near.folder / "copy"
    victims: list[psutil.Process] = []
    all_of_it: list[psutil.Process] = []

    def kill() -> bool:
        until(lambda: bool(victims), "it is known who asks")
        all_of_it[:] = [victims[0], *victims[0].children(recursive=True)]
        found = victims[0]
        if killed != "git":
            (found,) = (
                each for each in all_of_it if is_at_work(each) and "forge-git-remote" in " ".join(each.cmdline())
            )
        found.send_signal(signal.SIGKILL)
        return False

    with served_by(cutting(work.parent / "served" / "project.git", kill)) as broken:
        turned(near, broken)
        words = [*GIT, "fetch", "--quiet", NAMED, "main"]
        with subprocess.Popen(words, cwd=copy, env=near.variables(), stderr=subprocess.DEVNULL) as fetch:
            victims.append(psutil.Process(fetch.pid))
            assert fetch.wait() != 0
        until(lambda: not any(is_at_work(each) for each in all_of_it), "nobody is at work")
    assert len(all_of_it) > 2
    turned(near, url)
    near.git("pull", "--quiet", NAMED, "main", at=copy)
    assert not [name for name in left_in(copy) if "forge" in name or name.endswith((".keep", ".lock"))]
    sound(near, copy)


def test_schemes_that_are_not_allowed(near: Person, url: str) -> None:
    refused = near.attempt("-c", "protocol.http.allow=never", "clone", NAMED, "copy")
    assert refused.returncode == 128
    assert f"forge: error: {url}project.git gives nothing either" in refused.stderr
    refused = near.attempt("clone", NAMED, "copy", GIT_ALLOW_PROTOCOL="forge:https")
    assert refused.returncode == 128
    assert not (near.folder / "copy").exists()


def test_who_has_nobody_to_ask_imports_next_to_nothing(near: Person) -> None:
    listed = near.attempt("ls-remote", NAMED, PYTHONPROFILEIMPORTTIME="1")
    bare = [sys.executable, "-X", "importtime", "-c", "pass"]
    begun = subprocess.run(bare, env=near.variables(), capture_output=True, text=True, check=True)
    imported = imported_in(listed.stderr) - imported_in(begun.stderr)
    assert "forge_p2p.git.remote.relay" in imported
    assert not imported & {"typing", "dataclasses", "subprocess", "msgspec", "forge_p2p.errors"}


def imported_in(said: str) -> set[str]:
    return {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}


def test_who_may_have_somebody_to_ask_asks(near: Person, url: str) -> None:
    listed = near.attempt("ls-remote", NAMED, "refs/heads/main", FORGE_TOKEN="nonsense")
    assert listed.returncode == 0, listed.stderr
    assert "forge: FORGE_TOKEN" in listed.stderr
    assert f"turning to {url}project.git" in listed.stderr
    near.git("config", "--global", "forge.fticket1q.upstream", url)
    refused = near.attempt("ls-remote", "forge::fticket1q")
    assert "this node is in none" not in refused.stderr
