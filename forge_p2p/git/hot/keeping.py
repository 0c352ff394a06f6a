"""A pack of the newest tree's objects, whole and uncompressed: what makes git's next checkout of it cheap.

Most of what a checkout takes of the processor is inflating blobs and resolving deltas. Who checks a repository out
again and again on one machine pays that once: beside the packs that were published there is one more, with the objects
of a tree as they are, and git looks there first, because it is in the folder that it is told of or newer than the rest.

It is made by git in the background, of a repository whose indexes may lie: but each object gets its name from `git
index-pack`, which hashes what is there. It is a cache. Nothing is lost with it, at any time.

    HOME/cache/hot/KEY/pack/pack-….{pack,rev,idx}     KEY: of the repository's name
"""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from forge_p2p.content.gitmanifest import SUFFIXES
from forge_p2p.content.link import hash_bytes
from forge_p2p.errors import Malformed
from forge_p2p.git.layout import names_in
from forge_p2p.git.lookup import IndexFile
from forge_p2p.git.packs.formats import OBJECT_FORMATS
from forge_p2p.git.running import Git

SETTING: Final = "forge.hotpacks"
"""In git's configuration; `false` for none."""

LARGEST: Final = 4 << 30
"""Bytes of objects that are kept at most, for one repository."""

SPARED: Final = 2 << 30
"""Bytes that have to be free besides; a nearly full disk is better used otherwise."""

WORTH: Final = 0.75
"""The share of a tree's objects that have to be at hand, or it is made anew of this tree."""

UNUSED: Final = 14 * 86400
"""Seconds without a checkout after which it goes."""

_INDEX: Final = re.compile(rb"(pack-(?:[0-9a-f]{40}|[0-9a-f]{64}))\.idx")

_OFF: Final = frozenset({"false", "no", "off", "0"})

_AS_THEY_ARE: Final = (
    *("-c", "core.compression=0", "-c", "pack.compression=0", "-c", "pack.threads=1", "pack-objects", "--quiet"),
    *("--stdout", "--window=0", "--no-reuse-delta", "--no-reuse-object"),
)
_BY_CONTENT: Final = ("-c", "pack.writeReverseIndex=true", "-c", "pack.threads=1", "index-pack", "--stdin")


def hot_folder(cache: Path, name: str) -> bytes:
    """Where the hot pack of the repository called `name` is: an object directory of git's."""
    return os.fsencode(cache / "hot" / hash_bytes(name.encode(errors="surrogateescape")).hex()[:32])


def find(folder: bytes) -> bytes:
    """The path of the hot pack, without the ends of its three files' names; empty if there is none. With a damaged
    index there is none: git notices what is wrong in a pack and looks elsewhere, but goes where an index leads. Nor is
    there with a name or a link that git would not have made."""
    packs = os.path.join(folder, b"pack")
    found = [os.path.join(packs, match[1]) for match in map(_INDEX.fullmatch, names_in(packs)) if match]
    path = max(found, key=_used, default=b"")
    return path if path and _are_files(path) and _is_whole(path + SUFFIXES[-1]) else b""


def _are_files(path: bytes) -> bool:
    with suppress(OSError):
        return all(stat.S_ISREG(os.lstat(path + suffix).st_mode) for suffix in SUFFIXES)
    return False


def _is_whole(index: bytes) -> bool:
    """Whether it ends with the hash of what is before."""
    with suppress(OSError), open(index, "rb") as file:
        data = file.read()
        for form in OBJECT_FORMATS.values():
            hasher = form.hasher()
            hasher.update(data[: -form.size])
            if data.endswith(hasher.digest()):
                return True
    return False


def use(path: bytes) -> None:
    """Somebody checks out with it."""
    with suppress(OSError):
        os.utime(path + SUFFIXES[0])


def is_off(git: Git) -> bool:
    """Whether somebody wants none."""
    return git.settings.get(SETTING, "").lower() in _OFF


