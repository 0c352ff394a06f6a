"""Packs, indexes and manifests that lie: refused, or found afterwards and put right, or at least named."""

from pathlib import Path

import pytest

from forge_p2p.content.gitmanifest import GitManifest, GitPack, GitRef
from tests.cli.harness import forge
from tests.git.harness import Person, leavings, sound
from tests.git.lies import Spoil, encoded, lie, no_pack, nothing, other_index, put, swap_offsets, wild_offset


def test_what_is_right_is_found_right(ada: Person, bob: Person) -> None:
    lie(ada, "right", ada.repository("source"), nothing)
    cloned = bob.attempt("clone", "--no-checkout", "forge://right", "copy", GIT_CONFIG_VALUE_0="now")
    assert cloned.returncode == 0, cloned.stderr
    assert not (bob.folder / "copy" / ".git" / "forge" / "unverified").exists()
    sound(bob, bob.folder / "copy")


def test_an_index_that_lies_is_made_anew(ada: Person, bob: Person) -> None:
    lie(ada, "swapped", ada.repository("source"), swap_offsets)
    bob.attempt("clone", "--no-checkout", "forge://swapped", "copy")
    copy = bob.folder / "copy"
    assert bob.attempt("fsck", at=copy).returncode != 0
    done = forge(bob.home, "git", "verify", str(copy))
    assert done.returncode == 0, done.stderr
    sound(bob, copy)


@pytest.mark.parametrize("spoil", [wild_offset, other_index])
def test_an_index_that_cannot_be_right_is_not_used(spoil: Spoil, ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    lie(ada, f"index-{spoil.__name__}", source, spoil)
    bob.git("clone", f"forge://index-{spoil.__name__}", "copy")
    assert bob.git("rev-parse", "HEAD", at=bob.folder / "copy") == ada.git("rev-parse", "HEAD", at=source)
    sound(bob, bob.folder / "copy")


def test_a_pack_that_is_none_is_refused(ada: Person, bob: Person) -> None:
    lie(ada, "no-pack", ada.repository("source"), no_pack)
    refused = bob.attempt("clone", "forge://no-pack", "copy")
    assert refused.returncode == 128
    assert "git refuses pack-" in refused.stderr


def test_missing_objects_are_named_with_who_left_them_out(ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    lie(ada, "missing", source, nothing, objects=[ada.git("rev-parse", "HEAD", at=source)])
    bob.attempt("clone", "--no-checkout", "forge://missing", "copy")
    copy = bob.folder / "copy"
    done = forge(bob.home, "git", "verify", str(copy))
    assert done.returncode == 13
    assert "did not receive expected object" in done.stderr
    author = forge(ada.home, "status", "--json").stdout
    assert done.stderr.partition("published by node ")[2][:16] in author
    ada.git("commit", "--quiet", "--allow-empty", "--message", "more", at=source)
    lie(ada, "missing", source, nothing)
    said = bob.attempt("fetch", at=copy)
    assert "forge: warning: pack-" in said.stderr, "it is said again"
    assert leavings(bob, copy) == []


@pytest.mark.parametrize("spoil", [swap_offsets, nothing])
def test_who_is_believed_by_nobody_is_checked_before(spoil: Spoil, ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    lie(ada, f"strict-{spoil.__name__}", source, spoil)
    bob.git("clone", "-c", "forge.trust=nobody", f"forge://strict-{spoil.__name__}", "copy")
    sound(bob, bob.folder / "copy")
    assert bob.git("rev-parse", "HEAD", at=bob.folder / "copy") == ada.git("rev-parse", "HEAD", at=source)


def test_missing_objects_of_who_is_not_believed_are_refused(ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    lie(ada, "strict-missing", source, nothing, objects=[ada.git("rev-parse", "HEAD", at=source)])
    refused = bob.attempt("clone", "-c", "forge.trust=nobody", "forge://strict-missing", "copy")
    assert refused.returncode == 128
    assert "git refuses pack-" in refused.stderr
    assert not (bob.folder / "copy").exists()


BAD_REFS = [
    b"refs/heads/../../hooks/post-checkout",
    b"refs/heads/a\nrefs/heads/b",
    b"refs/heads/a.lock",
    b"refs/heads/.hidden",
    b"HEAD",
    b"../escape/x",
    b"refs/heads/a b",
    b"refs/heads/-\x1b[31m",
]


@pytest.mark.parametrize("name", BAD_REFS)
def test_refs_with_hostile_names_are_put_by_nobody(name: bytes, ada: Person) -> None:
    def spoil(folder: Path) -> None:
        refs = [GitRef(name, bytes(20))]
        (folder / "manifest").write_bytes(encoded(GitManifest(1, "sha1", b"", refs, [])))

    with pytest.raises(Exception, match="git manifest"):
        lie(ada, "hostile", ada.repository("source"), spoil)


def test_a_damaged_pack_comes_again(ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    ada.forge("git", "publish", str(source), "healed")
    bob.git("clone", "forge://healed", "copy")
    copy = bob.folder / "copy"
    (pack,) = (copy / ".git" / "objects" / "pack").glob("*.pack")
    content = bytearray(pack.read_bytes())
    content[40] ^= 0xFF
    pack.unlink()
    pack.write_bytes(content)
    assert bob.attempt("fsck", at=copy).returncode != 0
    done = forge(bob.home, "git", "verify", str(copy))
    assert done.returncode == 0, done.stderr
    sound(bob, copy)


def test_what_names_no_repository_is_not_taken_for_one(ada: Person, bob: Person) -> None:
    (bob.folder / "files").mkdir()
    (bob.folder / "files" / "one").write_text("one")
    bob.forge("publish", "files", str(bob.folder / "files"))
    refused = ada.attempt("clone", "forge://files", "copy")
    assert "stands for files, not for a git repository" in refused.stderr
    ada.forge("git", "publish", str(ada.repository("source")), "no-files")
    done = forge(bob.home, "pull", "no-files", str(bob.folder / "pulled"))
    assert (done.returncode, "git clone forge://team/no-files" in done.stderr) == (2, True)
    missing = ada.attempt("clone", "forge://nowhere", "copy")
    assert missing.returncode == 0, "as empty as any repository that nothing was pushed to"


def test_put_needs_all_packs_that_it_names(ada: Person) -> None:
    folder = ada.folder / "empty"
    folder.mkdir()
    manifest = GitManifest(1, "sha1", b"", [], [GitPack(bytes(20), 1, [], [])])
    (folder / "manifest").write_bytes(encoded(manifest))
    with pytest.raises(Exception, match="neither pushed nor there already"):
        put(ada, "incomplete", folder)
