"""Upkeep of what is published: many small packs of a name made one, so that a clone has few to join.

Every push adds a pack. When there are more than a few, the newest are joined, as many as keep the sizes in a geometric
row: each pack then has at least twice the objects of all that are newer, an object is moved a logarithmic number of
times in its life, and the large pack at the beginning is not touched. Joining copies entries as they are, so the new
pack is made of chunks that everybody who had the old ones has.

Whoever is fetching the old packs meanwhile goes on: the record that names them stays in the name's log, and what it
needs stays as long as the log's retention keeps it (docs/sync.md).
"""

import os
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from forge_p2p.content.gitmanifest import TIPS_MAX, GitManifest, GitPack
from forge_p2p.errors import Conflict, Malformed, NotFound, PeerError
from forge_p2p.git.calls import Node
from forge_p2p.git.joining import join_arrived
from forge_p2p.git.manifests import write_manifest
from forge_p2p.git.putting import outgoing_folder
from forge_p2p.git.remote.fetch import names_of
from forge_p2p.git.running import Git

MANY: Final = 8
"""Packs that a repository may have before any are joined."""

UNTENDED: Final = 32
"""Packs after which a push joins some, too: a manifest names a bounded number, and nobody else may ever publish."""

FACTOR: Final = 2


def tidy(node: Node, git: Git) -> int:
    """Joins the newest packs of what the node's name stands for, by one more record; how many became one, 0 for none.
    `git`: any repository, in whose `.git/forge` the work is done. Where somebody pushes meanwhile, the home is gone,
    packs are out of reach or cannot be joined (an index of somebody's may lie), everything stays as it is."""
    published = node.read()
    manifest = published.manifest
    if manifest is None or len(manifest.packs) <= MANY:
        return 0
    chosen = manifest.packs[-newest_to_join(manifest.packs) :]
    if len(chosen) < 2:
        return 0
    with outgoing_folder(git.places.state) as folder:
        packs = os.path.join(folder, b"packs")
        os.mkdir(packs)
        try:
            node.place(published, packs, names_of(chosen))
            joined = join_arrived(packs, chosen, manifest.object_format)
            if joined is None:
                return 0
            write_manifest(with_joined(manifest, chosen, joined), folder)
            node.put(published, folder)
        except (Conflict, PeerError, NotFound, Malformed):
            return 0
    return len(chosen)


def newest_to_join(packs: Sequence[GitPack]) -> int:
    """How many packs at the end have to be one, that each before has `FACTOR` times the objects of all after it."""
    total, count = packs[-1].objects, 1
    for pack in reversed(packs[:-1]):
        if pack.objects >= FACTOR * total:
            break
        total, count = total + pack.objects, count + 1
    return count


def with_joined(manifest: GitManifest, chosen: Sequence[GitPack], joined: bytes) -> GitManifest:
    """The manifest with one pack for those at its end. Its tips are those of all: who has them needs nothing of it."""
    tips = list(dict.fromkeys(tip for pack in chosen for tip in pack.tips))
    behind = list(dict.fromkeys(oid for pack in chosen for oid in pack.prerequisites if oid not in set(tips)))
    known = all(pack.tips for pack in chosen) and max(len(tips), len(behind)) <= TIPS_MAX
    objects = sum(pack.objects for pack in chosen)
    pack = GitPack(joined, objects, tips, behind) if known else GitPack(joined, objects, [], [])
    return replace(manifest, packs=[*manifest.packs[: -len(chosen)], pack])
