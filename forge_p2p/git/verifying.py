"""Checking packs that were taken as they came: what `git index-pack` would have found out, found out afterwards.

`git index-pack --verify --strict` inflates every object, compares the index with the one it would make, and looks
whether what the objects link to is there. If it is not content:

- An index that lies is made anew from its pack, which is what it should have been from the beginning.
- A pack that is not what was published is damaged here: it comes again.
- A pack that git has made part of another since cannot be told from that: the whole repository is checked, once.
- A pack that is as it was published, and wrong, is its author's: that is written down, and said whenever Forge is asked
  about the repository again.

Then the commit-graph that came with them is compared with the commits (`graphs`). Before all that the pack is taken
back that was lent to the repository for its checkout (`hot.lending`): what lacks something has to show it.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from forge_p2p.content.gitmanifest import SUFFIXES, pack_name
from forge_p2p.errors import ForgeError
from forge_p2p.git.calls import Node, Run
from forge_p2p.git.graphs.keeping import settle
from forge_p2p.git.hot.lending import take_back
from forge_p2p.git.landing import Landing
from forge_p2p.git.remote.fetch import names_of
from forge_p2p.git.running import Git
from forge_p2p.git.state import State

Refetch = Callable[[bytes, Landing], bool]
"""Brings the files of a pack again, to where they arrive; whether it could."""


class Refetching:
    """A `Refetch` from whatever remote of the repository is Forge's and has the pack."""

    def __init__(self, git: Git, run: Run) -> None:
        self._git = git
        self._run = run

    def __call__(self, pack: bytes, landing: Landing) -> bool:
        for name in self._git.forge_remotes():
            with suppress(ForgeError):
                node = Node(self._run, name)
                published = node.read()
                for each in published.manifest.packs if published.manifest else ():
                    if each.hash == pack:
                        node.place(published, landing.folder, names_of([each]))
                        return True
        return False


def verify(git: Git, refetch: Refetch) -> list[str]:
    """Checks what is unverified in a repository; what was wrong and could not be put right. Blocks for long."""
    take_back(git)
    state = State(git.places)
    found: dict[bytes, str] = {}
    fault_of_all = cache(lambda: git.complaint("fsck", "--full", "--no-dangling"))
    for pack, author in state.unverified().items():
        found[pack] = _check(git, pack, author, refetch, fault_of_all)
        state.settle(found)
    settle(git)
    return [fault for fault in found.values() if fault]


def _check(git: Git, pack: bytes, author: str, refetch: Refetch, fault_of_all: Callable[[], str]) -> str:
    path = os.path.join(git.places.packs, pack_name(pack).encode())
    if not os.path.exists(path + b".pack"):
        return _told(pack, author, fault_of_all())  # repacked since, by git, which took the index at its word
    fault = _fault(git, path)
    if not fault:
        return ""
    if _index_anew(git, path):
        fault = _fault(git, path)
    if fault:
        with Landing(git.places.packs) as landing:
            if refetch(pack, landing):
                for suffix in SUFFIXES:
                    os.replace(landing.path_of(pack, suffix), path + suffix)
                fault = _fault(git, path)
    return _told(pack, author, fault)


def _told(pack: bytes, author: str, fault: str) -> str:
    return f"{pack_name(pack)}, published by node {author[:16]}: {fault}" if fault else ""


def _fault(git: Git, path: bytes) -> str:
    """What git has against a pack; empty for nothing."""
    return git.complaint("index-pack", "--verify", "--strict", path + b".pack")


def _index_anew(git: Git, path: bytes) -> bool:
    """Makes a pack's index and reverse index from the pack alone; whether that is possible."""
    with Landing(os.path.dirname(path)) as landing:
        new = os.path.join(landing.folder, b"new")
        # Without the repository's objects: the index that lies would speak for those of this pack.
        alone = git.without_objects(landing.folder)
        if alone.attempt("index-pack", "--rev-index", "-o", new + b".idx", path + b".pack").returncode:
            return False
        for suffix in SUFFIXES[1:]:
            os.replace(new + suffix, path + suffix)
    return True
