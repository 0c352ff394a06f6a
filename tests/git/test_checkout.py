"""Work trees that forge writes, in the eyes of git: clean, the same files, and nobody's edits lost."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forge_p2p.errors import ForgeError, Malformed, UsageError
from forge_p2p.git.checkout.workspace import Done, Request, check_out
from forge_p2p.git.hot.keeping import find, keep
from forge_p2p.git.packs.formats import SHA1
from forge_p2p.git.packs.index import PackIndex, parse_index, write_index
from forge_p2p.git.running import Git, GitFailed
from forge_p2p.git.state import State
from forge_p2p.git.verifying import verify
from tests.git.repository import ENVIRONMENT, Repository, edited

WAYS = pytest.mark.parametrize("own", [True, False], ids=["with .git", "without"])


class Place:
    """A bare repository with some history, and a directory to check it out into."""

    def __init__(self, folder: Path, form: str = "sha1") -> None:
        self.folder = folder
        self.repository = Repository.create(folder / "cache.git", form=form)
        self.repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
        source = random.Random(3)
        self.files = {f"d{number % 7}/e{number % 3}/f{number}": edited(source) for number in range(80)}
        self.files |= {"empty": b"", "large": source.randbytes(3 << 20), "name with\nnewline": b"x", "ünï": b"y"}
        self.first = self.repository.commit({path: self.files[path] for path in self.files if "\n" not in path})
        self.source = source

    def check_out(self, commit: str, into: str = "work", *, own: bool = True, force: bool = False) -> Done:
        request = Request(
            os.fsencode(self.repository.path),
            "project",
            commit,
            os.fsencode(self.folder / into),
            self.hot,
            os.fsencode(self.folder / "state"),
            "forge://team/project",
            own=own,
            force=force,
        )
        return check_out(request, ENVIRONMENT)

    def widened(self) -> str:
        """A commit of so many files that git has several processes write them."""
        return self.repository.commit({f"wide/{number}": edited(self.source) for number in range(120)})

    @property
    def hot(self) -> bytes:
        return os.fsencode(self.folder / "hot" / "project")

    def keep_hot(self, commit: str) -> Path:
        """What is made behind a checkout; where it is, without the ends of its names."""
        keep(Git(os.fsencode(self.repository.path), ENVIRONMENT), self.hot, commit)
        return Path(os.fsdecode(find(self.hot)))

    def tree(self, *entries: str) -> str:
        """A commit of a tree of these entries, `MODE OID NAME`, as `mktree` takes them: whatever git lets pass."""
        tree = self.repository.git("mktree", "-z", given="".join(f"{entry}\0" for entry in entries))
        return self.repository.git("commit-tree", "-m", "made", tree)

    def blob(self, content: bytes) -> str:
        return self.repository.git("hash-object", "-w", "--stdin", given=content)

    def same_as_git(self, commit: str, into: str = "work") -> None:
        """What is there is what git would have written."""
        theirs = self.folder / f"theirs-{commit[:8]}"
        if not theirs.exists():
            theirs.mkdir()
            index = {**ENVIRONMENT, "GIT_INDEX_FILE": str(self.folder / "theirs.index"), "GIT_WORK_TREE": str(theirs)}
            words = ["git", "--git-dir", str(self.repository.path), "read-tree", "--reset", "-u", commit]
            subprocess.run(words, check=True, env=index)
        assert contents(self.folder / into) == contents(theirs)


def contents(top: Path) -> dict[str, tuple[str, object]]:
    found: dict[str, tuple[str, object]] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if name == ".git" or name.startswith(".git/"):
            continue
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("folder", None)
        else:
            found[name] = (stat.filemode(path.stat().st_mode), path.read_bytes())
    return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("form", ["sha1", "sha256"])
@WAYS
def test_first_checkout(tmp_path: Path, form: str, own: bool) -> None:
    place = Place(tmp_path, form)
    assert place.check_out(place.first, own=own) == Done(place.first, "written")
    place.same_as_git(place.first)
    assert (place.folder / "work" / ".git").exists() == own
    if own:
        work = Repository(place.folder / "work")
        assert work.git("status", "--porcelain") == ""
        assert work.git("diff-files") == ""
        assert work.git("rev-parse", "HEAD") == place.first
        assert work.git("remote", "get-url", "origin") == "forge://team/project"
        assert work.git("fsck", "--strict") == ""


def test_the_index_is_what_git_believes(place: Place) -> None:
    """git finds nothing to set right, and would write the index anew if it did."""
    place.check_out(place.first)
    work = Repository(place.folder / "work")
    index = (work.path / ".git" / "index").read_bytes()
    assert work.git("status", "--porcelain") == ""
    work.git("update-index", "--refresh")
    assert (work.path / ".git" / "index").read_bytes() == index
    os.utime(work.path / "empty", (1, 1))  # git looks at whole seconds
    work.git("update-index", "--refresh")
    assert (work.path / ".git" / "index").read_bytes() != index


@pytest.mark.parametrize("form", ["sha1", "sha256"])
@WAYS
def test_second_checkout_from_the_hot_pack(tmp_path: Path, form: str, own: bool) -> None:
    """Where git really looks: objects that only the hot pack has are written, too."""
    place = Place(tmp_path, form)
    place.check_out(place.first, "one", own=own)
    hot = place.keep_hot(place.first)
    assert hot.with_suffix(".pack").stat().st_size > 80_000
    place.same_as_git(place.first, "one")
    content = place.repository.git("rev-parse", f"{place.first}:large")
    lacking = [name for name in place.repository.objects("--all") if name != content]
    pack = place.repository.pack(place.folder, lacking)
    for old in (place.repository.path / "objects" / "pack").iterdir():
        old.unlink()
    for suffix in (".pack", ".idx"):
        pack.with_suffix(suffix).rename(place.repository.path / "objects" / "pack" / f"{pack.stem}{suffix}")
    place.check_out(place.first, "two", own=own)
    place.same_as_git(place.first, "two")
    assert sorted(path.name for path in hot.parent.parent.iterdir()) == ["pack"], "git writes nothing there"
    assert sorted(path.suffix for path in hot.parent.iterdir()) == [".idx", ".pack", ".rev"]


def test_the_hot_pack_is_looked_into_first(place: Place) -> None:
    """By the processes that write: what the repository's own index lies about is right where the hot pack is."""
    wide = place.widened()
    place.keep_hot(wide)
    lied_about(place)
    place.check_out(wide)
    assert (place.folder / "work" / "empty").read_bytes() == b""
    assert (place.folder / "work" / "large").read_bytes() == place.files["large"]


