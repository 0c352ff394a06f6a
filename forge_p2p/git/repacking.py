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
from forge_p2p.git.packing import pack_objects
from forge_p2p.git.running import Git, hex_lines


def repack_arrived(git: Git, folder: bytes, packs: Sequence[GitPack]) -> GitPack:
    """Makes one pack of those in `folder`, there, and removes them; `git` may know objects that they build on. Nothing
    is believed of the indexes that came: they are made anew first. Tips are not told. Raises `GitFailed`."""
    names = [pack_name(pack.hash).encode() for pack in packs]
    beside = os.path.join(os.path.dirname(folder), b"objects")
    alone = git.without_objects(beside)  # the repository may have one of them with the index that came
    store = os.path.join(beside, b"pack")
    os.makedirs(store)
    try:
        for name in names:
            os.rename(os.path.join(folder, name + b".pack"), os.path.join(store, name + b".pack"))
            for suffix in SUFFIXES[1:]:
                os.unlink(os.path.join(folder, name + suffix))
            alone.run("index-pack", os.path.join(store, name + b".pack"))
        indexes = [os.path.join(store, name + b".idx") for name in names]
        wanted = {oid for path in indexes for oid in IndexFile(path, git.places.oid_size).names()}
        made = pack_objects(alone, _with_paths(git.beside(beside), wanted), folder)
    finally:
        shutil.rmtree(beside)
    return GitPack(made, len(wanted), [], [])


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
