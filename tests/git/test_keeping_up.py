"""`forge git upkeep`: packs made few by who has no repository at hand, beside all that others do meanwhile."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from forge_p2p.git.calls import Node
from forge_p2p.git.upkeep import MANY, keep_up
from forge_p2p.node.control import call
from forge_p2p.node.home import Home
from forge_p2p.node.results import Result
from tests.git.conftest import SETTINGS
from tests.git.harness import Person, leavings, person, refs, sound
from tests.git.lies import Spoil, lie, no_pack, nothing, resealed, swap_offsets, wild_offset
from tests.git.test_graphs import COMMITS, grown, manifest_of
from tests.git.test_upkeep import published_in_pieces
from tests.node.harness import strace


def run(who: Person, *words: str, path: str = "", traced: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    variables = who.variables()
    return subprocess.run(
        [*traced, sys.executable, "-m", "forge_p2p.cli.main", *words],
        cwd=who.folder,
        env={**variables, "PATH": path or variables["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def kept_up(who: Person, name: str) -> dict[str, Any]:
    done = run(who, "--json", "git", "upkeep", name)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["packs"] == len(manifest_of(who, name).packs)
    return told


def left_in_copies(who: Person) -> list[str]:
    """What was not removed of what was done in the node's own repositories."""
    return [each for copy in (Home(who.home).cache / "git").glob("*.git") for each in leavings(who, copy)]


def whole(who: Person, name: str, tip: str) -> None:
    """A clone is what was published."""
    who.git("clone", "--quiet", f"forge://{name}", "whole")
    assert who.git("rev-parse", "HEAD", at=who.folder / "whole") == tip
    sound(who, who.folder / "whole")


def test_by_who_has_no_repository(ada: Person, bob: Person) -> None:
    work = published_in_pieces(ada, "kept", MANY, nothing)
    before = manifest_of(ada, "kept")
    told = kept_up(bob, "team/kept")
    assert (told["moved"], told["before"], told["graph"], told["notes"]) == (True, MANY + 1, False, [])
    assert told["packs"] == MANY + 1 - told["joined"] + 1
    after = manifest_of(ada, "kept")
    assert (after.refs, after.head, after.rules) == (before.refs, before.head, before.rules)
    assert sum(pack.objects for pack in after.packs) == sum(pack.objects for pack in before.packs)
    assert left_in_copies(bob) == []
    whole(bob, "kept", ada.git("rev-parse", "HEAD", at=work))

    again = run(bob, "git", "upkeep", "kept")
    assert (again.returncode, again.stdout) == (0, f"{told['url']}@{told['seq']}\n")
    assert "nothing to do" in again.stderr
    assert kept_up(bob, "kept")["moved"] is False


@pytest.mark.parametrize("spoil", [wild_offset, swap_offsets, nothing])
def test_what_lies_is_not_passed_on(spoil: Spoil, ada: Person, bob: Person) -> None:
    """Indexes that lie, objects in many packs."""
    name = f"lies-{spoil.__name__}"
    work = published_in_pieces(ada, name, MANY, spoil, twice=spoil is nothing)
    told = kept_up(bob, name)
    assert (told["packs"], told["notes"]) == (1, [])
    whole(ada, name, ada.git("rev-parse", "HEAD", at=work))


def rotten(folder: Path) -> None:
    """A pack that has the hash it says, an index that is its own, and an object that cannot be inflated."""
    (pack,) = (folder / "packs").glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[12:-20] = bytes(each ^ 0x55 if at > 20 else each for at, each in enumerate(data[12:-20]))
    data[-20:] = hashlib.sha1(data[:-20]).digest()
    pack.write_bytes(data)
    (index,) = (folder / "packs").glob("*.idx")
    seal = bytearray(index.read_bytes())
    seal[-40:-20] = data[-20:]
    resealed(index, seal)
    manifest = folder / "manifest"
    old, new = bytes.fromhex(pack.stem.removeprefix("pack-")), bytes(data[-20:])
    manifest.write_bytes(manifest.read_bytes().replace(old, new))
    for path in list((folder / "packs").iterdir()):
        path.rename(path.with_name(path.name.replace(old.hex(), new.hex())))


def test_what_git_cannot_read_holds_nothing_up(ada: Person, bob: Person) -> None:
    published_in_pieces(ada, "rotten", MANY, rotten)
    bad = manifest_of(ada, "rotten").packs[0]
    told = kept_up(bob, "rotten")
    assert (told["joined"], told["packs"]) == (MANY, 2)
    assert bad.hash.hex() in told["notes"][0]
    assert manifest_of(ada, "rotten").packs[0] == bad


def test_a_commit_graph(ada: Person, bob: Person) -> None:
    work = ada.folder / "work.git"
    ada.git("init", "--quiet", "--bare", str(work))
    grown(ada, work, COMMITS)
    lie(ada, "graphed", work, nothing)
    told = kept_up(bob, "graphed")
    assert (told["graph"], told["joined"], told["packs"]) == (True, 0, 1)
    assert kept_up(bob, "graphed")["moved"] is False
    bob.git("clone", "--quiet", "--bare", "forge://graphed", "copy.git")
    assert (bob.folder / "copy.git" / "objects" / "info" / "commit-graph").exists()
    bob.git("commit-graph", "verify", at=bob.folder / "copy.git")
    sound(bob, bob.folder / "copy.git")


def interrupted_by(who: Person, repository: str, meanwhile: Callable[[], object]) -> Node:
    """The node, on which something else happens right before the first record is put."""
    done: list[bool] = []

    def run_operation(
        name: str, arguments: dict[str, Any], on_bytes: Callable[[bytes], object] | None = None
    ) -> Result:
        if name == "git_put" and not done:
            done.append(True)
            meanwhile()
        return call(Home(who.home), name, arguments, None, on_bytes)

    return Node(run_operation, repository)


