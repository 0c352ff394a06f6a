"""Packs that arrived together, packed anew as one: git looks for deltas from one to another, which joining does not.

All their objects and no others are in the result, reachable or not, so that what is said of the old packs holds for the
new one. It depends on no other pack, and so shares no chunk with them: it is for what pushes have added, not for the
large pack that everybody has (docs/git.md has the figures).
"""

import os
import shutil
from collections.abc import Sequence

from forge_p2p.content.gitmanifest import SUFFIXES, GitPack, pack_name
from forge_p2p.git.lookup import IndexFile
from forge_p2p.git.packing import index_of, pack_objects
from forge_p2p.git.running import Git, hex_lines


def repack_arrived(git: Git, folder: bytes, packs: Sequence[GitPack]) -> GitPack:
    """Makes one pack of those in `folder`, there, and removes them; `git` may know objects that they build on. Nothing
    is believed of the indexes that came: they are made anew first. Tips are not told. Raises `GitFailed`."""
    names = [pack_name(pack.hash).encode() for pack in packs]
    beside = os.path.join(os.path.dirname(folder), b"objects")
    store = os.path.join(beside, b"pack")
    os.makedirs(store)
    try:
        for name in names:
            os.rename(os.path.join(folder, name + b".pack"), os.path.join(store, name + b".pack"))
            for suffix in SUFFIXES[1:]:
                os.unlink(os.path.join(folder, name + suffix))
            git.run("index-pack", os.path.join(store, name + b".pack"))
        made, count = _packed(git, beside, [os.path.join(store, name + b".idx") for name in names], folder)
    finally:
        shutil.rmtree(beside)
    return GitPack(made, count, [], [])


def _packed(git: Git, beside: bytes, indexes: Sequence[bytes], folder: bytes) -> tuple[bytes, int]:
    """The pack of all that the indexes name, and how many objects it has."""
    size = git.places.oid_size
    wanted = {oid for path in indexes for oid in IndexFile(path, size).names()}
    both = git.beside(beside)
    pack = pack_objects(both, _with_paths(both, wanted), folder)
    return pack, index_of(both, pack, folder).objects


def _with_paths(git: Git, wanted: set[bytes]) -> list[bytes]:
    """Lines for `pack-objects`: each object, where it can be told with its path, by which git finds what it is like."""
    rest = sorted(wanted)
    commits = [oid for oid, kind in zip(rest, git.kinds(rest), strict=True) if kind == b"commit"]
    # It ends early where something older is not here; what it has said until then is as good.
    listing = git.attempt("rev-list", "--objects", "--no-walk", "--stdin", feed=hex_lines(commits))
    lines = listing.stdout.split(b"\n")[:-1]
    found = {bytes.fromhex(line.split(b" ", 1)[0].decode()): line + b"\n" for line in lines}
    listed = [line for oid, line in found.items() if oid in wanted]
    return listed + list(hex_lines(oid for oid in rest if oid not in found))
