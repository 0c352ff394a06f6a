"""One pack of what a repository has and nobody else has yet.

The objects are listed by git, those that the packs there are hold already are taken out, and git packs the rest. Old
tips alone are no way to say what is there: a file that went back to an old state is behind the new tip, not behind the
boundary, and would be packed a second time; a pack with an object that another has cannot be joined with it.
"""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from forge_p2p.content.gitmanifest import TIPS_MAX, GitPack, pack_name
from forge_p2p.errors import UsageError
from forge_p2p.git.lookup import IndexFile
from forge_p2p.git.running import Git, GitFailed, said

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
    wanted = list(_new_objects(git, tips, known))
    if not wanted:
        return None
    os.makedirs(folder, exist_ok=True)
    return _described(git, tips, pack_objects(git, wanted, folder), folder)


def pack_objects(git: Git, lines: Iterable[bytes], folder: bytes) -> bytes:
    """Has git make one pack in `folder` of what `lines` name, perhaps with a path; its hash. Raises `GitFailed`."""
    words = ("-c", "pack.writeReverseIndex=true", "-c", "pack.packSizeLimit=0", "pack-objects")
    done = git.attempt(*words, "--delta-base-offset", "--quiet", os.path.join(folder, b"pack"), feed=lines)
    if done.returncode:
        raise GitFailed(f"git pack-objects failed: {said(done.stderr, done.returncode)}")
    return bytes.fromhex(done.stdout.strip().decode())


def _new_objects(git: Git, tips: Tips, known: Known) -> Iterator[bytes]:
    """Lines for `pack-objects`: an object's name and its path, by which git finds what it is like."""
    feed = "".join(f"{oid.hex()}\n" for oid in tips.new) + "".join(f"^{oid.hex()}\n" for oid in tips.old)
    listing = git.start("rev-list", "--objects", "--stdin", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert listing.stdin is not None
    assert listing.stdout is not None
    with listing:
        listing.stdin.write(feed.encode())
        listing.stdin.close()
        for line in listing.stdout:
            if not known(bytes.fromhex(line.split(None, 1)[0].decode())):
                yield line
    if listing.returncode:
        raise GitFailed("git rev-list failed", hint="git fsck says whether the repository is whole")


def _described(git: Git, tips: Tips, pack: bytes, folder: bytes) -> GitPack:
    index = IndexFile(os.path.join(folder, pack_name(pack).encode() + b".idx"), git.places.oid_size)
    few = len(tips.new) <= TIPS_MAX and len(tips.old) <= TIPS_MAX
    return GitPack(pack, index.objects, list(tips.new) if few else [], list(tips.old) if few else [])
