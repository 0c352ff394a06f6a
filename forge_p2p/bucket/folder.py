"""A bucket that is a folder: of this machine, or of a NAS that several have mounted.

An object is written to a file of another name, synced, and given its name by a hard link, which fails if there is one:
that is put-if-absent, of whole objects only. Where the file system knows no hard links (some shares) the file of that
name is made exclusively, written and synced; a reader may see half of it meanwhile, which its hash or its form tells.
"""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from forge_p2p.bucket.base import Data, Meta
from forge_p2p.bucket.faults import disk_error
from forge_p2p.errors import BucketError, ForgeError

_TEMPORARY: Final = "unfinished"
_LEFT: Final = 86400.0
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class FolderBucket:
    """`path` is made with the first object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tidied = False

    @property
    def where(self) -> str:
        return f"file://{self._path}"

    def put_if_absent(self, key: str, data: Data) -> bool:
        file = self._path / key
        try:
            if file.exists():
                return False
            _make_folders(file.parent)
            return self._write(file, data)
        except OSError as error:
            raise self._failed(error, f"write {key}") from error

    def _write(self, file: Path, data: Data) -> bool:
        temporary = self._temporary()
        try:
            _write_synced(temporary, data)
            try:
                os.link(temporary, file)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                try:
                    _write_synced(file, data)
                except FileExistsError:
                    return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(file.parent)
        return True

    def _temporary(self) -> Path:
        """A file to write first, in a folder of its own; what was left there by kills goes after a day."""
        folder = self._path / _TEMPORARY
        _make_folders(folder)
        if not self._tidied:
            self._tidied = True
            for left in folder.iterdir():
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < time.time() - _LEFT:
                        left.unlink()
        return folder / f"{os.getpid()}.{os.urandom(6).hex()}"

    def get(self, key: str) -> bytes:
        try:
            return (self._path / key).read_bytes()
        except OSError as error:
            raise self._failed(error, f"read {key}") from error

    def get_range(self, key: str, start: int, length: int) -> Data:
        try:
            with (self._path / key).open("rb", buffering=0) as file:
                found = os.pread(file.fileno(), length, start)
                while len(found) < length and (
                    more := os.pread(file.fileno(), length - len(found), start + len(found))
                ):
                    found += more
        except OSError as error:
            raise self._failed(error, f"read {key}") from error
        if len(found) != length:
            raise BucketError(f"{key} in {self.where} ends at {start + len(found)}, not after {start + length} bytes")
        return found

    def head(self, key: str) -> Meta | None:
        try:
            found = (self._path / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failed(error, f"look at {key}") from error
        return Meta(key, found.st_size, found.st_mtime)

    def list(self, prefix: str, after: str = "") -> Iterator[Meta]:
        try:
            yield from self._walk(prefix.rstrip("/"), after)
        except OSError as error:
            raise self._failed(error, f"list {prefix}") from error

    def _walk(self, folder: str, after: str) -> Iterator[Meta]:
        try:
            found = sorted(os.scandir(self._path / folder), key=lambda each: each.name + "/" * each.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return
        for each in found:
            key = f"{folder}/{each.name}"
            if each.is_dir():
                if f"{key}/" + "\U0010ffff" > after:
                    yield from self._walk(key, after)
            elif key > after:
                meta = self.head(key)
                if meta is not None:
                    yield meta

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                (self._path / key).unlink(missing_ok=True)
            except OSError as error:
                raise self._failed(error, f"delete {key}") from error

    def close(self) -> None:
        """Nothing is open."""

    def _failed(self, error: OSError, what: str) -> ForgeError:
        return disk_error(error, what, self.where)


def _make_folders(folder: Path) -> None:
    """Makes a folder and those above it, durably."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(mode=0o777, exist_ok=True)
    _sync_folder(folder.parent)


def _write_synced(file: Path, data: Data) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as opened:
        view = memoryview(data)
        while view:
            view = view[opened.write(view) :]
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
