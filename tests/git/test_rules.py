"""Protected refs, repositories by ticket, and the list of them."""

import json
from pathlib import Path

import pytest

from forge_p2p.content.gitmanifest import GitManifest, GitPack, GitRef, GitRule
from forge_p2p.content.gitpolicy import fault_against
from tests.cli.harness import forge
from tests.git.harness import Person, refs, sound
from tests.git.lies import encoded, lie

OID, OTHER = bytes(20), bytes(range(20))


@pytest.fixture
def copy(ada: Person, bob: Person, request: pytest.FixtureRequest) -> Path:
    """A repository that is published under the test's name, cloned by who is no admin."""
    name = str(request.node.name)
    ada.forge("git", "publish", str(ada.repository("source")), name)
    bob.git("clone", "--quiet", f"forge://{name}", "copy")
    return bob.folder / "copy"


def test_only_admins_move_what_is_protected(ada: Person, bob: Person, copy: Path) -> None:
    name = "test_only_admins_move_what_is_protected"
    assert ada.forge("git", "rules", name, "--protect", "main") == "refs/heads/main  protected"
    bob.commit(copy, "three")
    refused = bob.attempt("push", "origin", "main", at=copy)
    assert "! [remote rejected] main -> main (protected ref: only admins of the network move it)" in refused.stderr
    assert bob.attempt("push", "origin", "+main~2:main", at=copy).returncode == 1
    assert bob.attempt("push", "origin", ":main", at=copy).returncode == 1
    bob.git("push", "--quiet", "origin", "main:other", at=copy)
    assert forge(bob.home, "git", "rules", name, "--drop", "main").returncode == 11
    assert forge(bob.home, "git", "publish", str(copy), name).returncode == 11
    source = ada.folder / "source"
    ada.commit(source, "four")
    ada.git("push", "--quiet", f"forge://{name}", "main", at=source)
    bob.git("fetch", "--quiet", at=copy)
    assert bob.git("rev-parse", "origin/main", at=copy) == ada.git("rev-parse", "main", at=source)
    bob.git("push", "--quiet", "origin", ":other", at=copy)
    ada.git("clone", "--quiet", f"forge://{name}", "again")


def test_what_only_goes_forward(ada: Person, bob: Person, copy: Path) -> None:
    name = "test_what_only_goes_forward"
    ada.forge("git", "rules", name, "--forward", "*", "--protect", "refs/tags/*")
    assert len(json.loads(forge(bob.home, "git", "rules", name, "--json").stdout)["rules"]) == 2
    bob.commit(copy, "three")
    bob.git("push", "--quiet", "origin", "main", at=copy)
    refused = bob.attempt("push", "--force", "origin", "main~1:main", at=copy)
    assert "(protected ref: it only goes forward)" in refused.stderr
    assert ada.attempt("push", f"forge://{name}", ":main", at=ada.folder / "source").returncode == 1


def test_who_moves_it_anyway_is_believed_by_nobody(ada: Person, bob: Person, copy: Path) -> None:
    """A writer whose own helper checks nothing."""
    name = "test_who_moves_it_anyway_is_believed_by_nobody"
    ada.forge("git", "rules", name, "--protect", "main")
    kept = [GitRule(b"refs/heads/main", protected=True, forward=False)]
    for rules in (kept, []):

        def spoil(folder: Path, rules: list[GitRule] = rules) -> None:
            (pack,) = (folder / "packs").glob("*.pack")
            packed = bytes.fromhex(pack.stem.removeprefix("pack-"))
            tip = bytes.fromhex(bob.git("rev-parse", "HEAD", at=copy))
            moved = [GitRef(b"refs/heads/main", tip)]
            made = GitManifest(1, "sha1", b"refs/heads/main", moved, [GitPack(packed, 1, [], [])], rules)
            (folder / "manifest").write_bytes(encoded(made))

        bob.commit(copy, f"by-{len(rules)}")
        lie(bob, name, copy, spoil)
        refused = ada.attempt("fetch", f"forge://{name}", at=ada.folder / "source")
        assert refused.returncode == 128
        assert "the protected ref" in refused.stderr or "its rules were changed" in refused.stderr
        assert forge(ada.home, "rollback", name, "2").returncode == 0
        ada.git("fetch", "--quiet", f"forge://{name}", at=ada.folder / "source")


def test_faults() -> None:
    def manifest(oid: bytes, *rules: GitRule) -> GitManifest:
        return GitManifest(1, "sha1", b"", [GitRef(b"refs/heads/main", oid)], [], list(rules))

    rule = GitRule(b"refs/heads/*", protected=True, forward=False)
    assert not fault_against(None, manifest(OID))
    assert fault_against(None, manifest(OID, rule))
    assert not fault_against(manifest(OID), manifest(OTHER))
    assert not fault_against(manifest(OID, rule), manifest(OID, rule))
    assert "was moved" in fault_against(manifest(OID, rule), manifest(OTHER, rule))
    assert "rules" in fault_against(manifest(OID, rule), manifest(OID))


def test_a_repository_by_ticket(ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    ticket = ada.forge("git", "share", str(source))
    bob.git("clone", f"forge::{ticket}", "copy")
    copy = bob.folder / "copy"
    assert refs(bob, copy, "refs/tags") == refs(ada, source, "refs/tags")
    sound(bob, copy)
    assert not (copy / ".git" / "forge" / "unverified").exists(), "who issued it is not believed: git has indexed it"
    refused = bob.attempt("push", "origin", "HEAD:refs/heads/mine", at=copy)
    assert "a ticket gives a repository to read" in refused.stderr
    assert forge(ada.home, "unshare", ticket).returncode == 0


def test_names_that_stand_for_repositories(ada: Person, bob: Person, copy: Path) -> None:
    name = "test_names_that_stand_for_repositories"
    link = json.loads(forge(ada.home, "log", name, "--json").stdout)["records"][0]["link"]
    assert link.startswith("fgit1")
    listed = [line.split() for line in forge(bob.home, "git", "list").stdout.splitlines()]
    assert [f"forge://team/{name}", "record", "1"] in [words[:3] for words in listed]
    assert "packs/pack-" in forge(ada.home, "ls", link).stdout
