"""Locks that die with their owner: `flock` on a file or a folder, which the kernel releases at SIGKILL."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from forge_p2p.store.faults import disk_errors


class Lock:
    """A held lock. `release` is safe to call twice."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @property
    def fd(self) -> int:
        return self._fd

    def alone(self) -> bool:
        """Turns a shared lock into an exclusive one, if nobody else shares it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._fd, fcntl.LOCK_SH)  # the attempt has given up what was held
            return False
        return True

    def share(self) -> None:
        """Turns an exclusive lock into a shared one."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):  # closed it is, whatever the system says
                os.close(fd)


def lock_file(path: Path, *, shared: bool = False, wait: bool = False) -> Lock | None:
    """Locks the file, creating it; `None` if somebody else holds it and `wait` is off."""
    return _lock(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, shared=shared, wait=wait)


def lock_folder(path: Path) -> Lock | None:
    """Locks a folder that exists; `None` if somebody else holds it or it has just gone."""
    return _lock(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, shared=False, wait=False)


def _lock(path: Path, flags: int, *, shared: bool, wait: bool) -> Lock | None:
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    with disk_errors(path):
        while True:
            try:
                fd = os.open(path, flags, 0o600)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(fd, operation)
            except BlockingIOError:
                os.close(fd)
                return None
            except BaseException:
                os.close(fd)
                raise
            if _is_still_at(path, fd):
                return Lock(path, fd)
            os.close(fd)


def _is_still_at(path: Path, fd: int) -> bool:
    """Whether nobody removed or replaced `path` between our opening and our locking it."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
