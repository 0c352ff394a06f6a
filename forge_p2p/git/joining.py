"""Packs that arrived together, made one before git sees any of them: a clone then lands as a single pack."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from forge_p2p.content.gitmanifest import GitPack, pack_name

JOINED_FROM: Final = 16
"""Packs of one fetch that are made one. Of a clone it is two: one pack is what spares git the walk over everything."""


def join_arrived(folder: bytes, packs: Sequence[GitPack], object_format: str) -> bytes | None:
    """Makes one pack of those in `folder`, there, and removes them; its hash. `None` if that cannot be: an object
    twice, bases named by hash. Raises `Malformed` for what is no pack, or has another one's index."""
    from forge_p2p.git.packs.formats import OBJECT_FORMATS
    from forge_p2p.git.packs.join import NotJoinable, join_packs, open_source

    form = OBJECT_FORMATS[object_format]
    here = Path(os.fsdecode(folder))
    paths = [here / pack_name(pack.hash) for pack in packs]
    try:
        sources = [open_source(path.with_suffix(".pack"), path.with_suffix(".idx"), form) for path in paths]
        made = join_packs(sources, here)
    except NotJoinable:
        return None
    for path in paths:
        if path.name != made.stem:  # what is joined with packs of nothing is itself
            for suffix in (".pack", ".rev", ".idx"):
                path.with_suffix(suffix).unlink()
    return bytes.fromhex(made.stem.removeprefix("pack-"))
