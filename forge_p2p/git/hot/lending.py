"""A hot pack in a new clone: linked beside its own pack for git's checkout, and taken back afterwards.

Everything in it is in the clone's own pack as well, by that one's index: so nothing can come to depend on it, whatever
is added before it goes. Where git has repacked meanwhile this is looked at once more, and it stays if in doubt: it is a
pack like any other, which git's next `gc` takes in.
"""

import os
import time
from contextlib import suppress
from typing import Final

from forge_p2p.content.gitmanifest import SUFFIXES, pack_name
from forge_p2p.errors import Malformed
from forge_p2p.git.hot.keeping import find, use
from forge_p2p.git.landing import Landing
from forge_p2p.git.lookup import IndexFile
from forge_p2p.git.running import Git
from forge_p2p.git.state import State
from forge_p2p.writeback import share_blocks

_OF_GIT: Final = (b"multi-pack-index", b"multi-pack-index.d")
"""Beside packs: where these are, a pack may be the only place that git looks for an object in."""


def lend(git: Git, landing: Landing, main: bytes, folder: bytes) -> None:
    """Puts the hot pack of `folder` into the repository if its pack `main` has all that is in it, and the file system
    lets both have one file. Raises nothing: a clone does as well without."""
    path = find(folder)
    pack = bytes.fromhex(os.path.basename(path).removeprefix(b"pack-").decode())
    if len(pack) != git.places.oid_size or landing.has(pack):  # none, or of a repository that had this name before
        return
    own = os.path.join(landing.packs, pack_name(main).encode())
    state = State(git.places)
    with suppress(OSError, Malformed):
        if not _index(git, own).has_all(_index(git, path).names()):
            return
        use(path)
        for suffix in SUFFIXES:
            _link(path + suffix, landing.path_of(pack, suffix))
        _make_newer(landing.path_of(pack, SUFFIXES[0]), own + SUFFIXES[0])
        state.set_lent(pack)
        landing.land(pack, keep=False)


def take_back(git: Git) -> None:
    """Removes the pack that was lent to a repository, unless git may need it by now. What has it open reads on."""
    state = State(git.places)
    pack = state.lent()
    if not pack:
        return
    path = os.path.join(git.places.packs, pack_name(pack).encode())
    with suppress(OSError, Malformed):
        if os.path.exists(path + SUFFIXES[-1]) and not _is_spare(git, path):
            return
        for suffix in reversed(SUFFIXES):
            with suppress(FileNotFoundError):
                os.unlink(path + suffix)
        state.set_lent(b"")


def _is_spare(git: Git, path: bytes) -> bool:
    """Whether another pack has everything that this one has, and nobody is about to remove that or to rely on this."""
    packs = git.places.packs
    lent = _index(git, path).names()
    others = [os.path.join(packs, name) for name in os.listdir(packs) if name.endswith(SUFFIXES[-1])]
    within = next((each for each in others if each != path + SUFFIXES[-1] and _index(git, each).has_all(lent)), b"")
    if any(os.path.exists(os.path.join(packs, name)) for name in _OF_GIT):
        return False
    tending = (os.path.join(git.places.common, b"gc.pid"), os.path.join(git.places.objects, b"maintenance.lock"))
    # In this order: a git that has removed the other pack meanwhile, and is done, shows by its not being there.
    return bool(within) and not any(map(os.path.exists, tending)) and os.path.exists(within)


def _index(git: Git, path: bytes) -> IndexFile:
    return IndexFile(path.removesuffix(SUFFIXES[-1]) + SUFFIXES[-1], git.places.oid_size)


def _link(source: bytes, into: bytes) -> None:
    """The same file once more, or one that shares its blocks; never a copy. Raises `OSError`."""
    try:
        os.link(source, into)
    except OSError:
        descriptor = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        with open(source, "rb") as there, os.fdopen(descriptor, "wb") as here:
            share_blocks(there.fileno(), here.fileno())


def _make_newer(path: bytes, than: bytes) -> None:
    """git looks into the newest pack first, by the second."""
    second = int(max(os.stat(than).st_mtime, time.time())) + 1
    os.utime(path, (second, second))
