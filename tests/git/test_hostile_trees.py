"""Trees that are made to do harm when they are checked out. Forge passes on what git has packed and writes none of it
itself; git's checkout is what refuses. From the corpora of t1014, t7415 and t7450."""

import subprocess

import pytest

from tests.git.harness import Person

SPELLINGS = [
    b".git",
    b".GIT",
    b".git\\x",
    b"git~1",
    b".g\xe2\x80\x8cit",
    b".git ",
    b"..",
    b".git/hooks",
]
"""Of CVE-2014-9390, CVE-2019-1352, CVE-2019-1354."""

PROTECTED = ("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true")


def tree_with(person: Person, repository: str, entries: bytes) -> str:
    """Makes a commit of a tree of these raw entries, without git's own look at them; its branch is `main`."""
    where = person.folder / repository

    def run(*words: str, given: bytes = b"") -> str:
        words = ("git", *words)
        done = subprocess.run(words, cwd=where, env=person.variables(), input=given, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().strip()

    tree = run("hash-object", "-w", "--stdin", "-t", "tree", "--literally", given=entries)
    commit = run("commit-tree", tree, "-m", "harm")
    run("update-ref", "refs/heads/main", commit)
    return commit


def blob(person: Person, repository: str, content: bytes) -> bytes:
    done = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        cwd=person.folder / repository,
        env=person.variables(),
        input=content,
        stdout=subprocess.PIPE,
        check=True,
    )
    return bytes.fromhex(done.stdout.decode().strip())


@pytest.mark.parametrize("name", SPELLINGS)
def test_git_in_other_spellings(name: bytes, ada: Person, bob: Person) -> None:
    ada.git("init", "--quiet", "harm")
    content = blob(ada, "harm", b"#!/bin/sh\ntouch owned\n")
    inner = b"100755 post-checkout\0" + content
    hooks = bytes.fromhex(tree_of(ada, "harm", inner))
    tree_with(ada, "harm", b"40000 " + name + b"\0" + bytes.fromhex(tree_of(ada, "harm", b"40000 hooks\0" + hooks)))
    called = f"spelling{SPELLINGS.index(name)}"
    ada.forge("git", "publish", str(ada.folder / "harm"), called)
    cloned = bob.attempt(*PROTECTED, "clone", f"forge://{called}", "copy")
    assert "invalid path" in cloned.stderr or "error" in cloned.stderr, cloned.stderr
    assert not list(bob.folder.rglob("owned"))
    hooks_here = bob.folder / "copy" / ".git" / "hooks" / "post-checkout"
    assert not hooks_here.exists()


def tree_of(person: Person, repository: str, entries: bytes) -> str:
    done = subprocess.run(
        ["git", "hash-object", "-w", "--stdin", "-t", "tree", "--literally"],
        cwd=person.folder / repository,
        env=person.variables(),
        input=entries,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode().strip()


MODULES = [
    '[submodule "../../escape"]\n\tpath = sub\n\turl = ../places\n',
    '[submodule "sub"]\n\tpath = sub\n\turl = -u./payload\n',
    '[submodule "sub"]\n\tpath = -sub\n\turl = ../places\n',
    '[submodule "sub"]\n\tpath = sub\n\turl = "ext::sh -c touch% owned"\n',
    '[submodule "sub"]\n\tpath = "sub\\r"\n\turl = ../places\n\tupdate = !touch owned\n',
]
"""Of CVE-2018-11235, CVE-2018-17456, CVE-2019-1387, CVE-2025-48384, and a command as an update."""


@pytest.mark.parametrize("text", MODULES)
def test_submodules(text: str, ada: Person, bob: Person) -> None:
    ada.git("init", "--quiet", "harm")
    content = blob(ada, "harm", text.encode())
    link = bytes.fromhex(ada.git("commit-tree", tree_of(ada, "harm", b""), "-m", "inner", at=ada.folder / "harm"))
    tree_with(ada, "harm", b"100644 .gitmodules\0" + content + b"160000 sub\0" + link)
    called = f"modules{MODULES.index(text)}"
    ada.forge("git", "publish", str(ada.folder / "harm"), called)
    bob.attempt("clone", "--recurse-submodules", f"forge://{called}", "copy")
    assert not list(bob.folder.rglob("owned"))
    assert sorted(each.name for each in bob.folder.iterdir()) in ([], ["copy"])
    strict = bob.attempt("clone", "--no-checkout", "-c", "forge.trust=nobody", f"forge://{called}", "strict")
    if MODULES.index(text) < 3:
        assert "git refuses pack-" in strict.stderr, "whose packs are checked first has them refused"


def test_a_symlink_and_what_is_written_through_it(ada: Person, bob: Person) -> None:
    """CVE-2024-32002 and its kin: a symlink into `.git`, and a file below its name in other letters."""
    ada.git("init", "--quiet", "harm")
    target = blob(ada, "harm", b".git")
    content = blob(ada, "harm", b"#!/bin/sh\ntouch owned\n")
    inner = bytes.fromhex(tree_of(ada, "harm", b"100755 post-checkout\0" + content))
    folder = bytes.fromhex(tree_of(ada, "harm", b"40000 hooks\0" + inner))
    tree_with(ada, "harm", b"40000 A\0" + folder + b"120000 a\0" + target)
    ada.forge("git", "publish", str(ada.folder / "harm"), "symlink")
    bob.attempt("clone", "forge://symlink", "copy")
    assert not list(bob.folder.rglob("owned"))
    assert not (bob.folder / "copy" / ".git" / "hooks" / "post-checkout").exists()