def test_a_push_comes_first(ada: Person, bob: Person) -> None:
    published_in_pieces(ada, "pushed-first", MANY, nothing)
    bob.git("clone", "--quiet", "forge://pushed-first", "copy")
    tip = bob.commit(bob.folder / "copy", "meanwhile")

    def meanwhile() -> None:
        bob.git("push", "--quiet", at=bob.folder / "copy")
        ada.git("clone", "--quiet", "--depth", "1", "forge://pushed-first", "shallow")

    node = interrupted_by(ada, "pushed-first", meanwhile)
    tended = keep_up(node, Home(ada.home).cache, ada.variables())
    assert tended.put is not None
    manifest = manifest_of(ada, "pushed-first")
    assert len(manifest.packs) == tended.packs < MANY
    assert manifest.packs[-1].tips == [bytes.fromhex(tip)]
    assert ada.git("rev-parse", "HEAD", at=ada.folder / "shallow") == tip, "and nobody waits for upkeep"
    whole(ada, "pushed-first", tip)


def test_somebody_else_has_done_it(ada: Person, bob: Person) -> None:
    work = published_in_pieces(ada, "done-twice", MANY, nothing)
    node = interrupted_by(ada, "done-twice", lambda: kept_up(bob, "done-twice"))
    tended = keep_up(node, Home(ada.home).cache, ada.variables())
    assert (tended.put, tended.joined) == (None, 0)
    assert tended.packs == len(manifest_of(ada, "done-twice").packs) < MANY
    whole(ada, "done-twice", ada.git("rev-parse", "HEAD", at=work))


STOPS = [
    "rename:signal=KILL:when=1",
    "rename:signal=KILL:when=4",
    "mkdir:signal=KILL:when=1",
    "mkdir:signal=KILL:when=4",
    "flock:signal=KILL:when=1",
    "sendto:signal=KILL:when=2",
    "unlink,unlinkat:signal=KILL:when=1",
]
"""System calls of the command and of the git that it runs."""


def deadly_git(folder: Path) -> str:
    """A PATH with a git that, asked to check a pack, kills who has started it."""
    folder.mkdir()
    script = folder / "git"
    script.write_text(f'#!/bin/sh\n[ "$1" = index-pack ] && kill -9 $PPID\nexec {shutil.which("git")} "$@"\n')
    script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_killed_at_any_point(ada: Person, bob: Person, tmp_path: Path) -> None:
    work = published_in_pieces(ada, "killed", MANY, nothing)
    tip = ada.git("rev-parse", "HEAD", at=work)
    for stop in STOPS:
        run(bob, "git", "upkeep", "killed", traced=strace("-e", f"inject={stop}"))
        assert ada.git("ls-remote", "forge://killed", "HEAD").split()[0] == tip, stop
    kept_up(bob, "killed")
    whole(bob, "killed", tip)

    (tmp_path / "again").mkdir()
    again = Person(ada.home, tmp_path / "again", ada.bin)
    work = published_in_pieces(again, "killed", MANY, nothing)
    before = manifest_of(ada, "killed")
    killed = run(bob, "git", "upkeep", "killed", path=deadly_git(tmp_path / "deadly"))
    assert (killed.returncode, manifest_of(ada, "killed")) == (-signal.SIGKILL, before)
    assert left_in_copies(bob) != []
    assert kept_up(bob, "killed")["moved"] is True
    assert left_in_copies(bob) == []
    whole(again, "killed", again.git("rev-parse", "HEAD", at=work))


def test_a_full_disk(ada: Person, bob: Person) -> None:
    work = published_in_pieces(ada, "full", MANY, nothing)
    before = manifest_of(ada, "full")
    done = run(bob, "git", "upkeep", "full", traced=strace("-e", "inject=copy_file_range,rename:error=ENOSPC"))
    assert done.returncode == 8, done.stderr
    assert manifest_of(ada, "full") == before
    assert kept_up(bob, "full")["moved"] is True
    whole(bob, "full", ada.git("rev-parse", "HEAD", at=work))


def test_who_cannot(ada: Person, bob: Person, tmp_path: Path) -> None:
    """The right is missing, or git is, or there is nothing."""
    published_in_pieces(ada, "barred", MANY, nothing)
    eve = person(tmp_path, "eve", SETTINGS)
    run(eve, "network", "join", ada.forge("network", "invite", "--role", "seed"))
    barred = run(eve, "git", "upkeep", "barred")
    assert barred.returncode == 11
    assert "is a seed in network 'team'" in barred.stderr
    assert "--role writer" in barred.stderr
    bare = run(bob, "git", "upkeep", "barred", path=os.devnull)
    assert (bare.returncode, "git is not installed" in bare.stderr) == (1, True)
    assert run(bob, "git", "upkeep", "nothing-there").returncode == 4
    ticket = ada.forge("git", "share", str(ada.folder / "project"))
    assert run(bob, "git", "upkeep", ticket).returncode == 11
    assert len(manifest_of(ada, "barred").packs) == MANY + 1
    assert kept_up(bob, "barred")["moved"] is True


def test_what_is_no_pack_is_said(ada: Person, bob: Person) -> None:
    """Nobody can clone that, until an admin has rolled it back."""
    published_in_pieces(ada, "none", MANY, no_pack)
    done = run(bob, "git", "upkeep", "none")
    assert done.returncode == 3
    assert "is no such pack" in done.stderr
    assert refs(ada, ada.folder / "project")
