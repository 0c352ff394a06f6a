"""Writing large files behind: the kernel begins to write early and lets go of what is written, so that the sync at the
end finds little left to do and a gigabyte passing through does not push everything else out of the page cache.

Measured on 1 GiB: the last sync takes 0.45 s without and 0.01 s with an early start. Letting the pages go costs
nothing where memory is plentiful; in virtual machines that give free memory back to their host, where every page the
cache grows by is a fault there, it made writing cost 0.24 s of CPU instead of 2.0 s. Small files stay in the cache.
"""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_SYNC_FILE_RANGE_WRITE: Final = 2

_STEP: Final = 8 << 20
_LAG: Final = 16 << 20
"""Bytes behind the end where pages are let go: they had time to be written. What was not is met again in the window."""
_WINDOW: Final = 128 << 20


def _bind() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function


_sync_file_range: Final = _bind()


class WriteBehind:
    """For one file that is appended to. Failures to write show at the sync, never here."""

    __slots__ = ("_fd", "_started")

    def __init__(self, fd: int, size: int = 0) -> None:
        self._fd = fd
        self._started = size

    def wrote(self, size: int) -> None:
        """The file has now `size` bytes; called after every write, acts every few MiB."""
        if size - self._started >= _STEP:
            self.start(size)
            if size > 2 * _LAG:
                end = size - _LAG
                self._let_go(max(0, end - _WINDOW), min(end, _WINDOW))

    def start(self, size: int) -> None:
        """Asks for everything up to `size` to be written soon."""
        if _sync_file_range is not None and size > self._started:
            _sync_file_range(self._fd, self._started, size - self._started, _SYNC_FILE_RANGE_WRITE)
        self._started = max(size, self._started)

    def synced(self, size: int) -> None:
        """Everything is on disk: a large file leaves the cache."""
        if size > 2 * _LAG:
            self._let_go(0, size)

    def _let_go(self, start: int, length: int) -> None:
        with suppress(OSError):  # advice; not every file system takes it
            os.posix_fadvise(self._fd, start, length, os.POSIX_FADV_DONTNEED)
