"""What the kernel tells of directories: inotify(7), by the C library.

The kernel puts an event into the queue within the system call that makes the change, before that returns. So whoever
empties the queue knows of everything that was over by then: nothing has to be waited for. A queue that ran over says
so, which the wrappers around inotify keep to themselves.

What it does not tell: writes through a shared mapping until the file is closed, changes made by way of another hard
link in another directory, mounts, and what other machines do in a file system over the network. `watch` knows.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
UNMOUNT, OVERFLOW, IGNORED = 0x2000, 0x4000, 0x8000
_ONLYDIR: Final = 0x0100_0000
_CONTENT: Final = MODIFY | ATTRIB | CLOSE_WRITE
_NAMES: Final = MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
_MASK: Final = _CONTENT | _NAMES | _ONLYDIR

_EVENT: Final = struct.Struct("iIII")
"""struct inotify_event: watch, mask, cookie, length of the name that follows, with its zeros."""

_BUFFER: Final = 256 * 1024


class Event(NamedTuple):
    """`name` in the directory of `watch`; empty for the directory itself."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """One queue of events. Raises `OSError`: EMFILE and ENOSPC where the system's limits are reached."""

    def __init__(self) -> None:
        self._add = _library().inotify_add_watch
        self._descriptor: int = _library().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def add(self, directory: int) -> int:
        """Watches an open directory, whatever its path is by now; the number that its events carry."""
        watch: int = self._add(self._descriptor, b"/proc/self/fd/%d" % directory, _MASK)
        if watch < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return watch

    def drain(self) -> Iterator[Event]:
        """All that has happened until now."""
        while True:
            try:
                data = os.read(self._descriptor, _BUFFER)
            except BlockingIOError:
                return
            start = 0
            while start < len(data):
                watch, mask, _, length = _EVENT.unpack_from(data, start)
                start += _EVENT.size
                yield Event(watch, mask, data[start : start + length].rstrip(b"\0"))
                start += length

    def fileno(self) -> int:
        """Readable when something has happened."""
        return self._descriptor

    def close(self) -> None:
        """Ends all its watches."""
        os.close(self._descriptor)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
    return library