def test_damage_in_the_hot_pack_is_seen(place: Place) -> None:
    wide = place.widened()
    hot = place.keep_hot(wide)
    for suffix, places in ((".pack", (1 << 20, 3_300_000)), (".idx", (1100, -3000, -400))):
        path = hot.with_suffix(suffix)
        path.chmod(0o644)
        whole = path.read_bytes()
        flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at:][1:] for at in places]
        for number, damaged in enumerate([*flipped, whole[:-1], whole[:-40] + bytes(40), whole[:10], b""]):
            path.write_bytes(damaged)
            into = f"with {suffix} {number}"
            place.check_out(wide, into, own=False)
            place.same_as_git(wide, into)
        path.write_bytes(whole)


@WAYS
def test_from_one_commit_to_the_next_and_back(place: Place, own: bool) -> None:
    second = place.repository.commit({"d1/e1/f1": b"changed\n", "new/deep/file": b"new\n", "d2/e2/f2": b"changed\n"})
    place.check_out(place.first, own=own)
    for commit in (second, place.first, second):
        assert place.check_out(commit, own=own) == Done(commit, "updated")
        place.same_as_git(commit)
    assert place.check_out(second, own=own) == Done(second, "unchanged")


@WAYS
def test_commits_that_came_later(place: Place, own: bool) -> None:
    place.check_out(place.first, own=own)
    later = place.repository.commit({"later": b"later\n"})
    hidden = place.repository.git("commit-tree", "-p", later, "-m", "no ref", f"{later}^{{tree}}")
    for commit in (later, hidden):
        place.check_out(commit, own=own)
        place.same_as_git(commit)


