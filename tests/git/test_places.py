"""Wherever git is run, and whatever things are called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.git.harness import Person, leavings, refs, sound


@pytest.fixture(scope="module")
def source(people: tuple[Person, Person], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that is published as `places`."""
    ada = Person(people[0].home, tmp_path_factory.mktemp("places"), people[0].bin)
    made = ada.repository("source")
    ada.forge("git", "publish", str(made), "places")
    return made


NAMES = [
    "with space",
    "-n",
    "--upload-pack=touch x",
    "naïve-雪",
    "new\nline",
    "quote'\"$(id)",
    "semi;colon",
    "%2e%2e",
    "*",
]


@pytest.mark.parametrize("called", NAMES)
def test_folders_called_anything(called: str, source: Path, bob: Person) -> None:
    copy = bob.folder / called
    bob.git("clone", "--quiet", "--", "forge://places", called)
    bob.commit(copy, "three")
    bob.git("push", "--quiet", "origin", f"HEAD:refs/heads/by{NAMES.index(called)}", at=copy)
    bob.git("fetch", "--quiet", at=copy)
    sound(bob, copy)


@pytest.mark.parametrize("branch", ["naïve-雪", "a/b/c", "quote'\"$(id)", "semi;colon", "100%", "@", "x" * 200, "--x"])
def test_branches_called_anything(branch: str, source: Path, ada: Person, bob: Person) -> None:
    bob.git("clone", "--quiet", "forge://places", "copy")
    copy = bob.folder / "copy"
    bob.git("push", "--quiet", "origin", f"main:refs/heads/at-{branch}/it", at=copy)
    ada.git("clone", "--quiet", "--bare", "forge://places", "bare")
    assert f"refs/heads/at-{branch}/it" in refs(ada, ada.folder / "bare")
    bob.git("push", "--quiet", "origin", f":refs/heads/at-{branch}/it", at=copy)


def test_a_relative_git_dir(source: Path, bob: Person) -> None:
    bob.git("init", "--quiet", "here")
    inside = bob.folder / "here" / "below"
    inside.mkdir()
    bob.git("fetch", "--quiet", "forge://places", "main:refs/heads/got", at=inside, GIT_DIR="../.git")
    bob.git("symbolic-ref", "HEAD", "refs/heads/got", at=bob.folder / "here")
    sound(bob, bob.folder / "here")


def test_a_worktree(source: Path, bob: Person) -> None:
    bob.git("clone", "--quiet", "forge://places", "copy")
    copy, tree = bob.folder / "copy", bob.folder / "tree"
    bob.git("worktree", "add", "--quiet", "-b", "tree", str(tree), at=copy)
    bob.commit(tree, "three")
    bob.git("push", "--quiet", "origin", "tree", at=tree)
    bob.git("fetch", "--quiet", at=tree)
    assert (copy / ".git" / "forge" / "packs").exists()
    assert not (copy / ".git" / "worktrees" / "tree" / "forge").exists()
    sound(bob, tree)


def test_objects_of_another_repository(source: Path, bob: Person) -> None:
    bob.git("clone", "--quiet", "--reference", str(source), "forge://places", "copy")
    sound(bob, bob.folder / "copy")
    bob.git("clone", "--quiet", "--shared", "copy", "shared")
    bob.git("remote", "set-url", "origin", "forge://places", at=bob.folder / "shared")
    bob.git("fetch", "--quiet", at=bob.folder / "shared")
    bob.commit(bob.folder / "shared", "three")
    bob.git("push", "--quiet", "origin", "HEAD:refs/heads/shared", at=bob.folder / "shared")
    sound(bob, bob.folder / "shared")


def test_a_bare_clone(source: Path, bob: Person) -> None:
    bob.git("clone", "--quiet", "--mirror", "forge://places", "bare.git")
    bob.git("remote", "update", at=bob.folder / "bare.git")
    assert refs(bob, bob.folder / "bare.git").items() >= refs(bob, source).items()
    sound(bob, bob.folder / "bare.git")


def test_a_submodule_with_a_relative_url(source: Path, ada: Person, bob: Person) -> None:
    outer = ada.repository("outer")
    ada.git("submodule", "--quiet", "add", "forge://team/places", "inner", at=outer)
    ada.git("config", "--file", ".gitmodules", "submodule.inner.url", "../places", at=outer)
    ada.commit(outer, "three")
    ada.forge("git", "publish", str(outer), "outer")
    bob.git("clone", "--quiet", "--recurse-submodules", "forge://team/outer", "copy")
    assert (bob.folder / "copy" / "inner" / "folder" / "two").exists()
    alone = bob.attempt(
        "-c", "protocol.forge.allow=user", "clone", "--recurse-submodules", "forge://team/outer", "careful"
    )
    assert "transport 'forge' not allowed" in alone.stderr, "git's own rule for schemes that it does not know"


