"""From `forge git publish` to `git clone`, `fetch` and `push`: what people do."""

import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

from forge_p2p.writeback import share_blocks
from tests.git.harness import Person, leavings, refs, sound


def test_a_published_repository_is_cloned(ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    assert ada.forge("git", "publish", str(source), "cloned") == "forge://team/cloned"
    bob.git("clone", "forge://cloned", "copy")
    copy = bob.folder / "copy"
    assert (copy / "folder" / "two").read_text() == "two\n" * 100
    assert refs(bob, copy, "refs/tags") == refs(ada, source, "refs/tags")
    assert refs(bob, copy, "refs/remotes/origin/side").popitem()[1] == refs(ada, source, "refs/heads/side").popitem()[1]
    assert bob.git("symbolic-ref", "HEAD", at=copy) == "refs/heads/main"
    sound(bob, copy)


def large(person: Person, *contents: bytes) -> Path:
    """A repository whose one pack is of megabytes, without deltas."""
    source = person.repository("source")
    for number, content in enumerate(contents):
        (source / f"noise{number}").write_bytes(content)
    person.commit(source, "more")
    person.git("-c", "pack.window=0", "repack", "-adq", at=source)
    return source


def test_a_large_pack_is_written_once(ada: Person, bob: Person) -> None:
    """To the store, and from there it is linked to the clone, or shares its blocks."""
    ada.forge("git", "publish", str(large(ada, random.Random(1).randbytes(6_000_000))), "once")
    bob.git("clone", "forge://once", "copy")
    (pack,) = (bob.folder / "copy" / ".git" / "objects" / "pack").glob("*.pack")
    (kept,) = (each for each in (bob.home / "store" / "files").glob("*/*") if each.stat().st_size >= 6_000_000)
    assert kept.read_bytes() == pack.read_bytes()
    assert kept.samefile(pack) or shares_blocks(bob.folder)
    journal = kept.with_suffix(".slices")
    assert kept.stat().st_mtime_ns <= journal.stat().st_mtime_ns, "the next clone would read it first"
    sound(bob, bob.folder / "copy")


def test_a_large_pack_that_was_edited_is_not_cloned_as_it_is(ada: Person, bob: Person) -> None:
    """It may be the store's file, too."""
    ada.forge("git", "publish", str(large(ada, random.Random(4).randbytes(6_000_000))), "edited")
    bob.git("clone", "forge://edited", "copy")
    (pack,) = (bob.folder / "copy" / ".git" / "objects" / "pack").glob("*.pack")
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"other")
    bob.git("clone", "forge://edited", "again")
    sound(bob, bob.folder / "again")


def shares_blocks(folder: Path) -> bool:
    """Whether the file system can."""
    (folder / "whole").write_bytes(bytes(4096))
    with (folder / "whole").open("rb") as whole, (folder / "copy-of-it").open("wb") as copy:
        try:
            share_blocks(whole.fileno(), copy.fileno())
        except OSError:
            return False
    return True


def test_a_large_pack_that_repeats_itself(ada: Person, bob: Person) -> None:
    """Of chunks that come twice the store has one, so the pack is copied from there."""
    noise = random.Random(2).randbytes(3_000_000)
    ada.forge("git", "publish", str(large(ada, noise + b"a", noise + b"b")), "twice")
    for copy in ("copy", "again"):
        bob.git("clone", "forge://twice", copy)
        assert (bob.folder / copy / "noise0").read_bytes() == noise + b"a"
        sound(bob, bob.folder / copy)


def test_a_large_pack_to_another_file_system(ada: Person, bob: Person) -> None:
    ada.forge("git", "publish", str(large(ada, random.Random(3).randbytes(6_000_000))), "elsewhere")
    with TemporaryDirectory(dir="/dev/shm") as folder:
        bob.git("clone", "forge://elsewhere", "copy", at=Path(folder))
        sound(bob, Path(folder) / "copy")


def test_a_clone_is_checked_out_by_all_processors(ada: Person, bob: Person) -> None:
    """git reads its configuration once more between the fetch and the checkout. It starts helpers from two on."""
    source = ada.repository("source")
    for number in range(20):
        (source / f"file{number}").write_text(f"{number}\n")
    ada.commit(source, "more")
    ada.forge("git", "publish", str(source), "many")
    trace = bob.folder / "trace"
    several = ("-c", "checkout.thresholdForParallelism=1")
    bob.git(*several, "clone", "forge://many", "copy", GIT_TRACE=str(trace))
    assert bob.git("config", "--local", "checkout.workers", at=bob.folder / "copy") == "0"
    assert ("checkout--worker" in trace.read_text()) == ((os.cpu_count() or 1) > 1)
    sound(bob, bob.folder / "copy")
    bob.git("clone", "-c", "checkout.workers=1", "forge://many", "alone")
    assert bob.git("config", "checkout.workers", at=bob.folder / "alone") == "1"
    bob.git("clone", "--bare", "forge://many", "bare")
    assert bob.attempt("config", "checkout.workers", at=bob.folder / "bare").returncode


