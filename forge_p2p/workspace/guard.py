"""What a restore may replace or remove in a directory that people work in: what a scan saw there, whose content is in
the store, as long as it is still that.

Everything is looked at right before it is replaced, removed or given another mode. What is no longer what the scan saw,
what it did not see and what went away since is left as it is, and named: the next round merges it.
"""

import errno
import os
import stat
from collections.abc import Iterable, Sequence

from forge_p2p.workspace.found import SYMLINK_MODE, Found


class ChangedMeanwhile(OSError):
    """Something is not what the scan saw; nothing was done to it."""

    def __init__(self, reason: str = "somebody changed it meanwhile") -> None:
        super().__init__(errno.ESTALE, reason)


class Guard:
    """`seen` is what the scan saw. `removals` are to be removed, contents before their directory."""

    def __init__(self, seen: Iterable[Found], removals: Sequence[bytes] = ()) -> None:
        self.removals = removals
        self._seen = {item.path: item for item in seen}

    def check(self, path: bytes, name: bytes, directory: int) -> None:
        """Raises `ChangedMeanwhile` unless at `name` in the open `directory` there is still what was seen at `path`."""
        known = self._seen.get(path)
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            if known is not None:
                raise ChangedMeanwhile from None
            return
        if known is None:
            raise ChangedMeanwhile("something else is there that the scan did not take in")
        if not _is(known, status, name, directory):
            raise ChangedMeanwhile

    def check_open(self, path: bytes, descriptor: int) -> None:
        """As `check`, for a file that is open."""
        known = self._seen.get(path)
        if known is None or not known.matches(os.fstat(descriptor)):
            raise ChangedMeanwhile

    def remove(self, path: bytes, name: bytes, directory: int) -> bool:
        """Removes what was seen at `path`; whether it did. A directory with something in it stays. Raises
        `ChangedMeanwhile`, `OSError`."""
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            self._seen.pop(path, None)
            return False
        known = self._seen.get(path)
        if known is None or not _is(known, status, name, directory):
            raise ChangedMeanwhile
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=directory)
        else:
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
        del self._seen[path]
        return True


def _is(known: Found, status: os.stat_result, name: bytes, directory: int) -> bool:
    if known.is_file:
        return known.matches(status)
    if known.st_mode == SYMLINK_MODE:
        return stat.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=directory) == known.payload
    return stat.S_ISDIR(status.st_mode)
