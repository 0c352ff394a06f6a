"""A repository's commit-graph: made by who publishes, taken by who clones, checked afterwards.

git believes a commit-graph: parents, trees and dates of commits are what it says. So one that came is of somebody who
is believed (`trust`), leads git nowhere outside of itself (`checking`), and is compared with the commits in the
background; one that lies is made anew from them, as is one of somebody who is not believed, which is not even fetched.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from forge_p2p.content.gitmanifest import COMMIT_GRAPH, GitGraph, GitManifest
from forge_p2p.errors import Malformed
from forge_p2p.git.graphs.checking import checked_commits
from forge_p2p.git.landing import Landing
from forge_p2p.git.running import Git
from forge_p2p.git.state import State
from forge_p2p.writeback import sync_folder

FROM_COMMITS: Final = 4096
"""Below, git reads every commit in 30 ms (7 µs each, measured), and does without."""

FROM_OBJECTS: Final = 2 * FROM_COMMITS
"""Fewer cannot have so many commits, each with a tree of its own."""

_MORE: Final = 9 / 8
"""How much a repository has to have grown for its commit-graph to be made anew, which changes nearly all of it."""

_OF_GIT: Final = (COMMIT_GRAPH, b"commit-graphs")
"""In `objects/info`: a repository that has either has a commit-graph."""


def is_due(manifest: GitManifest) -> bool:
    """Whether it is time for a commit-graph, or for another one."""
    known = manifest.graph.objects if manifest.graph else 0
    return _objects(manifest) >= max(FROM_OBJECTS, known * _MORE)


def _objects(manifest: GitManifest) -> int:
    return sum(pack.objects for pack in manifest.packs)


def made(git: Git, manifest: GitManifest, folder: bytes) -> GitManifest:
    """The manifest with a commit-graph, in `folder`, of what its refs name, if it is time for one and `git` has it all;
    else as it was."""
    if not is_due(manifest):
        return manifest
    tips = sorted({ref.peeled or ref.oid for ref in manifest.refs})
    if not git.present(tips).issuperset(tips):
        return manifest
    path = os.path.join(folder, COMMIT_GRAPH)
    trailer = _write(git, [tip for tip, kind in zip(tips, git.kinds(tips), strict=True) if kind == b"commit"], path)
    if not trailer:
        return manifest
    if checked_commits(path, trailer) < FROM_COMMITS:
        os.unlink(path)
        return manifest
    return manifest.with_graph(GitGraph(trailer, _objects(manifest)))


def _write(git: Git, commits: Sequence[bytes], path: bytes) -> bytes:
    """Has git write a commit-graph of all behind these commits to `path`; what it ends with, empty if that failed."""
    beside = os.path.join(os.path.dirname(path), b"objects")
    os.mkdir(beside)
    lines = b"".join(commit.hex().encode() + b"\n" for commit in commits)
    words = ("-c", "commitGraph.changedPaths=false", "-c", "core.commitGraph=true", "commit-graph", "write")
    done = git.beside(beside).attempt(*words, "--stdin-commits", feed=lines)
    written = os.path.join(beside, b"info", COMMIT_GRAPH)
    trailer = b""
    if done.returncode == 0 and os.path.exists(written):
        os.rename(written, path)
        with open(path, "rb") as file:
            file.seek(-git.places.oid_size, os.SEEK_END)
            trailer = file.read()
        os.rmdir(os.path.join(beside, b"info"))
    os.rmdir(beside)
    return trailer


def land(git: Git, landing: Landing, graph: GitGraph) -> None:
    """Makes the commit-graph that has arrived, if it has, the repository's, unless that has one. To be settled."""
    info = _info(git)
    State(git.places).mark_graph()
    arrived = os.path.join(landing.folder, COMMIT_GRAPH)
    if not os.path.exists(arrived) or any(os.path.exists(os.path.join(info, each)) for each in _OF_GIT):
        return
    with suppress(Malformed):
        checked_commits(arrived, graph.hash)
        os.makedirs(info, exist_ok=True)
        os.rename(arrived, os.path.join(info, COMMIT_GRAPH))
        sync_folder(info)


def settle(git: Git) -> None:
    """Compares the commit-graph that came with the commits themselves; makes one where it lies, or none was taken.
    Blocks for a while."""
    state = State(git.places)
    if not state.has_marked_graph():
        return
    path = os.path.join(_info(git), COMMIT_GRAPH)
    if not os.path.exists(path) or git.complaint("commit-graph", "verify"):
        with suppress(FileNotFoundError):
            os.unlink(path)
        git.attempt("commit-graph", "write")  # of all packs: refs may still be on their way
    state.unmark_graph()


def _info(git: Git) -> bytes:
    return os.path.join(git.places.objects, b"info")
