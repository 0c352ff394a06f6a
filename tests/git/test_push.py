"""What may be pushed, and what git says where it may not: as with any server."""

import os
from pathlib import Path

import pytest

from forge_p2p.content.gitmanifest import GitManifest, GitRef
from forge_p2p.content.membership import Role
from forge_p2p.git.remote.rules import Wish, faults_of
from forge_p2p.git.running import Git
from tests.git.harness import Person, refs, sound


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository's name of this test's own."""
    return str(request.node.name).replace("[", "-").strip("]")


def both(ada: Person, bob: Person, name: str) -> None:
    """The same repository, published, in `ada/source` and, cloned, in `bob/copy`."""
    source = ada.repository("source")
    ada.forge("git", "publish", str(source), name)
    ada.git("remote", "add", "origin", f"forge://{name}", at=source)
    bob.git("clone", f"forge://{name}", "copy")


def published(person: Person, name: str) -> dict[str, str]:
    lines = person.git("ls-remote", "--refs", f"forge://{name}").splitlines()
    return {ref: oid for oid, ref in (line.split("\t") for line in lines)}


def test_who_is_late_fetches_first(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    source, copy = ada.folder / "source", bob.folder / "copy"
    first = bob.commit(copy, "three")
    bob.git("push", at=copy)
    ada.commit(source, "other")
    refused = ada.attempt("push", "origin", "main", at=source)
    assert refused.returncode == 1
    assert "! [rejected]        main -> main (fetch first)" in refused.stderr
    ada.git("pull", "--quiet", "--rebase", "origin", "main", at=source)
    ada.git("push", "origin", "main", at=source)
    assert ada.git("rev-parse", "HEAD^", at=source) == first
    sound(ada, source)


def test_what_would_be_lost_is_not_pushed(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    copy = bob.folder / "copy"
    bob.git("reset", "--quiet", "--hard", "HEAD^", at=copy)
    refused = bob.attempt("push", "origin", "main", at=copy)
    assert "! [rejected]        main -> main (non-fast-forward)" in refused.stderr
    bob.git("push", "--force", "origin", "main", at=copy)
    assert published(ada, name)["refs/heads/main"] == bob.git("rev-parse", "HEAD", at=copy)


def test_a_lease(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    source, copy = ada.folder / "source", bob.folder / "copy"
    new = ada.commit(source, "three")
    ada.git("push", "origin", "main", at=source)
    bob.git("commit", "--quiet", "--amend", "--message", "amended", at=copy)
    refused = bob.attempt("push", "--force-with-lease", "origin", "main", at=copy)
    assert "! [rejected]        main -> main (stale info)" in refused.stderr
    assert published(bob, name)["refs/heads/main"] == new
    bob.git("push", f"--force-with-lease=main:{new}", "origin", "main", at=copy)
    assert published(ada, name)["refs/heads/main"] == bob.git("rev-parse", "HEAD", at=copy)
    bob.git("push", "--force-with-lease=new:", "origin", "main:new", at=copy)
    refused = bob.attempt("push", "--force-with-lease=new:", "origin", "HEAD^:new", at=copy)
    assert "(stale info)" in refused.stderr


def test_what_brings_nothing_new_asks_for_no_indexes(ada: Person, bob: Person, name: str) -> None:
    """A clone's packs are joined, so none of the published ones is there as such."""
    both(ada, bob, name)
    ada.commit(ada.folder / "source", "three")
    ada.git("push", "origin", "main", at=ada.folder / "source")
    bob.git("clone", f"forge://{name}", "joined")
    joined = bob.folder / "joined"
    bob.git("push", "origin", "HEAD^:refs/heads/again", at=joined)
    bob.git("push", "origin", "--delete", "again", at=joined)
    assert not (joined / ".git" / "forge" / "idx").exists()
    bob.commit(joined, "four")
    bob.git("push", "origin", "main", at=joined)
    kept = {path.name for path in (joined / ".git" / "forge" / "idx").glob("*.idx")}
    assert len(kept) == 3, "of the two packs there were, and of the one that was made, for the next push"
    bob.commit(joined, "five")
    bob.git("push", "origin", "main", at=joined)
    assert len({path.name for path in (joined / ".git" / "forge" / "idx").glob("*.idx")} - kept) == 1