@WAYS
def test_edits_stay_unless_forced(place: Place, own: bool) -> None:
    second = place.repository.commit({"d1/e1/f1": b"changed\n"})
    place.check_out(place.first, own=own)
    mine = place.folder / "work" / "d1" / "e1" / "f1"
    mine.write_bytes(b"mine\n")
    (place.folder / "work" / "d2" / "e2" / "f2").write_bytes(b"also mine\n")
    with pytest.raises(UsageError, match="would be lost"):
        place.check_out(second, own=own)
    assert mine.read_bytes() == b"mine\n"
    mine.write_bytes(place.files["d1/e1/f1"])
    assert place.check_out(second, own=own) == Done(second, "updated", kept=1)
    assert (place.folder / "work" / "d2" / "e2" / "f2").read_bytes() == b"also mine\n"
    (place.folder / "work" / "untracked").write_bytes(b"mine")
    place.check_out(second, own=own, force=True)
    (place.folder / "work" / "untracked").unlink()
    place.same_as_git(second)


@WAYS
def test_what_was_removed_comes_back(place: Place, own: bool) -> None:
    place.check_out(place.first, own=own)
    for name in ("d1/e1/f1", "d3/e0/f3", "empty"):
        (place.folder / "work" / name).unlink()
    assert place.check_out(place.first, own=own) == Done(place.first, "unchanged", restored=3)
    place.same_as_git(place.first)
    subprocess.run(["rm", "-rf", place.folder / "work"], check=True)
    assert place.check_out(place.first, own=own).how == "written"
    place.same_as_git(place.first)


@WAYS
def test_what_took_the_place_of_something_stays(place: Place, own: bool) -> None:
    """A file or a symlink where a directory was, a directory where a file was: git calls what was there deleted."""
    place.check_out(place.first, own=own)
    work = place.folder / "work"
    outside = place.folder / "outside"
    outside.mkdir()
    subprocess.run(["rm", "-rf", work / "d1", work / "d2", work / "empty"], check=True)
    (work / "d1").write_bytes(b"mine")
    (work / "d2").symlink_to(outside)
    (work / "empty").mkdir()
    (work / "empty" / "inside").write_bytes(b"also mine")
    (work / "large").unlink()
    second = place.repository.commit({"new": b"new\n"})
    for commit in (place.first, second):
        done = place.check_out(commit, own=own)
        assert (done.restored > 0) == (commit == place.first)
        assert done.kept > 2
        assert (work / "d1").read_bytes() == b"mine"
        assert (work / "d2").is_symlink()
        assert not list(outside.iterdir())
        assert (work / "empty" / "inside").read_bytes() == b"also mine"
        assert (work / "large").read_bytes() == place.files["large"]


def test_a_commit_on_no_branch_is_told(place: Place) -> None:
    second = place.repository.commit({"new": b"new\n"})
    place.check_out(place.first)
    work = Repository(place.folder / "work")
    mine = place.folder / "work" / "mine"
    mine.write_bytes(b"mine")
    work.git("add", "mine")
    work.git("commit", "-q", "-m", "mine")
    own = work.git("rev-parse", "HEAD")
    assert place.check_out(second) == Done(second, "updated", left=own)
    work.git("branch", "kept", own)
    work.git("checkout", "-q", "--detach", "kept")
    assert place.check_out(second) == Done(second, "updated")


def test_a_directory_that_came_after_a_killed_checkout_is_not_it(place: Place) -> None:
    place.check_out(place.first, own=False)
    (record,) = (place.folder / "state").glob("*.index")
    there = (place.folder / "work").stat()
    record.with_suffix(".unfinished").write_bytes(b"%d %d" % (there.st_dev, there.st_ino))
    (place.folder / "mine").mkdir()
    (place.folder / "mine" / "empty").write_bytes(b"mine")
    subprocess.run(["rm", "-rf", place.folder / "work"], check=True)
    (place.folder / "mine").rename(place.folder / "work")
    with pytest.raises(UsageError, match="not empty"):
        place.check_out(place.first, own=False)
    assert (place.folder / "work" / "empty").read_bytes() == b"mine"


