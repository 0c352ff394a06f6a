"""Upkeep of what is published: many small packs of a name made one, so that a clone has few to join.

Every push adds a pack. When there are more than a few, the newest are made one, as many as keep the sizes in a
geometric row: each pack then has at least twice the objects of all that are newer, an object is moved a logarithmic
number of times in its life, and the large pack at the beginning is not touched.

Few objects are joined: entries are copied as they are, so the new pack is made of chunks that everybody who had the old
ones has. From some thousands on they are packed anew (`repacking`), which finds deltas from one push to another. What
is at least as large as all the others together stays byte for byte even then.

What is put is as git would have it: an index that lies, somebody else's, is not passed on.

Whoever is fetching the old packs meanwhile goes on: the record that names them stays in the name's log, and what it
needs stays as long as the log's retention keeps it (docs/sync.md).
"""

import os
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from forge_p2p.content.gitmanifest import TIPS_MAX, GitManifest, GitPack, pack_name
from forge_p2p.errors import Conflict, Malformed, NotFound, PeerError
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.graphs import keeping as graphs
from forge_p2p.git.joining import join_arrived
from forge_p2p.git.manifests import write_manifest
from forge_p2p.git.putting import outgoing_folder
from forge_p2p.git.remote.fetch import names_of
from forge_p2p.git.repacking import repack_arrived
from forge_p2p.git.running import Git, GitFailed

MANY: Final = 8
"""Packs that a repository may have before any are joined."""

UNTENDED: Final = 32
"""Packs after which a push joins some, too: a manifest names a bounded number, and nobody else may ever publish."""

FACTOR: Final = 2

REPACKED_FROM: Final = 4096
"""Objects that are worth packing anew: a second's work, for packs a fifth of the size (docs/git.md)."""


def tidy(node: Node, git: Git) -> int:
    """Makes the newest packs of what the node's name stands for one, and its commit-graph anew when it is time, by one
    more record; how many packs became one, 0 for none. `git`: any repository, in whose `.git/forge` the work is done.
    Where somebody pushes meanwhile, the home is gone or packs are out of reach, everything stays as it is."""
    published = node.read()
    manifest = published.manifest
    if manifest is None:
        return 0
    with outgoing_folder(git.places.state) as folder:
        try:
            tended, count = _with_fewer(node, git, published, manifest, folder)
            tended = graphs.made(git, tended, folder)
            if tended is not manifest:
                write_manifest(tended, folder)
                node.put(published, folder)
        except (Conflict, PeerError, NotFound, Malformed, GitFailed):
            return 0
    return count


def _with_fewer(
    node: Node, git: Git, published: Published, manifest: GitManifest, folder: bytes
) -> tuple[GitManifest, int]:
    """The manifest with one pack, in `folder`, for the newest; how many those are, 0 if all stays as it is."""
    chosen = manifest.packs[-newest_to_join(manifest.packs) :] if len(manifest.packs) > MANY else []
    if len(chosen) < 2:
        return manifest, 0
    packs = os.path.join(folder, b"packs")
    os.mkdir(packs)
    node.place(published, packs, names_of(chosen))
    made = one_of(git, packs, chosen, manifest.object_format)
    return with_joined(manifest, chosen, made), len(chosen)


def one_of(git: Git, packs: bytes, chosen: Sequence[GitPack], object_format: str) -> GitPack:
    """One pack, in the folder `packs`, of those that have arrived there. Raises `GitFailed`, `Malformed`."""
    largest = max(chosen, key=lambda pack: pack.objects)
    total = sum(pack.objects for pack in chosen)
    rest = [pack for pack in chosen if pack is not largest or largest.objects * FACTOR < total]
    if len(rest) > 1 and sum(pack.objects for pack in rest) >= REPACKED_FROM:
        again = repack_arrived(git, packs, rest)
        if len(rest) == len(chosen):
            return again
        chosen = [largest, again]
    try:
        joined = join_arrived(packs, chosen, object_format)
    except Malformed:  # somebody's index lies, and it shows
        joined = None
    if joined is None:
        return repack_arrived(git, packs, chosen)
    made = GitPack(joined, sum(pack.objects for pack in chosen), [], [])
    if git.complaint("index-pack", "--verify", os.path.join(packs, pack_name(joined).encode() + b".pack")):
        return repack_arrived(git, packs, [made])
    return made


def newest_to_join(packs: Sequence[GitPack]) -> int:
    """How many packs at the end have to be one, that each before has `FACTOR` times the objects of all after it."""
    total, count = packs[-1].objects, 1
    for pack in reversed(packs[:-1]):
        if pack.objects >= FACTOR * total:
            break
        total, count = total + pack.objects, count + 1
    return count


def with_joined(manifest: GitManifest, chosen: Sequence[GitPack], made: GitPack) -> GitManifest:
    """The manifest with one pack for those at its end. Its tips are those of all: who has them needs nothing of it."""
    tips = list(dict.fromkeys(tip for pack in chosen for tip in pack.tips))
    behind = list(dict.fromkeys(oid for pack in chosen for oid in pack.prerequisites if oid not in set(tips)))
    known = all(pack.tips for pack in chosen) and max(len(tips), len(behind)) <= TIPS_MAX
    pack = GitPack(made.hash, made.objects, tips, behind) if known else made
    return replace(manifest, packs=[*manifest.packs[: -len(chosen)], pack])
