"""Hot packs: made of what is there, lent to clones for their checkout, and nothing that anybody depends on."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_p2p.git.hot.keeping import UNUSED, find, hot_folder, keep
from forge_p2p.git.hot.lending import lend, take_back
from forge_p2p.git.landing import Landing
from forge_p2p.git.running import Git
from forge_p2p.git.state import State
from forge_p2p.node.home import Home
from tests.git.harness import Person, killed_at, sound
from tests.git.repository import ENVIRONMENT, Repository, edited


class Place:
    """A repository of one pack, and a folder for its hot pack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = random.Random(5)
        self.repository = Repository.create(folder / "clone", bare=False)
        self.repository.git("config", "maintenance.auto", "false")  # only what a test asks for is done meanwhile
        self.files = {f"d{number % 7}/f{number}": edited(self.source) for number in range(150)}
        self.tip = self.repository.commit(self.files)
        self.repository.git("reset", "-q", "--hard")
        self.repository.git("repack", "-adq")
        self.hot = os.fsencode(folder / "hot" / "project")

    @property
    def git(self) -> Git:
        return Git(os.fsencode(self.repository.path / ".git"), ENVIRONMENT)

    @property
    def packs(self) -> Path:
        return self.repository.path / ".git" / "objects" / "pack"

    def keep(self, revision: str = "HEAD") -> Path:
        keep(self.git, self.hot, revision)
        return Path(os.fsdecode(find(self.hot)))

    def lend(self) -> Path:
        """As a clone does it; where the pack is in the repository then."""
        (main,) = self.packs.glob("*.idx")
        with Landing(os.fsencode(self.packs)) as landing:
            lend(self.git, landing, bytes.fromhex(main.stem.removeprefix("pack-")), self.hot)
        return self.packs / Path(os.fsdecode(find(self.hot))).name

    def sound(self) -> None:
        assert self.repository.git("fsck", "--strict", "--no-dangling", "--full") == ""
        assert self.repository.git("status", "--porcelain") == ""
        assert not [path.name for path in self.packs.iterdir() if path.name.startswith("tmp_")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_has_the_tree_as_it_is(place: Place) -> None:
    hot = place.keep()
    assert names(hot.parent) == [hot.name + suffix for suffix in (".idx", ".pack", ".rev")]
    lines = place.repository.git("verify-pack", "-v", hot.with_suffix(".idx")).splitlines()
    objects = [line.split() for line in lines if line[:40].strip("0123456789abcdef") == ""]
    listed = place.repository.git("rev-list", "--objects", "--no-object-names", "HEAD^{tree}").split()
    assert {words[0] for words in objects} == set(listed)
    assert all(len(words) == 5 and int(words[3]) > int(words[2]) for words in objects), "whole, and not compressed"
    assert os.stat(place.folder / "hot").st_mode & 0o777 == 0o700


def test_it_is_made_anew_when_it_does_not_do(place: Place) -> None:
    first = place.keep()
    place.repository.commit({"d1/f1": b"changed\n"})
    assert place.keep() == first, "most is there still"
    place.repository.commit({name: edited(place.source) for name in list(place.files)[:60]})
    second = place.keep()
    assert second != first
    assert len(names(second.parent)) == 3, "nothing is left of the one before"
    place.repository.git("update-ref", "refs/heads/main", place.tip)
    place.repository.git("reflog", "expire", "--expire=now", "--all")
    place.repository.git("gc", "--prune=now", "--quiet")
    assert place.keep() == first, "it had what the repository lacks now"


def test_it_is_not_made_where_nobody_wants_it(place: Place) -> None:
    place.keep()
    place.repository.git("config", "forge.hotPacks", "false")
    assert place.keep() == Path()
    assert not os.path.exists(place.hot)


def test_it_goes_when_nobody_uses_it(place: Place) -> None:
    hot = place.keep().with_suffix(".pack")
    other = place.folder / "hot" / "other"
    for ago, there in ((UNUSED - 600, True), (UNUSED + 600, False)):
        os.utime(hot, (time.time() - ago,) * 2)
        keep(place.git, os.fsencode(other), "HEAD")
        assert hot.exists() == there
    assert names(place.folder / "hot") == ["other"]


MAKER = """
import os, sys
from forge_p2p.git.hot.keeping import keep
from forge_p2p.git.running import Git
print("ready", flush=True)
keep(Git(os.fsencode(sys.argv[1]), dict(os.environ)), os.fsencode(sys.argv[2]), "HEAD")
"""


def maker(place: Place, *before: str) -> "subprocess.Popen[bytes]":
    """One in a process of its own, about to begin."""
    words = [*before, sys.executable, "-c", MAKER, str(place.repository.path / ".git"), os.fsdecode(place.hot)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=ENVIRONMENT, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def ended(process: "subprocess.Popen[bytes]") -> int:
    with process:
        return process.wait()


def test_two_makers_at_once(place: Place) -> None:
    makers = [maker(place) for _ in range(3)]
    assert [ended(each) for each in makers] == [0, 0, 0]
    assert len(names(place.keep().parent)) == 3


def test_a_killed_maker(place: Place) -> None:
    chance = random.Random(11)
    for _ in range(8):
        process = maker(place)
        time.sleep(chance.uniform(0.0, 0.08))
        os.killpg(process.pid, signal.SIGKILL)
        ended(process)
        if path := find(place.hot):
            place.repository.git("verify-pack", os.fsdecode(path + b".idx"))
            for name in os.listdir(os.path.dirname(path)):
                os.unlink(os.path.join(os.path.dirname(path), name))
    hot = place.keep()
    assert len(names(hot.parent)) == 3


def test_a_disk_that_takes_no_more(place: Place) -> None:
    process = maker(place, "prlimit", "--fsize=200000")
    assert ended(process) == 0
    assert find(place.hot) == b""
    assert names(place.folder / "hot" / "project" / "pack") == []
    assert len(names(place.keep().parent)) == 3


def test_a_repository_that_lacks_something(place: Place) -> None:
    blob = place.repository.git("rev-parse", "HEAD:d1/f1")
    rest = [name for name in place.repository.objects("--all") if name != blob]
    pack = place.repository.pack(place.folder, rest)
    for path in place.packs.iterdir():
        path.unlink()
    for suffix in (".pack", ".idx"):
        pack.with_suffix(suffix).rename(place.packs / f"{pack.stem}{suffix}")
    assert place.keep() == Path()


def test_it_is_lent_and_taken_back(place: Place) -> None:
    hot, before = place.keep(), names(place.packs)
    lent = place.lend()
    assert lent.with_suffix(".pack").samefile(hot.with_suffix(".pack")), "not a byte is copied"
    assert len(names(place.packs)) == len(before) + 3
    newest = max(place.packs.glob("*.pack"), key=lambda path: int(path.stat().st_mtime))
    assert newest == lent.with_suffix(".pack")
    assert [int(path.stat().st_mtime) for path in place.packs.glob("*.pack")].count(int(newest.stat().st_mtime)) == 1
    place.sound()
    take_back(place.git)
    assert names(place.packs) == before
    assert State(place.git.places).lent() == b""
    place.sound()
    assert len(names(hot.parent)) == 3


def test_what_the_clone_lacks_is_not_lent(place: Place) -> None:
    """Or what is added to it meanwhile could depend on what goes again."""
    place.repository.commit({"secret": b"of a branch that is no more"})
    place.keep()
    place.repository.git("update-ref", "refs/heads/main", place.tip)
    place.repository.git("reflog", "expire", "--expire=now", "--all")
    place.repository.git("gc", "--prune=now", "--quiet")
    before = names(place.packs)
    place.lend()
    assert names(place.packs) == before
    assert State(place.git.places).lent() == b""


def test_one_of_another_object_format_is_not_lent(place: Place, tmp_path: Path) -> None:
    """The name stood for another repository before."""
    other = Repository.create(tmp_path / "other", form="sha256")
    other.commit(place.files)
    keep(Git(os.fsencode(other.path), ENVIRONMENT), place.hot, "HEAD")
    assert len(Path(os.fsdecode(find(place.hot))).name) == len("pack-") + 64
    before = names(place.packs)
    place.lend()
    assert names(place.packs) == before
    assert len(place.keep().name) == len("pack-") + 40


def test_a_damaged_one_is_not_lent(place: Place) -> None:
    index = place.keep().with_suffix(".idx")
    index.chmod(0o644)
    raw = bytearray(index.read_bytes())
    raw[-400] ^= 1
    index.write_bytes(raw)
    before = names(place.packs)
    with Landing(os.fsencode(place.packs)) as landing:
        lend(place.git, landing, bytes.fromhex(before[0][5:45]), place.hot)
    assert names(place.packs) == before
    assert len(names(place.keep().parent)) == 3


def test_what_git_would_not_call_a_pack_is_not_lent(place: Place) -> None:
    hot, before = place.keep(), names(place.packs)
    for suffix in (".pack", ".rev", ".idx"):
        hot.with_suffix(suffix).rename(hot.with_name(f"pack-hello{suffix}"))
    with Landing(os.fsencode(place.packs)) as landing:
        lend(place.git, landing, bytes.fromhex(before[0][5:45]), place.hot)
    assert names(place.packs) == before
    assert place.keep() == hot
    assert len(names(hot.parent)) == 3


@pytest.mark.parametrize("suffix", [".pack", ".rev", ".idx"])
def test_a_link_in_its_place_is_made_anew(suffix: str, place: Place) -> None:
    hot = place.keep()
    other = place.folder / "other"
    hot.with_suffix(suffix).rename(other)
    hot.with_suffix(suffix).symlink_to(other)
    assert find(place.hot) == b""
    assert place.keep() == hot
    assert not hot.with_suffix(suffix).is_symlink()


def _commit(place: Place) -> None:
    (place.repository.path / "new").write_bytes(place.files["d1/f1"])
    place.repository.git("add", "new")
    place.repository.git("commit", "-q", "-m", "with what is there already")


def _clone(place: Place) -> None:
    place.repository.git("clone", "-q", "--local", ".", place.folder / "other")


def _borrow(place: Place) -> None:
    place.repository.git("clone", "-q", "--shared", ".", place.folder / "other")


def _push(place: Place) -> None:
    Repository.create(place.folder / "other")
    place.repository.git("push", "-q", place.folder / "other", "HEAD:main")


def _git(*words: str) -> Callable[[Place], None]:
    def run(place: Place) -> None:
        _commit(place)
        place.repository.git(*words)

    return run


@pytest.mark.parametrize(
    "meanwhile",
    [
        *(_commit, _clone, _borrow, _push),
        _git("gc", "--quiet"),
        _git("gc", "--quiet", "--aggressive", "--prune=now"),
        _git("gc", "--quiet", "--keep-largest-pack"),
        _git("repack", "-dq"),
        _git("repack", "-adq"),
        _git("repack", "-dq", "--geometric=2"),
        _git("multi-pack-index", "write"),
        _git("maintenance", "run", "--quiet", "--task=incremental-repack", "--task=loose-objects"),
    ],
)
def test_whatever_is_done_meanwhile(place: Place, meanwhile: Callable[[Place], None]) -> None:
    place.keep()
    place.lend()
    meanwhile(place)
    place.sound()
    take_back(place.git)
    place.sound()
    for _ in range(2):
        place.repository.git("gc", "--quiet", "--prune=now")
        place.sound()
    if (place.folder / "other").exists():
        assert Repository(place.folder / "other").git("fsck", "--strict", "--no-dangling") == ""


def test_it_stays_where_git_needs_it(place: Place) -> None:
    """`gc` has kept it as the largest pack, and packed the rest without what is in there."""
    place.keep()
    lent = place.lend()
    _git("gc", "--quiet", "--keep-largest-pack")(place)
    assert len(list(place.packs.glob("*.pack"))) == 2
    take_back(place.git)
    assert lent.with_suffix(".pack").exists()
    place.repository.git("gc", "--quiet")
    assert not lent.with_suffix(".pack").exists()
    take_back(place.git)
    assert State(place.git.places).lent() == b""
    place.sound()


@pytest.mark.parametrize("sign", ["gc.pid", "objects/maintenance.lock", "objects/pack/multi-pack-index"])
def test_it_stays_while_git_is_tidying_up(place: Place, sign: str) -> None:
    place.keep()
    lent = place.lend()
    path = place.repository.path / ".git" / sign
    path.write_bytes(b"")
    take_back(place.git)
    assert lent.with_suffix(".idx").exists()
    path.unlink()
    take_back(place.git)
    assert not lent.with_suffix(".idx").exists()


def test_it_goes_from_under_what_reads(place: Place) -> None:
    """One git that has it open, and one that knows of it and has not opened it yet."""
    place.keep()
    place.lend()
    blobs = [place.repository.git("rev-parse", f"HEAD:{name}") for name in place.files]
    words = ["git", "cat-file", "--batch"]
    readers = []
    for first in (blobs[0], place.tip):
        process = subprocess.Popen(
            words, cwd=place.repository.path, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{first}\n".encode())
        process.stdin.flush()
        size = int(process.stdout.readline().split()[2])
        process.stdout.read(size + 1)
        readers.append(process)
    take_back(place.git)
    for process in readers:
        output, _ = process.communicate("".join(f"{blob}\n" for blob in blobs).encode())
        expected = b"".join(
            b"%b blob %d\n%b\n" % (blob.encode(), len(content), content)
            for blob, content in zip(blobs, place.files.values(), strict=True)
        )
        assert output == expected
    place.sound()


def test_it_goes_from_under_a_checkout(place: Place) -> None:
    hot = place.keep()
    for number in range(5):
        place.lend()
        work = place.folder / f"work{number}"
        words = ["git", "-c", "checkout.workers=2", "worktree", "add", "-q", "--detach", str(work)]
        with subprocess.Popen(words, cwd=place.repository.path, env=ENVIRONMENT) as process:
            time.sleep(0.01 * number)
            take_back(place.git)
            assert process.wait() == 0
        assert {name: (work / name).read_bytes() for name in place.files} == place.files
    assert hot.with_suffix(".pack").exists()
    place.sound()


@pytest.fixture
def published(ada: Person) -> str:
    """The name of a repository of many files."""
    source = ada.repository("source")
    for number in range(150):
        (source / f"file{number}").write_text(f"{number}\n" * 200)
    ada.commit(source, "more")
    name = f"many{os.urandom(4).hex()}"
    ada.forge("git", "publish", str(source), name)
    return name


def clone(person: Person, *words: str, verify: str = "background", hot: str = "true") -> None:
    """As people do it, who have things done in the background."""
    person.git("clone", "--quiet", *words, GIT_CONFIG_VALUE_0=verify, GIT_CONFIG_VALUE_1=hot)


def hot_of(person: Person, name: str) -> Path | None:
    """The hot pack that the node has for a name in the network "team"."""
    path = find(hot_folder(Home(person.home).cache, f"team/{name}"))
    return Path(os.fsdecode(path)) if path else None


def wait_for(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 240  # what is waited for yields to everything else
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def packs_of(repository: Path) -> list[str]:
    return [path.stem for path in (repository / "objects" / "pack").glob("*.pack")]


def test_the_second_clone_on_a_machine(ada: Person, bob: Person, published: str) -> None:
    hook = bob.folder / "hooks" / "post-checkout"
    hook.parent.mkdir()
    hook.write_text('#!/bin/sh\nls "$GIT_DIR/objects/pack" > "$GIT_DIR/packs-at-checkout"\n')
    hook.chmod(0o755)
    clone(bob, f"forge://{published}", "one")
    wait_for(lambda: hot_of(bob, published))
    hot = hot_of(bob, published)
    assert hot is not None
    clone(bob, "-c", f"core.hooksPath={hook.parent}", f"forge://{published}", "two")
    two = bob.folder / "two"
    assert f"{hot.name}.idx" in (two / ".git" / "packs-at-checkout").read_text().split()
    wait_for(lambda: not (two / ".git" / "forge" / "hot").exists())
    assert len(packs_of(two / ".git")) == 1
    assert hot.name.removeprefix("pack-") not in (two / ".git" / "forge" / "packs").read_text()
    assert bob.git("rev-parse", "HEAD", at=two) == ada.git("rev-parse", "HEAD", at=ada.folder / "source")
    assert bob.git("status", "--porcelain", at=two) == ""
    sound(bob, two)


@pytest.mark.parametrize("call", ["link,linkat:signal=KILL:when=1", "link,linkat:signal=KILL:when=3"])
def test_a_clone_that_is_killed_while_it_is_lent(call: str, bob: Person, published: str) -> None:
    clone(bob, f"forge://{published}", "one")
    wait_for(lambda: hot_of(bob, published))
    (bob.folder / "copy").mkdir()
    more = {"GIT_CONFIG_VALUE_0": "background", "GIT_CONFIG_VALUE_1": "true"}
    assert killed_at(bob, call, bob.folder, "clone", f"forge://{published}", "two", more=more) != 0
    assert not (bob.folder / "copy" / "two").exists(), "git removes what it could not clone"
    clone(bob, f"forge://{published}", "copy/two")
    wait_for(lambda: not (bob.folder / "copy" / "two" / ".git" / "forge" / "hot").exists())
    sound(bob, bob.folder / "copy" / "two")
    assert hot_of(bob, published) is not None


def test_what_a_checkout_has_at_hand_a_clone_has_too(bob: Person, published: str) -> None:
    run = [sys.executable, "-m", "forge_p2p.cli.main", "git", "checkout", published, "main", "work"]
    variables = {**bob.variables(), "GIT_CONFIG_VALUE_1": "true"}
    subprocess.run(run, cwd=bob.folder, env=variables, check=True, capture_output=True)
    wait_for(lambda: hot_of(bob, published))
    clone(bob, "--no-checkout", f"forge://{published}", "copy")
    wait_for(lambda: not (bob.folder / "copy" / ".git" / "forge" / "hot").exists())
    subprocess.run([*run[:-1], "again"], cwd=bob.folder, env=variables, check=True, capture_output=True)
    assert bob.git("status", "--porcelain", at=bob.folder / "again") == ""
    sound(bob, bob.folder / "again")


@pytest.mark.parametrize(("verify", "hot"), [("never", "true"), ("now", "true"), ("background", "false")])
def test_clones_that_get_none(bob: Person, published: str, verify: str, hot: str) -> None:
    """Who would take it back, where nothing is done in the background? And in a bare one nothing is checked out."""
    clone(bob, f"forge://{published}", "one")
    wait_for(lambda: hot_of(bob, published))
    clone(bob, f"forge://{published}", "two", verify=verify, hot=hot)
    assert len(packs_of(bob.folder / "two" / ".git")) == 1
    clone(bob, "--bare", f"forge://{published}", "bare")
    assert len(packs_of(bob.folder / "bare")) == 1