def test_a_repository_of_another_user_is_not_touched(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configuration names programs that git runs."""
    place.check_out(place.first)
    work = Repository(place.folder / "work")
    work.git("config", "core.fsmonitor", f"touch {place.folder / 'owned'}; false")
    monkeypatch.setitem(ENVIRONMENT, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError, match=r"safe\.directory"):
        place.check_out(place.first, force=True)
    assert not (place.folder / "owned").exists()


def lied_about(place: Place) -> State:
    """Has the index of the cache's one pack say of `empty` and `large` that each is where the other one is."""
    repository = place.repository
    repository.git("repack", "-adq")
    (path,) = (repository.path / "objects" / "pack").glob("*.idx")
    index = parse_index(path.read_bytes(), SHA1, path.with_suffix(".pack").stat().st_size)
    names = [bytes(name).hex() for name in index.names]
    one, two = (names.index(repository.git("rev-parse", f"{place.first}:{each}")) for each in ("empty", "large"))
    crcs, offsets = index.crcs.copy(), index.offsets.copy()
    for column in (crcs, offsets):
        column[[one, two]] = column[[two, one]]
    path.chmod(0o644)
    path.with_suffix(".rev").unlink(missing_ok=True)
    with path.open("wb") as file:
        write_index(PackIndex(SHA1, index.names, crcs, offsets, index.pack_hash), file)
    state = State(Git(os.fsencode(repository.path), ENVIRONMENT).places)
    with state.unverified_landing([index.pack_hash], "somebody"):
        pass
    return state


def test_what_an_index_lied_about_does_not_stay_in_the_hot_pack(place: Place) -> None:
    """It is made while the lie is believed; `index-pack` gives what it is given its right name."""
    lied_about(place)
    place.check_out(place.first, "lied to")
    assert (place.folder / "lied to" / "large").read_bytes() == b""
    assert place.keep_hot(place.first).with_suffix(".pack").stat().st_size > 3 << 20
    there = Git(os.fsencode(place.repository.path), ENVIRONMENT).without_objects(place.hot)
    for name in ("empty", "large"):
        blob = place.repository.git("rev-parse", f"{place.first}:{name}")
        assert there.run("cat-file", "blob", blob) == place.files[name]
    assert verify(Git(os.fsencode(place.repository.path), ENVIRONMENT), lambda pack, landing: False) == []
    place.check_out(place.first, "right")
    place.same_as_git(place.first, "right")


def test_what_was_repacked_before_it_was_checked_is_checked(place: Place) -> None:
    """git takes an index at its word when it packs anew: the lie is in the new pack, too."""
    state = lied_about(place)
    place.repository.git("repack", "-adq", "--no-write-bitmap-index")
    (fault,) = verify(Git(os.fsencode(place.repository.path), ENVIRONMENT), lambda pack, landing: False)
    assert "published by node somebody" in fault
    assert state.damaged() == [fault]


@WAYS
def test_other_things_are_left_alone(place: Place, own: bool) -> None:
    (place.folder / "work").mkdir()
    (place.folder / "work" / "mine").write_bytes(b"mine")
    with pytest.raises(UsageError, match="not empty"):
        place.check_out(place.first, own=own)
    foreign = Repository.create(place.folder / "foreign", bare=False)
    foreign.commit({"a": b"a"})
    with pytest.raises(UsageError):
        place.check_out(place.first, "foreign", own=own)
    assert [path.name for path in (place.folder / "work").iterdir()] == ["mine"]


def test_modes_links_and_submodules(place: Place) -> None:
    blob = place.blob(b"#!/bin/sh\n")
    inner = place.tree(f"100755 blob {blob}\trun", f"120000 blob {place.blob(b'../../outside')}\tup")
    tree = place.repository.git("rev-parse", f"{inner}^{{tree}}")
    commit = place.tree(
        f"120000 blob {place.blob(b'sub/run')}\tabs",
        f"100664 blob {blob}\told mode",
        f"040000 tree {tree}\tsub",
        f"160000 commit {place.first}\tmodule",
    )
    assert place.check_out(commit) == Done(commit, "written")
    place.same_as_git(commit)
    assert Repository(place.folder / "work").git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("attributes", "content"),
    [(b"* text eol=crlf\n", b"one\ntwo\n"), (b"*.txt ident\n", b"$Id$\n"), (b"*.txt filter=none\n", b"same\n")],
)
def test_what_git_converts_git_writes(place: Place, attributes: bytes, content: bytes) -> None:
    commit = place.repository.commit({".gitattributes": attributes, "a.txt": content})
    place.check_out(commit)
    place.same_as_git(commit)


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", "..", ".git\u200c"])
@WAYS
def test_hostile_names_are_refused(place: Place, name: str, own: bool) -> None:
    blob = place.blob(b"evil")
    bad = place.repository.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", given=_tree(name, blob))
    commit = place.repository.git("commit-tree", "-m", "evil", bad)
    with pytest.raises(GitFailed):
        place.check_out(commit, own=own)
    assert not [path for path in (place.folder / "work").iterdir() if path.name != ".git"]
    assert not (place.folder / "evil").exists()