def test_all_or_nothing(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    copy = bob.folder / "copy"
    before = published(bob, name)
    bob.git("branch", "good", at=copy)
    bob.git("reset", "--quiet", "--hard", "HEAD^", at=copy)
    refused = bob.attempt("push", "--atomic", "origin", "good", "main", at=copy)
    assert refused.returncode == 1
    assert published(bob, name) == before
    bob.attempt("push", "origin", "good", "main", at=copy)
    assert published(bob, name).keys() - before.keys() == {"refs/heads/good"}


def test_branches_tags_and_notes_come_and_go(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    copy = bob.folder / "copy"
    bob.git("notes", "add", "--message", "seen", at=copy)
    bob.git("tag", "light", at=copy)
    bob.git("tag", "--annotate", "--message", "two", "v2", "v1", at=copy)
    bob.git("push", "origin", "refs/notes/*", "light", "v2", "HEAD:refs/other/place", at=copy)
    found = published(ada, name)
    assert {"refs/notes/commits", "refs/tags/light", "refs/tags/v2", "refs/other/place"} <= found.keys()
    ada.git("fetch", "--quiet", "--tags", "origin", at=ada.folder / "source")
    assert refs(ada, ada.folder / "source", "refs/tags") == refs(bob, copy, "refs/tags")
    bob.git("push", "origin", "--delete", "light", "side", at=copy)
    assert not {"refs/tags/light", "refs/heads/side"} & published(ada, name).keys()
    ada.git("fetch", "--quiet", "--prune", "origin", at=ada.folder / "source")
    assert "refs/remotes/origin/side" not in refs(ada, ada.folder / "source")


def test_a_tag_stays_what_it_is(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    copy = bob.folder / "copy"
    bob.git("tag", "--force", "v1", "HEAD^", at=copy)
    refused = bob.attempt("push", "origin", "v1", at=copy)
    assert "! [rejected]        v1 -> v1 (already exists)" in refused.stderr
    bob.git("push", "--force", "origin", "v1", at=copy)
    assert published(ada, name)["refs/tags/v1"] == bob.git("rev-parse", "v1", at=copy)


def test_a_mirror(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    copy = bob.folder / "copy"
    bob.git("clone", "--quiet", "--mirror", "copy", "mirror")
    bob.git("push", "--quiet", "--mirror", f"forge://{name}", at=bob.folder / "mirror")
    assert published(ada, name) == refs(bob, bob.folder / "mirror")
    assert refs(bob, copy)


def test_a_dry_run_moves_nothing(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    before = published(bob, name)
    bob.commit(bob.folder / "copy", "three")
    said = bob.attempt("push", "--dry-run", "origin", "main", at=bob.folder / "copy")
    assert said.returncode == 0
    assert "main -> main" in said.stderr
    assert published(bob, name) == before


def test_a_ref_in_the_way_of_others(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    refused = bob.attempt("push", "origin", "main:refs/heads/main/below", at=bob.folder / "copy")
    assert "[remote rejected] main -> main/below" in refused.stderr
    assert refused.returncode == 1


def test_what_is_pushed_elsewhere_meanwhile_is_built_upon(ada: Person, bob: Person, name: str) -> None:
    """Two push other refs from the same state: both get through, by whatever way they meet."""
    both(ada, bob, name)
    pushers = []
    for number in range(4):
        person, at = ((ada, "source"), (bob, "copy"))[number % 2]
        folder = person.folder / f"work{number}"
        person.git("worktree", "add", "--quiet", "-b", f"work{number}", str(folder), at=person.folder / at)
        person.commit(folder, f"file{number}")
        pushers.append(person.start("push", "--quiet", "origin", f"work{number}", at=folder))
    assert [pusher.wait(timeout=60) for pusher in pushers] == [0] * 4
    assert {f"refs/heads/work{number}" for number in range(4)} <= published(ada, name).keys()
    ada.git("clone", "--quiet", f"forge://{name}", "whole")
    sound(ada, ada.folder / "whole")


def test_of_many_who_push_the_same_one_is_first(ada: Person, bob: Person, name: str) -> None:
    both(ada, bob, name)
    pushers = []
    for number in range(4):
        person = (ada, bob)[number % 2]
        folder = person.folder / f"clone{number}"
        person.git("clone", "--quiet", f"forge://{name}", str(folder))
        person.commit(folder, f"file{number}")
        pushers.append((person, folder))
    started = [person.start("push", "origin", "main", at=folder) for person, folder in pushers]
    won = [pusher for pusher, push in zip(pushers, started, strict=True) if push.wait(timeout=60) == 0]
    assert len(won) == 1
    assert published(ada, name)["refs/heads/main"] == won[0][0].git("rev-parse", "HEAD", at=won[0][1])


def test_nothing_old_is_packed_again(ada: Person, bob: Person, name: str) -> None:
    """A file that returns to an old state: its blob is behind no boundary, and published already."""
    both(ada, bob, name)
    copy = bob.folder / "copy"
    bob.commit(copy, "one", "changed")
    bob.git("push", "--quiet", at=copy)
    bob.commit(copy, "one", "one\n" * 100)
    bob.git("push", "--quiet", at=copy)
    ada.git("clone", "--bare", "--quiet", "-c", "forge.verify=now", f"forge://{name}", "joined")
    (pack,) = (ada.folder / "joined" / "objects" / "pack").glob("*.idx")
    listed = ada.git("show-index", stdin=pack).splitlines()
    assert len({line.split()[1] for line in listed}) == len(listed)
    sound(ada, ada.folder / "joined")


@pytest.mark.parametrize("oid", [bytes(1) + b"\1" * 19, b"\1" * 19 + bytes(1)])
def test_a_lease_on_an_object_whose_name_has_zeros_at_an_end(oid: bytes, tmp_path: Path) -> None:
    manifest = GitManifest(1, "sha1", b"", [GitRef(b"refs/heads/a", oid)], [])
    git = Git(os.fsencode(tmp_path), {})
    for lease, fault in ((oid, ""), (bytes(20), "stale info"), (b"\1" * 20, "stale info")):
        wish = Wish(b"refs/heads/a", b"\2" * 20, oid, force=False, lease=lease)
        assert faults_of(git, manifest, Role.WRITER, [wish]) == {b"refs/heads/a": fault}
