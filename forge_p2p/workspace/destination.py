"""The directory that a snapshot is restored to: opened, locked, and asked what its file system can do.

A directory that does not exist yet is built beside its place, under a hidden name that only its owner may enter, and
renamed once when all is there: nobody sees a half of it, and no file needs a rename of its own. The lock is `flock` on
the directory, so a killed restore leaves none behind.
"""

import errno
import fcntl
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from forge_p2p.content.link import Root
from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import DiskFull, UsageError
from forge_p2p.workspace.directories import READABLE
from forge_p2p.workspace.faults import disk_error
from forge_p2p.workspace.found import Found
from forge_p2p.workspace.names import is_partial_of, partial_name, probe_name
from forge_p2p.workspace.statcache import StatCache, boot_id

_PRIVATE = 0o700


@dataclass(slots=True)
class Place:
    """An open destination; a context manager. `root` is where writing goes: the destination itself, or its partial."""

    path: bytes
    """Where it will be, absolute, without symlinks."""
    parent: int
    """Descriptor of the directory it lies in."""
    root: int
    """Descriptor of the directory that is written to."""
    partial: bytes | None
    """The hidden name it has in `parent` until it is complete; `None` if it was there before."""

    @property
    def name(self) -> bytes:
        return os.path.basename(self.path)

    @property
    def top(self) -> bytes:
        """What the paths of entries are relative to."""
        return self.path

    def put_in_place(self) -> None:
        """Gives a partial its final name and mode. Raises `OSError`, `ENOTEMPTY` if something has taken the name."""
        if self.partial is not None:
            os.fchmod(self.root, 0o777 & ~umask())
            os.rename(self.partial, self.name, src_dir_fd=self.parent, dst_dir_fd=self.parent)
            self.partial = None

    def remember(self, cache: StatCache, items: list[Found], root: Root | None) -> None:
        """Saves what is there now; `root` if it is exactly that. Not forced to the disk: good until a restart."""
        cache.save(self.path, items, root, boot_id())

    def close(self) -> None:
        """Lets go. A partial stays for the next run, unless there is nothing in it."""
        if self.partial is not None and self.root >= 0:
            with suppress(OSError):
                os.rmdir(self.partial, dir_fd=self.parent)
        for descriptor in (self.root, self.parent):
            if descriptor >= 0:
                os.close(descriptor)
        self.root = self.parent = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_place(destination: bytes, key: bytes) -> Place:
    """Opens and locks `destination`, or the partial it is built as. `key`: see `names.partial_key`.

    Missing directories above it are made. Raises `UsageError` if it is no directory or another restore is writing
    there, `DiskError`.
    """
    path = os.path.realpath(destination)
    place = Place(path, open_parent(path), -1, None)
    try:
        place.root = _open_root(place, key)
    except OSError as error:
        place.close()
        raise disk_error("written", path, error) from error
    except BaseException:
        place.close()
        raise
    return place


def open_parent(path: bytes) -> int:
    """A descriptor of the directory that the absolute `path` lies in, which is made if it is missing. Raises
    `UsageError`, `DiskError`."""
    parent = os.path.dirname(path)
    try:
        os.makedirs(parent, exist_ok=True)
        return os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path_text(parent)} is not a directory", hint="choose another destination") from error
    except OSError as error:
        raise disk_error("made", parent, error) from error


def make_directory(path: bytes) -> None:
    """Makes the directory `path`, and those above it, if there is nothing. Raises `UsageError`, `DiskError`."""
    try:
        os.makedirs(path, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path_text(path)} is not a directory", hint="choose another") from error
    except OSError as error:
        raise disk_error("made", path, error) from error


def _open_root(place: Place, key: bytes) -> int:
    try:
        root = os.open(place.name or b".", READABLE, dir_fd=place.parent)
    except FileNotFoundError:
        return open_as_partial(place, key)
    except NotADirectoryError as error:
        raise UsageError(f"{path_text(place.path)} is not a directory", hint="choose another destination") from error
    _lock(root, place.path)
    remove_partial(place.parent, partial_name(place.name, key))
    return root


def open_as_partial(place: Place, key: bytes) -> int:
    """The root of a place that is built out of sight. Removes what killed restores of other snapshots left there."""
    place.partial = partial_name(place.name, key)
    _remove_other_partials(place.parent, place.name, place.partial)
    return open_partial(place.parent, place.partial, place.path)


def open_partial(parent: int, name: bytes, shown: bytes) -> int:
    """Opens the private directory `name`, making it if needed, and locks it. If others could have written to it, its
    files may not be what an earlier restore left there: begins anew. Raises `UsageError` if it is somebody else's."""
    try:
        os.mkdir(name, _PRIVATE, dir_fd=parent)
        is_new = True
    except FileExistsError:
        is_new = False
    descriptor = os.open(name, READABLE, dir_fd=parent)
    try:
        _lock(descriptor, shown)
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise UsageError(
                f"{path_text(name)} beside {path_text(shown)} is somebody else's",
                hint="have it removed, or choose another destination",
            )
        if is_new or not status.st_mode & 0o022:
            return descriptor
        shutil.rmtree(name, dir_fd=parent)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return open_partial(parent, name, shown)


def _lock(descriptor: int, shown: bytes) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"another `forge get` is writing to {path_text(shown)}", hint="wait for it, or choose another destination"
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):  # a file system without locks
            raise


def _remove_other_partials(parent: int, name: bytes, keep: bytes) -> None:
    """Removes what killed restores of other snapshots to the same place left, unless one of them is alive."""
    with os.scandir(parent) as listing:
        names = [os.fsencode(entry.name) for entry in listing]
    for other in names:
        if other != keep and is_partial_of(name, other):
            remove_partial(parent, other)


def remove_partial(parent: int, name: bytes) -> None:
    """Removes a partial of this user that no living process has locked; leaves any other alone."""
    try:
        descriptor = os.open(name, READABLE, dir_fd=parent)
    except OSError:
        return
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(name, ignore_errors=True, dir_fd=parent)
    except OSError:
        return
    finally:
        os.close(descriptor)


def remove_leftover(parent: int, name: bytes) -> None:
    """Removes a temporary file or a partial of a killed restore, if it is this user's."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            remove_partial(parent, name)
        elif status.st_uid == os.geteuid():
            os.unlink(name, dir_fd=parent)
    except OSError:
        return


def remove_any(parent: int, name: bytes) -> None:
    """Removes a file, a symlink or a directory with all that is in it, following nothing. Raises `OSError`."""
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


def folds_names(directory: int) -> bool:
    """Whether the file system takes names that differ in case, or in Unicode normal form, for the same."""
    probe = probe_name()
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory))
    except OSError:
        return False  # writing will say what is wrong
    try:
        return any(_exists(other, directory) for other in (probe.upper(), probe.replace("\u00e9", "e\u0301")))
    finally:
        os.unlink(probe, dir_fd=directory)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def require_space(place: Place, needed: int) -> None:
    """Raises `DiskFull` if the file system has no `needed` bytes left for this user."""
    system = os.fstatvfs(place.root)
    free = system.f_bavail * system.f_frsize
    if needed > free:
        raise DiskFull(
            f"no space left for {path_text(place.path)}: it needs {needed} bytes, {free} are free",
            hint="free some space and run the same command again, or choose another destination",
        )


def umask() -> int:
    """The process's umask, read without changing it where the system allows that."""
    try:
        with open("/proc/self/status", "rb") as status:
            return next(int(line[6:], 8) for line in status if line.startswith(b"Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask
