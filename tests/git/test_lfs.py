"""Large files by git-lfs itself, through the agent that `forge lfs install` sets up."""

import hashlib
import json
import random
import sys
from pathlib import Path

import pytest

from forge_p2p.errors import Conflict, Malformed, NotFound, UsageError
from forge_p2p.git.lfs import Transfer, answers
from tests.git.harness import Person
from tests.git.test_mirror_and_checkout import ok, run

AGENT = "lfs.customtransfer.forge.path"


def set_up(person: Person, repository: Path) -> None:
    """As a person does, with this checkout's forge for the one on the PATH."""
    ok(person, "lfs", "install", str(repository))
    person.git("config", AGENT, program(person), at=repository)


def program(person: Person) -> str:
    """This checkout's forge."""
    forge = person.bin / "forge"
    if not forge.exists():
        forge.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m forge_p2p.cli.main "$@"\n')
        forge.chmod(0o755)
    return str(forge)


def with_large_file(person: Person, name: str, content: bytes) -> Path:
    """A repository with it, published under the name, its objects too."""
    work = person.repository("project")
    set_up(person, work)
    person.git("lfs", "track", "*.bin", at=work)
    (work / "large.bin").write_bytes(content)
    person.git("add", "--all", at=work)
    person.git("commit", "--quiet", "--message", "large", at=work)
    person.forge("git", "publish", str(work), name)
    person.git("remote", "add", "origin", f"forge://{name}", at=work)
    person.git("lfs", "push", "--all", "origin", at=work)
    return work


def test_a_large_file_goes_from_one_to_another(ada: Person, bob: Person) -> None:
    content = random.Random(5).randbytes(3 << 20)
    work = with_large_file(ada, "team/large", content)
    ada.git("lfs", "push", "--all", "origin", at=work)

    bob.git("clone", "--quiet", "forge://team/large", "copy", GIT_LFS_SKIP_SMUDGE="1")
    copy = bob.folder / "copy"
    assert (copy / "large.bin").stat().st_size < 200
    set_up(bob, copy)
    bob.git("lfs", "pull", at=copy)
    assert (copy / "large.bin").read_bytes() == content
    assert bob.git("status", "--porcelain", at=copy) == ""
    assert not list((copy / ".git" / "lfs" / "tmp").glob("forge-*"))
    (copy / "other.bin").write_bytes(content[::-1])
    bob.git("add", "--all", at=copy)
    bob.git("commit", "--quiet", "--message", "more", at=copy)
    bob.git("push", "--quiet", at=copy)
    ada.git("pull", "--quiet", "origin", "main", at=work)
    assert (work / "other.bin").read_bytes() == content[::-1]


def test_who_has_set_it_up_for_all_gets_large_files_by_cloning(ada: Person, bob: Person) -> None:
    content = random.Random(6).randbytes(1 << 20)
    work = with_large_file(ada, "team/everywhere", content)
    ok(bob, "lfs", "install", "--global")
    ok(bob, "lfs", "install", "--global")
    told = bob.git("config", "--global", "--get-regexp", "^includeif").partition(" ")[2]
    bob.git("config", "--file", told, AGENT, program(bob))
    for url, *words in (("forge://team/everywhere",), ("forge://everywhere", "--depth", "1")):
        bob.git("clone", "--quiet", *words, url, "copy")
        copy = bob.folder / "copy"
        assert (copy / "large.bin").read_bytes() == content
        assert bob.git("status", "--porcelain", at=copy) == ""
        copy.rename(bob.folder / f"before-{len(words)}")
    copy = bob.folder / "before-0"
    (copy / "large.bin").write_bytes(content[::-1])
    bob.git("commit", "--quiet", "--all", "--message", "more", at=copy)
    bob.git("push", "--quiet", at=copy)
    ada.git("pull", "--quiet", "origin", "main", at=work)
    assert (work / "large.bin").read_bytes() == content[::-1]


def test_other_remotes_keep_their_servers(bob: Person) -> None:
    ok(bob, "lfs", "install", "--global")
    for url, agent in (("https://example.com/x", ""), ("forge://x", "forge"), ("forge://team/a/b", "forge")):
        repository = bob.repository(url.rpartition(":")[2].replace("/", "-"))
        bob.git("remote", "add", "origin", url, at=repository)
        assert bob.attempt("config", "lfs.standalonetransferagent", at=repository).stdout.strip() == agent


def test_all_repositories_or_one(bob: Person) -> None:
    refused = run(bob, "lfs", "install", "--global", ".")
    assert refused.returncode == UsageError.exit_code
    assert "--global is for all repositories" in refused.stderr


OID = "ab" * 32


def said(transfer: Transfer, *messages: object) -> list[dict[str, object]]:
    return [json.loads(line) for line in answers(transfer, [json.dumps(message) for message in messages])]


def test_what_a_name_stands_for_is_hashed(tmp_path: Path) -> None:
    """Whoever may write the name could have put anything there."""

    def run(name: str, arguments: dict[str, str]) -> None:
        assert (name, arguments["name"], arguments["in_network"]) == ("pull", f"lfs/{OID}", "team")
        (Path(arguments["destination"]) / "object").write_bytes(b"forged")

    transfer = Transfer(run, lambda remote: "team", tmp_path)
    ready, answer = said(transfer, {"event": "init", "remote": "origin"}, {"event": "download", "oid": OID, "size": 6})
    assert ready == {}
    assert isinstance(answer["error"], dict)
    assert "another content" in answer["error"]["message"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", [b"content", b"other", None])
def test_what_is_there_already_is_no_error_if_readers_get_it(tmp_path: Path, there: bytes | None) -> None:
    """Else who pushes would believe that it is safe: the name may have been taken, or be all that is left."""

    def run(name: str, arguments: dict[str, str]) -> None:
        if name == "publish":
            raise Conflict("somebody was faster")
        if there is None:
            raise NotFound("nobody has the content")
        (Path(arguments["destination"]) / "object").write_bytes(there)

    (tmp_path / "file").write_bytes(b"content")
    oid = hashlib.sha256(b"content").hexdigest()
    message = {"event": "upload", "oid": oid, "size": 7, "path": str(tmp_path / "file")}
    *_, answer = said(Transfer(run, str, tmp_path / "tmp"), message)
    assert ("error" in answer) == (there != b"content")
    assert answer["event"] == "complete"
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("oid", ["../../etc/passwd", "", "AB" * 32, "ab" * 31, "ab" * 32 + "\n"])
def test_names_that_are_none(tmp_path: Path, oid: str) -> None:
    def run(name: str, arguments: dict[str, object]) -> None:
        raise AssertionError("nothing is asked of the node")

    (answer,) = said(Transfer(run, str, tmp_path), {"event": "download", "oid": oid, "size": 1})
    assert "names no LFS object" in str(answer["error"])


@pytest.mark.parametrize("line", ["", "nonsense", "[]", "{}", "3"])
def test_what_is_no_message(tmp_path: Path, line: str) -> None:
    with pytest.raises(Malformed):
        Transfer(lambda name, arguments: None, str, tmp_path).handle(line)