@pytest.mark.parametrize("before", ["forge://", "forge://team/"])
def test_a_submodule_is_added_by_a_relative_url(before: str, source: Path, ada: Person, bob: Person) -> None:
    called = f"adding-{len(before)}"
    ada.forge("git", "publish", str(ada.repository("outer")), called)
    ada.git("clone", "--quiet", f"{before}{called}", "work")
    ada.git("submodule", "--quiet", "add", "../places", "inner", at=ada.folder / "work")
    ada.git("commit", "--quiet", "--message", "a module", at=ada.folder / "work")
    ada.git("push", "--quiet", at=ada.folder / "work")
    bob.git("clone", "--quiet", "--recurse-submodules", f"{before}{called}", "copy")
    inner = bob.folder / "copy" / "inner"
    assert (inner / "folder" / "two").exists()
    assert bob.git("remote", "get-url", "origin", at=inner) == f"{before}places"


def test_what_a_hook_left_in_the_environment(source: Path, bob: Person) -> None:
    """Run by a hook of another repository, `forge git publish` takes the one that it was told."""
    other, mine = bob.repository("other"), bob.repository("mine")
    bob.git("branch", "mine-alone", at=mine)
    done = subprocess.run(
        [sys.executable, "-m", "forge_p2p.cli.main", "git", "publish", str(mine), "team/hooked"],
        env={**bob.variables(), "GIT_DIR": str(other / ".git")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refs/heads/mine-alone" in bob.git("ls-remote", "forge://team/hooked")


def test_a_disk_that_refuses_is_told_without_a_traceback(source: Path, bob: Person) -> None:
    bob.git("clone", "--quiet", "forge://places", "copy")
    copy = bob.folder / "copy"
    bob.commit(copy, "three")
    shutil.rmtree(copy / ".git" / "forge")
    (copy / ".git" / "forge").write_text("in the way")
    refused = bob.attempt("push", "origin", "HEAD:refs/heads/refused", at=copy)
    assert refused.returncode != 0
    assert "forge: error: " in refused.stderr
    assert "Traceback" not in refused.stderr


def test_nothing_is_said_on_standard_output(source: Path, bob: Person) -> None:
    done = bob.attempt("clone", "--progress", "forge://places", "copy")
    assert done.stdout == ""
    assert bob.attempt("fetch", "--quiet", at=bob.folder / "copy").stderr == ""
    assert leavings(bob, bob.folder / "copy") == []


def test_outside_of_any_repository(source: Path, bob: Person) -> None:
    listed = bob.git("ls-remote", "--symref", "forge://places", "HEAD", at=Path(os.sep))
    assert listed.splitlines()[-1].endswith("\tHEAD")


def test_without_a_node_that_is_up(source: Path, ada: Person, bob: Person) -> None:
    home = bob.folder / "home"
    home.mkdir(mode=0o700)
    (home / "config.toml").write_bytes((bob.home / "config.toml").read_bytes())
    alone = Person(home, bob.folder, bob.bin)
    alone.forge("network", "join", ada.forge("network", "invite", "--role", "writer"))
    alone.git("clone", "--quiet", "forge://places", "alone")
    alone.commit(bob.folder / "alone", "three")
    alone.git("push", "--quiet", "origin", "HEAD:refs/heads/alone", at=bob.folder / "alone")
    assert "refs/heads/alone" in ada.git("ls-remote", "forge://places")
    sound(alone, bob.folder / "alone")


def test_a_reader_reads(source: Path, ada: Person, bob: Person) -> None:
    home = bob.folder / "home"
    home.mkdir(mode=0o700)
    (home / "config.toml").write_bytes((bob.home / "config.toml").read_bytes())
    reader = Person(home, bob.folder, bob.bin)
    reader.forge("network", "join", ada.forge("network", "invite"))
    reader.git("clone", "--quiet", "forge://places", "read")
    refused = reader.attempt("push", "origin", "main:refs/heads/mine", at=bob.folder / "read")
    assert refused.returncode != 0
    assert "is a reader in network 'team' and may not push there" in refused.stderr
