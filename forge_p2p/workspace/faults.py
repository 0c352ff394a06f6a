"""What the operating system refuses, in Forge's words."""

import errno

from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import DiskError, DiskFull

_FULL = {errno.ENOSPC, errno.EDQUOT}

_HINTS = {
    errno.EACCES: "change its permissions, or run as its owner",
    errno.EPERM: "change its permissions, or run as its owner",
    errno.EROFS: "the file system is mounted read-only: choose another destination",
    errno.EIO: "the device fails: look into the system's log",
    errno.EMFILE: "raise the limit on open files: ulimit -n",
    errno.ENAMETOOLONG: "the file system allows no such long name: choose another destination",
}


def disk_error(done: str, path: bytes, error: OSError, needed: int = 0) -> DiskError:
    """`DiskFull` or `DiskError` for `error`, for which `path`, which takes `needed` bytes, could not be `done` ("read",
    "written"). The caller raises it."""
    if error.errno in _FULL:
        return DiskFull(
            f"no space left for {path_text(path)}, which needs {needed} bytes",
            hint="free some space and run the same command again: it goes on where it stopped",
        )
    return DiskError(
        f"{path_text(path)} cannot be {done}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0, "")
    )


def is_fatal(error: OSError) -> bool:
    """Whether the next file would meet the same: a full, read-only or failing device, no descriptors left."""
    return error.errno in _FULL or error.errno in (errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