def test_what_is_pushed_is_fetched(ada: Person, bob: Person) -> None:
    source = ada.repository("source")
    ada.forge("git", "publish", str(source), "pushed")
    bob.git("clone", "forge://team/pushed", "copy")
    copy = bob.folder / "copy"
    new = bob.commit(copy, "three")
    bob.git("push", "origin", "main", at=copy)
    ada.git("remote", "add", "origin", "forge://pushed", at=source)
    ada.git("fetch", "origin", at=source)
    assert ada.git("rev-parse", "origin/main", at=source) == new
    sound(ada, source)
    sound(bob, copy)


def test_a_pack_of_the_pushers_own_does_not_come_back(ada: Person, bob: Person) -> None:
    ada.forge("git", "publish", str(ada.repository("source")), "own")
    bob.git("clone", "forge://own", "copy")
    copy = bob.folder / "copy"
    bob.commit(copy, "three")
    bob.git("push", "origin", "main", at=copy)
    ada.git("clone", "forge://own", "other")
    newer = ada.commit(ada.folder / "other", "four")
    ada.git("push", at=ada.folder / "other")
    bob.git("pull", "--quiet", at=copy)
    assert bob.git("rev-parse", "HEAD", at=copy) == newer
    packs = list((copy / ".git" / "objects" / "pack").glob("*.pack"))
    assert len(packs) == 2, "the first one, and what the other pushed"
    sound(bob, copy)


def test_pushing_makes_a_repository(ada: Person, bob: Person) -> None:
    source = bob.repository("source")
    bob.git("push", "forge://made", "main", "v1", at=source)
    ada.git("clone", "forge://made", "copy")
    assert refs(ada, ada.folder / "copy", "refs/tags") == refs(bob, source, "refs/tags")
    assert ada.git("rev-parse", "HEAD", at=ada.folder / "copy") == bob.git("rev-parse", "HEAD", at=source)


def test_publishing_again_makes_it_what_the_repository_is(ada: Person) -> None:
    source = ada.repository("source")
    ada.forge("git", "publish", str(source), "again")
    assert ada.forge("git", "publish", str(source), "again") == "forge://team/again"
    ada.git("branch", "--delete", "--force", "side", at=source)
    ada.commit(source, "three")
    ada.forge("git", "publish", str(source), "again")
    ada.git("clone", "--bare", "forge://again", "copy")
    assert refs(ada, ada.folder / "copy") == refs(ada, source)


def test_sha256(ada: Person, bob: Person) -> None:
    source = ada.repository("source", "--object-format=sha256")
    ada.forge("git", "publish", str(source), "sha256")
    bob.git("clone", "forge://sha256", "copy")
    copy = bob.folder / "copy"
    assert bob.git("rev-parse", "--show-object-format", at=copy) == "sha256"
    new = bob.commit(copy, "three")
    bob.git("push", at=copy)
    ada.git("fetch", "forge://sha256", "main", at=source)
    assert ada.git("rev-parse", "FETCH_HEAD", at=source) == new
    sound(ada, source)
    sound(bob, copy)


def test_an_empty_repository(ada: Person, bob: Person) -> None:
    ada.git("init", "--quiet", "empty")
    ada.forge("git", "publish", str(ada.folder / "empty"), "empty")
    bob.git("clone", "forge://empty", "copy")
    copy = bob.folder / "copy"
    new = bob.commit(copy, "one")
    bob.git("push", "origin", "HEAD:refs/heads/main", at=copy)
    assert ada.git("ls-remote", "forge://empty").split() == [new, "HEAD", new, "refs/heads/main"]
    assert leavings(bob, copy) == []


def test_a_name_that_stands_for_nothing(ada: Person) -> None:
    failed = ada.attempt("clone", "forge://nothing", "copy")
    assert failed.returncode == 128
    assert "nothing is published as 'nothing'" in failed.stderr
    assert not (ada.folder / "copy").exists()
