"""Foreign errors to ours: one place that knows what the operating system and LMDB mean.

An error names the path, the reason and what to do next. What a full disk needs is named in bytes.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import lmdb

from forge_p2p.errors import DiskError, DiskFull, StoreError

Path = str | os.PathLike[str]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_BLOCK: Final = 4096
"""Bytes that even a name needs."""

_NEARLY_FULL: Final = 256 << 10
"""Free bytes; a transaction of LMDB is written in pieces of up to 64 pages."""

_HINTS: Final = {
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "check who owns the folder",
    errno.EPERM: "check who owns the folder",
    errno.EIO: "the device reports failures; check the system log",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}


def disk_error(error: OSError, path: Path, needed: int = 0) -> DiskError:
    """`error` met at `path` while `needed` bytes were to be written."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return disk_full(path, reason, needed)
    return DiskError(f"{os.fspath(path)}: {reason}", hint=_HINTS.get(error.errno or 0, ""))


def disk_full(path: Path, reason: str, needed: int) -> DiskFull:
    needed = max(needed, _BLOCK)
    return DiskFull(
        f"{os.fspath(path)}: {reason}, {needed} bytes more are needed", hint="free some space and run again"
    )


@contextmanager
def disk_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Translates every `OSError` of the block."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path, needed) from error


def damaged_record(path: Path) -> StoreError:
    return StoreError(f"{os.fspath(path)}: a record is damaged", hint="run `forge store rebuild`")


def _is_full(path: Path, needed: int) -> bool:
    """Whether LMDB's EIO was a short write: it does not look for the reason."""
    try:
        state = os.statvfs(os.path.dirname(os.fspath(path)))
    except OSError:
        return False
    return state.f_bavail * state.f_frsize < needed + _NEARLY_FULL


def database_error(error: lmdb.Error, path: Path, needed: int = 0) -> StoreError:
    """LMDB's errors; the system's errors reach us inside its generic ones, as text alone."""
    text = str(error)
    for number in (*_FULL, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE):
        if os.strerror(number) in text:
            full = number == errno.EIO and _is_full(path, needed)
            return disk_error(OSError(errno.ENOSPC if full else number, text), path, needed)
    return StoreError(f"{os.fspath(path)}: {text}", hint="run `forge store verify`, then `forge store rebuild`")
