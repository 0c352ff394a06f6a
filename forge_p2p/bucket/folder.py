"""A bucket that is a folder: of this machine, or of a NAS that several have mounted.

An object is written to a file of another name, synced, and given its name by a hard link, which fails if there is one:
that is put-if-absent, of whole objects only. Where the file system knows no hard links (some shares) the file of that
name is made exclusively, written and synced; a reader may see half of it meanwhile, which its hash or its form tells.

Others write into it, too. So files are reached by descriptors, step by step, and no step but the first leads through a
symlink: one that somebody has put there would lead what is read, written or deleted out of the bucket.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from forge_p2p.bucket.base import Data, Meta
from forge_p2p.bucket.faults import disk_error, require_readable
from forge_p2p.errors import BucketError, ForgeError
from forge_p2p.writeback import sync_folder, write_all

_TEMPORARY: Final = "unfinished"
_LEFT: Final = 86400.0
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without waiting for who writes into a pipe."""

_NOWHERE: Final = frozenset({"", ".", ".."})
"""Steps that no key has."""


class FolderBucket:
    """`path` is made with the first object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tidied = False

    @property
    def where(self) -> str:
        return f"file://{self._path}"

    def put_if_absent(self, key: str, data: Data) -> bool:
        try:
            return self._write(key, data)
        except OSError as error:
            raise self._failed(error, f"write {key}") from error

    def _write(self, key: str, data: Data) -> bool:
        folder, _, name = key.rpartition("/")
        _make_folders(self._path)
        with self._within(folder, make=True) as place:
            if _is_there(place, name):
                return False
            with self._within(_TEMPORARY, make=True) as unfinished:
                self._tidy(unfinished)
                if not _write_whole(unfinished, place, name, data):
                    return False
            os.fsync(place)
        return True

    def _tidy(self, unfinished: int) -> None:
        """What kills left in the folder of files to write first goes after a day."""
        if self._tidied:
            return
        self._tidied = True
        for name in os.listdir(unfinished):
            with suppress(FileNotFoundError, IsADirectoryError):
                if os.stat(name, dir_fd=unfinished, follow_symlinks=False).st_mtime < time.time() - _LEFT:
                    os.unlink(name, dir_fd=unfinished)

    def get(self, key: str) -> bytes:
        try:
            with self._opened(key) as file:
                size = os.fstat(file).st_size
                require_readable(key, size, self.where)
                return _read(file, 0, size)
        except OSError as error:
            raise self._failed(error, f"read {key}") from error

    def get_range(self, key: str, start: int, length: int) -> Data:
        try:
            with self._opened(key) as file:
                found = _read(file, start, length)
        except OSError as error:
            raise self._failed(error, f"read {key}") from error
        if len(found) != length:
            raise BucketError(f"{key} in {self.where} ends at {start + len(found)}, not after {start + length} bytes")
        return found

    def head(self, key: str) -> Meta | None:
        folder, _, name = key.rpartition("/")
        try:
            with self._within(folder) as place:
                found = os.stat(name, dir_fd=place, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failed(error, f"look at {key}") from error
        return Meta(key, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str, after: str = "") -> Iterator[Meta]:
        try:
            yield from self._walk(prefix.rstrip("/"), after)
        except OSError as error:
            raise self._failed(error, f"list {prefix}") from error

    def _walk(self, folder: str, after: str) -> Iterator[Meta]:
        try:
            with self._within(folder) as place, os.scandir(place) as entries:
                names = sorted(each.name + "/" * each.is_dir(follow_symlinks=False) for each in entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            key = f"{folder}/{name}"
            if name.endswith("/"):
                if key + "\U0010ffff" > after:
                    yield from self._walk(key[:-1], after)
            elif key > after:
                meta = self.head(key)
                if meta is not None:
                    yield meta

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            folder, _, name = key.rpartition("/")
            try:
                with suppress(FileNotFoundError), self._within(folder) as place:
                    os.unlink(name, dir_fd=place)
            except OSError as error:
                raise self._failed(error, f"delete {key}") from error

    def close(self) -> None:
        """Nothing is open."""

    @contextmanager
    def _within(self, folder: str, *, make: bool = False) -> Iterator[int]:
        """A folder of the bucket, open; `make`: it is made if it is not there, durably."""
        place = os.open(self._path, _FOLDER)
        try:
            for name in folder.split("/") if folder else ():
                inner = _step(place, name, make=make)
                os.close(place)
                place = inner
            yield place
        finally:
            os.close(place)

    @contextmanager
    def _opened(self, key: str) -> Iterator[int]:
        """An object's file, open to be read."""
        folder, _, name = key.rpartition("/")
        with self._within(folder) as place:
            file = os.open(name, _FILE, dir_fd=place)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is no file")
            yield file
        finally:
            os.close(file)

    def _failed(self, error: OSError, what: str) -> ForgeError:
        return disk_error(error, what, self.where)


def _step(place: int, name: str, *, make: bool) -> int:
    if name in _NOWHERE:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=place)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, 0o777, dir_fd=place)
    os.fsync(place)
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=place)


def _make_folders(folder: Path) -> None:
    """Makes a folder and those above it, durably."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(mode=0o777, exist_ok=True)
    sync_folder(folder.parent)


def _is_there(place: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write_whole(unfinished: int, place: int, name: str, data: Data) -> bool:
    """Writes a file under another name, and gives it its own once it is whole, unless there is one of it."""
    temporary = f"{os.getpid()}.{os.urandom(6).hex()}"
    try:
        _write_synced(unfinished, temporary, data)
        return _give_name(unfinished, temporary, place, name, data)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=unfinished)


def _give_name(unfinished: int, temporary: str, place: int, name: str, data: Data) -> bool:
    """Where there are no links the file is written anew."""
    try:
        os.link(temporary, name, src_dir_fd=unfinished, dst_dir_fd=place, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            _write_synced(place, name, data)
        except FileExistsError:
            return False
    return True


def _write_synced(place: int, name: str, data: Data) -> None:
    """Makes a file. One that cannot be written whole goes again: its name is taken once and for all."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=place)
    try:
        with os.fdopen(descriptor, "wb"):
            write_all(descriptor, [data], 0)
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.unlink(name, dir_fd=place)
        raise


def _read(file: int, start: int, length: int) -> bytes:
    """Up to `length` bytes; fewer where the file ends."""
    found = os.pread(file, length, start)
    while len(found) < length and (more := os.pread(file, length - len(found), start + len(found))):
        found += more
    return found