def _tree(name: str, blob: str, mode: bytes = b"100644") -> bytes:
    return mode + b" " + name.encode() + b"\0" + bytes.fromhex(blob)


def test_odd_names_that_git_lets_pass_are_written_by_git(place: Place) -> None:
    commit = place.repository.commit({"aux": b"a device elsewhere", "dot.": b"dropped elsewhere"})
    place.check_out(commit)
    place.same_as_git(commit)


@WAYS
def test_a_link_that_would_be_written_through(place: Place, own: bool) -> None:
    """A tree with `a` as a symlink and as a directory (CVE-2024-32002 and its kin): nothing lands behind the link."""
    outside = place.folder / "outside"
    outside.mkdir()
    inner = place.repository.git("mktree", given=f"100644 blob {place.blob(b'evil')}\tevil\n")
    raw = _tree("a", place.blob(os.fsencode(outside)), b"120000") + _tree("a", inner, b"40000")
    bad = place.repository.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", given=raw)
    commit = place.repository.git("commit-tree", "-m", "evil", bad)
    with pytest.raises((Malformed, GitFailed)):
        place.check_out(commit, own=own)
    assert not list(outside.iterdir())


def test_a_missing_blob_is_named(place: Place) -> None:
    commit = place.repository.commit({"x": b"only here"})
    blob = place.repository.git("rev-parse", f"{commit}:x")
    place.repository.git("repack", "-adq")
    packs = place.repository.pack(place.folder, [name for name in place.repository.objects("--all") if name != blob])
    for old in (place.repository.path / "objects" / "pack").iterdir():
        old.unlink()
    for suffix in (".pack", ".idx"):
        packs.with_suffix(suffix).rename(place.repository.path / "objects" / "pack" / packs.with_suffix(suffix).name)
    with pytest.raises(ForgeError, match=f"{blob}|x"):
        place.check_out(commit, own=False)


KILLED = """
import os, sys
from forge_p2p.git.checkout.workspace import Request, check_out
cache, commit, work, hot, state, own = sys.argv[1:]
print("ready", flush=True)
check_out(Request(os.fsencode(cache), "project", commit, os.fsencode(work), os.fsencode(hot), os.fsencode(state),
                  "forge://x", own=own == "own"), dict(os.environ))
"""


@WAYS
def test_killed_and_run_again(place: Place, own: bool) -> None:
    source = random.Random(7)
    hot = place.keep_hot(place.first).parents[1]
    for number in range(4):
        work = place.folder / f"killed{number}"
        words = [place.repository.path, place.first, work, hot, place.folder / "state", "own" if own else "no"]
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, *map(str, words)],
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(source.uniform(0.0, 0.12))
            os.killpg(process.pid, signal.SIGKILL)
        assert place.check_out(place.first, work.name, own=own).commit == place.first
        place.same_as_git(place.first, work.name)
        if own:
            assert Repository(work).git("status", "--porcelain") == ""
            assert Repository(work).git("fsck", "--strict", "--no-dangling") == ""


def test_a_symlink_for_gitmodules_is_refused_as_by_git(place: Place) -> None:
    for number, name in enumerate((".gitmodules", ".GitModules", "gitmod~1")):
        commit = place.tree(f"120000 blob {place.blob(b'elsewhere')}\t{name}")
        with pytest.raises(GitFailed):
            place.check_out(commit, f"into{number}")
        assert not (place.folder / f"into{number}" / name).is_symlink()
