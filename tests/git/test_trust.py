"""Packs, indexes and manifests that lie: refused, or found afterwards and put right, or at least named."""

from pathlib import Path

import msgspec
import pytest

from forge_p2p.content.gitmanifest import GitManifest, GitPack, GitRef, decode_manifest
from tests.cli.harness import forge
from tests.git.harness import Person, leavings, sound
from tests.git.lies import (
    Spoil,
    encoded,
    lie,
    no_pack,
    nothing,
    other_index,
    pack_objects,
    put,
    stub_pack,
    swap_offsets,
    wild_offset,
)


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


@pytest.mark.parametrize("spoil", [no_pack, stub_pack])
def test_a_pack_that_is_none_is_refused(spoil: Spoil, ada: Person, bob: Person) -> None:
    lie(ada, spoil.__name__, ada.repository("source"), spoil)
    refused = bob.attempt("clone", f"forge://{spoil.__name__}", "copy")
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


def test_what_landed_before_a_lie_was_met_is_checked_too(ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    ada.forge("git", "publish", str(source), "late-lie")
    bob.git("clone", "--quiet", "forge://late-lie", "copy")
    copy = bob.folder / "copy"
    unverified = copy / ".git" / "forge" / "unverified"
    unverified.unlink()
    middle = ada.commit(source, "three")
    ada.commit(source, "four")
    listed = [
        ada.git("rev-list", "--objects", each, at=source).splitlines() for each in ("HEAD~2..HEAD~1", "HEAD~1..HEAD")
    ]

    def behind_a_good_one(folder: Path) -> None:
        wild_offset(folder)
        manifest = decode_manifest((folder / "manifest").read_bytes())
        name = pack_objects(ada, source, folder / "packs", listed[0])
        good = GitPack(bytes.fromhex(name), len(listed[0]), [bytes.fromhex(middle)], [])
        (folder / "manifest").write_bytes(encoded(msgspec.structs.replace(manifest, packs=[good, *manifest.packs])))

    lie(ada, "late-lie", source, behind_a_good_one, objects=listed[1])
    bob.git("fetch", "--quiet", at=copy)
    first = decode_manifest((ada.folder / "lie-late-lie" / "manifest").read_bytes()).packs[0]
    assert first.hash.hex() in unverified.read_text().split()


def test_a_fetch_has_its_packs_checked(ada: Person, bob: Person) -> None:
    """git gives its helper a GIT_DIR that is relative to the work tree."""
    source = ada.repository("source")
    ada.forge("git", "publish", str(source), "checked")
    bob.git("clone", "--quiet", "forge://checked", "copy")
    unverified = bob.folder / "copy" / ".git" / "forge" / "unverified"
    assert unverified.exists()
    ada.commit(source, "three")
    ada.forge("git", "publish", str(source), "checked")
    bob.git("fetch", "--quiet", at=bob.folder / "copy", GIT_CONFIG_VALUE_0="now")
    assert not unverified.exists()


def test_the_check_runs_no_code_of_the_work_tree(ada: Person, bob: Person) -> None:
    """git runs its helper at the top of the work tree, where `python -m` would look for modules first."""
    source = ada.repository("source")
    ada.commit(source, "forge_p2p/__init__.py", "import pathlib\npathlib.Path(__file__).with_name('owned').touch()\n")
    ada.forge("git", "publish", str(source), "shadow")
    bob.git("clone", "--quiet", "forge://shadow", "copy")
    ada.commit(source, "three")
    ada.forge("git", "publish", str(source), "shadow")
    bob.git("fetch", "--quiet", at=bob.folder / "copy", GIT_CONFIG_VALUE_0="now")
    assert not (bob.folder / "copy" / "forge_p2p" / "owned").exists()


@pytest.mark.parametrize("spoil", [swap_offsets, nothing])
def test_who_is_believed_by_nobody_is_checked_before(spoil: Spoil, ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    lie(ada, f"strict-{spoil.__name__}", source, spoil)
    bob.git("clone", "-c", "forge.trust=nobody", f"forge://strict-{spoil.__name__}", "copy")
    sound(bob, bob.folder / "copy")
    assert bob.git("rev-parse", "HEAD", at=bob.folder / "copy") == ada.git("rev-parse", "HEAD", at=source)


def test_shallow_clones_of_who_is_not_believed_are_refused_every_time(ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    lie(ada, "strict-depth", source, nothing, objects=[ada.git("rev-parse", "HEAD", at=source)])
    bob.git("config", "--global", "forge.trust", "nobody")
    for _ in range(2):
        refused = bob.attempt("clone", "--depth", "1", "forge://strict-depth", "copy")
        assert refused.returncode == 128
        assert "git refuses pack-" in refused.stderr


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
    assert (missing.returncode, "nothing is published as 'nowhere'" in missing.stderr) == (128, True)


def test_put_needs_all_packs_that_it_names(ada: Person) -> None:
    folder = ada.folder / "empty"
    folder.mkdir()
    manifest = GitManifest(1, "sha1", b"", [], [GitPack(bytes(20), 1, [], [])])
    (folder / "manifest").write_bytes(encoded(manifest))
    with pytest.raises(Exception, match="neither pushed nor there already"):
        put(ada, "incomplete", folder)
