"""One pack of what a repository has and nobody else has yet.

Old tips alone are no way to say what is there: a file that went back to an old state is behind the new tip, not behind
the boundary, and would be packed a second time; a pack with an object that another has cannot be joined with it. That
is rare, so git packs what is behind the new tips and not behind the old ones, and the index of what it made is held
against those of the packs there are. Only if an object is there twice is everything listed, what is there taken out,
and the rest packed.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from forge_p2p.content.gitmanifest import TIPS_MAX, GitPack, pack_name
from forge_p2p.errors import UsageError
from forge_p2p.git.lookup import IndexFile
from forge_p2p.git.running import Git, GitFailed, hex_lines, said

Known = Callable[[bytes], bool]
"""Whether an object is in a pack that is published already. Asked only about objects that may be new."""


@dataclass(frozen=True, slots=True)
class Tips:
    """What a new pack is to hold: all behind `new`, nothing behind `old`."""

    new: Sequence[bytes]
    old: Sequence[bytes]


def pack_new(git: Git, tips: Tips, known: Known, folder: bytes) -> GitPack | None:
    """Makes a pack in `folder`, which is made; `None` if nothing is new. Raises `GitFailed`, `UsageError`."""
    if not tips.new:
        return None
    if git.places.shallow:
        raise UsageError(
            "a shallow repository cannot be pushed from: what is behind its edge is not here",
            hint="git fetch --unshallow gets it",
        )
    os.makedirs(folder, exist_ok=True)
    scratch = folder + b".tmp"  # among its own packs git would leave an unfinished one when it is killed
    os.makedirs(scratch)
    making = git.beside(scratch)
    made = pack_objects(making, _boundary(tips), folder, "--revs", "--non-empty")
    if made and any(known(oid) for oid in index_of(git, made, folder).names()):
        shutil.rmtree(folder)
        os.mkdir(folder)
        made = pack_objects(making, _new_objects(git, tips, known), folder, "--non-empty")
    shutil.rmtree(scratch, ignore_errors=True)
    if not made:
        return None
    few = len(tips.new) <= TIPS_MAX and len(tips.old) <= TIPS_MAX
    ends = (list(tips.new), list(tips.old)) if few else ([], [])
    return GitPack(made, index_of(git, made, folder).objects, *ends)


def pack_objects(git: Git, lines: Iterable[bytes], folder: bytes, *words: str) -> bytes:
    """Has git make one pack in `folder` of what `lines` name, perhaps with a path, or with `--revs` of what is behind
    them; its hash, with `--non-empty` nothing instead of a pack of nothing. Raises `GitFailed`.

    Not synced: it is for the node's store, which syncs what it takes."""
    settings = ("pack.writeReverseIndex=true", "pack.packSizeLimit=0", "core.fsync=none")
    options = (word for setting in settings for word in ("-c", setting))
    command = (*options, "pack-objects", "--delta-base-offset", "--quiet", *words)
    done = git.attempt(*command, os.path.join(folder, b"pack"), feed=lines)
    if done.returncode:
        raise GitFailed(f"git pack-objects failed: {said(done.stderr, done.returncode)}")
    return bytes.fromhex(done.stdout.strip().decode())


def index_of(git: Git, pack: bytes, folder: bytes) -> IndexFile:
    """The index of a pack in `folder`."""
    return IndexFile(os.path.join(folder, pack_name(pack).encode() + b".idx"), git.places.oid_size)


def _boundary(tips: Tips) -> list[bytes]:
    return [*hex_lines(tips.new), *(b"^" + line for line in hex_lines(tips.old))]


def _new_objects(git: Git, tips: Tips, known: Known) -> Iterator[bytes]:
    """Lines for `pack-objects`: an object's name and its path, by which git finds what it is like."""
    listing = git.start("rev-list", "--objects", "--stdin", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert listing.stdin is not None
    assert listing.stdout is not None
    with listing:
        listing.stdin.writelines(_boundary(tips))
        listing.stdin.close()
        for line in listing.stdout:
            if not known(bytes.fromhex(line.split(None, 1)[0].decode())):
                yield line
    if listing.returncode:
        raise GitFailed("git rev-list failed", hint="git fsck says whether the repository is whole")
