"""What is there though a scan has no record of it: left out by `.forgeignore`, or not to be read just now. It was not
deleted, whatever a listing without it looks like."""

import errno
import os
from collections.abc import Iterable

from forge_p2p.workspace.directories import READABLE, Directories

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def still_there(root: bytes, paths: Iterable[bytes]) -> set[bytes]:
    """Those of `paths` below the directory `root` at which something is. What cannot be told counts as there. Raises
    `OSError` if `root` cannot be opened."""
    found: set[bytes] = set()
    top = os.open(root, READABLE)
    try:
        with Directories(top, {}) as directories:
            for path in paths:
                if _is_there(directories, path):
                    found.add(path)
    finally:
        os.close(top)
    return found


def _is_there(directories: Directories, path: bytes) -> bool:
    parent, _, name = path.rpartition(b"/")
    try:
        os.stat(name, dir_fd=directories.descriptor(parent), follow_symlinks=False)
    except OSError as error:
        return error.errno not in _GONE
    return True