def keep(git: Git, folder: bytes, revision: str) -> None:
    """Makes the hot pack of a revision's tree, if what is there does not do. Blocks for seconds. Where somebody else is
    at it, something is missing, or the disk is full, all stays as it is."""
    root = os.path.dirname(folder)
    for name in names_in(root):
        with suppress(OSError):
            _drop(os.path.join(root, name), unused_for=UNUSED)
    with suppress(OSError):
        if is_off(git):
            _drop(folder, unused_for=0)
            return
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.makedirs(os.path.join(folder, b"pack"), mode=0o700, exist_ok=True)
        with _alone(folder) as alone:
            if alone:
                _keep(git, folder, revision)


def _keep(git: Git, folder: bytes, revision: str) -> None:
    path = find(folder)
    _remove_all_but(path, folder)  # git would leave a damaged file of the name that a new one gets
    listed = git.attempt("rev-list", "--objects", "--no-object-names", f"{revision}^{{tree}}")
    wanted = [bytes.fromhex(name.decode()) for name in listed.stdout.split()]
    if listed.returncode or not wanted or _does(git, path, wanted):
        return
    size, free = _size(git, listed.stdout), os.statvfs(folder)
    if 0 < size < LARGEST and size + SPARED < free.f_bavail * free.f_frsize:
        _remove_all_but(_make(git, listed.stdout, folder) or path, folder)


def _does(git: Git, path: bytes, wanted: list[bytes]) -> bool:
    """Whether a hot pack has enough of what is wanted, and nothing that this repository lacks: of a history that is no
    more, it would be of no use to its clones."""
    if not path:
        return False
    try:
        there = IndexFile(path + SUFFIXES[-1], git.places.oid_size).names()
    except (OSError, Malformed):
        return False
    enough = len(set(there).intersection(wanted)) >= WORTH * len(wanted)
    return enough and len(git.present(there)) == len(there)


def _size(git: Git, lines: bytes) -> int:
    """Bytes of these objects; 0 if one is missing."""
    sizes = git.attempt("cat-file", "--buffer", "--batch-check=%(objectsize)", feed=lines).stdout.split(b"\n")[:-1]
    return sum(map(int, sizes)) if all(map(bytes.isdigit, sizes)) else 0


def _make(git: Git, lines: bytes, folder: bytes) -> bytes:
    """The path of a new pack of these objects; empty where git could not make it."""
    import tempfile

    there = git.without_objects(folder)
    with tempfile.TemporaryFile() as wanted:
        wanted.write(lines)
        wanted.seek(0)
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        with git.start(*_AS_THEY_ARE, stdin=wanted, stdout=pipe, stderr=none) as packing:
            assert packing.stdout is not None
            with there.start(*_BY_CONTENT, stdin=packing.stdout, stdout=pipe, stderr=none) as indexing:
                packing.stdout.close()  # or it would not hear of the other's end
                said, _ = indexing.communicate()
    if packing.returncode or indexing.returncode:
        return b""
    return os.path.join(folder, b"pack", b"pack-" + said.split()[-1])


def _remove_all_but(path: bytes, folder: bytes) -> None:
    """What was before, and what killed makers have left. Indexes first, as git does it."""
    packs = os.path.join(folder, b"pack")
    kept = {os.path.basename(path) + suffix for suffix in SUFFIXES} if path else set()
    for name in sorted(names_in(packs), key=lambda name: not name.endswith(SUFFIXES[-1])):
        if name not in kept:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(packs, name))


def _drop(folder: bytes, *, unused_for: float) -> None:
    """Removes a folder that nobody has used for so many seconds, unless somebody is at it."""
    path = find(folder)
    if time.time() - (_used(path) if path else os.stat(folder).st_mtime) < unused_for:
        return
    with _alone(folder) as alone:
        if alone:
            _remove_all_but(b"", folder)
            shutil.rmtree(folder, ignore_errors=True)


def _used(path: bytes) -> float:
    try:
        return os.stat(path + SUFFIXES[0]).st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def _alone(folder: bytes) -> Iterator[bool]:
    """Whether nobody else makes or removes what is in the folder; nobody does while this lasts. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
