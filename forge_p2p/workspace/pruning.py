"""Removes from a directory what an older snapshot had put there and a newer one does not have.

Only what is still as it was put: an edited file stays, a directory stays as long as anything is in it, and what no
snapshot brought is not even looked at. Nothing is followed that could lead out of the directory.
"""

import os
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.errors import ForgeError
from forge_p2p.workspace.directories import READABLE, Directories


@dataclass(slots=True)
class Pruned:
    """Files and symlinks that were removed, and what was left in place, in words."""

    removed: int = 0
    left: list[str] = field(default_factory=list)


def prune(destination: bytes, before: Iterable[Entry], after: Collection[tuple[bytes, int]]) -> Pruned:
    """`before`: what the destination held, in the order of a listing. `after`: path and kind of what it is to hold. A
    destination that is no directory has nothing to remove. Raises nothing: what cannot be removed is left."""
    pruned = Pruned()
    stale = [entry for entry in before if (entry.path, entry.kind) not in after]
    if not stale:
        return pruned
    try:
        root = os.open(destination, READABLE)
    except OSError:
        return pruned
    try:
        with Directories(root, {}) as directories:
            for entry in reversed(stale):  # what is in a directory before the directory
                _remove(directories, entry, pruned)
    finally:
        os.close(root)
    return pruned


def _remove(directories: Directories, entry: Entry, pruned: Pruned) -> None:
    parent, _, name = entry.path.rpartition(b"/")
    try:
        directory = directories.descriptor(parent)
        if entry.kind == EntryKind.DIRECTORY:
            with suppress(OSError):  # something else is in it
                os.rmdir(name, dir_fd=directory)
            return
        if _as_put(directory, name, entry):
            os.unlink(name, dir_fd=directory)
            pruned.removed += 1
        else:
            pruned.left.append(f"{path_text(entry.path)} is not in the new version, and stays: it was changed here")
    except FileNotFoundError:
        return
    except (OSError, ForgeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        pruned.left.append(f"{path_text(entry.path)} is not in the new version, and cannot be removed: {reason}")


def _as_put(directory: int, name: bytes, entry: Entry) -> bool:
    """Whether what is there is what was put there."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if entry.kind == EntryKind.SYMLINK:
        return stat.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=directory) == entry.payload
    size_and_time = (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime_ns)
    return stat.S_ISREG(status.st_mode) and size_and_time
