"""Directory descriptors below a root, opened one name at a time and never through a symlink.

This is what keeps a restore inside its destination whatever is planted there meanwhile: every file is created relative
to a descriptor that was reached by `openat(O_NOFOLLOW | O_DIRECTORY)` alone.
"""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Self

_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PATH_ONLY = getattr(os, "O_PATH", os.O_RDONLY) | _FLAGS
"""To create, rename and remove by; needs no permission to read the directory."""
READABLE = os.O_RDONLY | _FLAGS
_OPEN_MAX = 64


class Directories:
    """A few open descriptors, for one thread; a context manager."""

    def __init__(self, root: int, aliases: Mapping[bytes, bytes], flags: int = PATH_ONLY) -> None:
        """`root` stays the caller's. `aliases`: path -> the name that the directory has on disk for now."""
        self._root = root
        self._aliases = aliases
        self._flags = flags
        self._open: dict[bytes, int] = {}

    def descriptor(self, path: bytes) -> int:
        """Of the directory at `path` (`b""` is the root); valid until the next call. Raises `OSError`."""
        if not path:
            return self._root
        descriptor = self._open.get(path)
        if descriptor is None:
            if len(self._open) >= _OPEN_MAX:
                self.close()
            parent, _, name = path.rpartition(b"/")
            descriptor = os.open(self._aliases.get(path, name), self._flags, dir_fd=self.descriptor(parent))
            self._open[path] = descriptor
        return descriptor

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_directory(name: bytes, parent: int) -> tuple[int, int]:
    """A descriptor to list the directory `name` by, and its permission bits as they are now: where even its owner had
    no right to read it, that right was added. Raises `OSError`."""
    try:
        descriptor = os.open(name, READABLE, dir_fd=parent)
    except PermissionError as denied:
        descriptor = os.open(name, PATH_ONLY, dir_fd=parent)
        try:
            unlock(descriptor, denied)
        finally:
            os.close(descriptor)
        descriptor = os.open(name, READABLE, dir_fd=parent)
    return descriptor, os.fstat(descriptor).st_mode & 0o777


def unlock(descriptor: int, denied: PermissionError) -> int:
    """Gives the owner all rights to an open directory, after something there was `denied`; raises that if the directory
    is not ours. Returns its permission bits before. Goes by its link under /proc, for a descriptor that was opened
    without the right to read takes no `fchmod`."""
    mode = os.fstat(descriptor).st_mode & 0o777
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", mode | 0o700)
    except OSError:
        raise denied from None
    return mode
