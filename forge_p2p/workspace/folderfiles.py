"""Whole files into a folder that belongs to another program, each under a name that its caller chose.

The caller gives names that the other program takes for somebody's unfinished business, and renames what is whole.
Nothing here is kept for a second run: what is not whole in the end is removed.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import DiskError
from forge_p2p.workspace.faults import disk_error
from forge_p2p.workspace.large import LargeFile, Raw
from forge_p2p.workspace.ledger import Ledger
from forge_p2p.writeback import write_all

MODE = 0o444
"""What arrives is not to be edited."""

_OPEN_MAX = 64
"""Files of a batch that are open at once."""

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderFiles:
    """A context manager. `names`: where each entry goes, by its path; plain names, without a slash. Files are durable
    once `finish` has returned; their names are the caller's to make so. Raises `DiskError`, `DiskFull`."""

    def __init__(self, folder: bytes, names: Mapping[bytes, bytes]) -> None:
        self._names = names
        self._large: list[LargeFile] = []
        self._made: list[bytes] = []
        self._ledger = Ledger(folder)
        try:
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise disk_error("opened", folder, error) from error

    @property
    def device(self) -> int:
        """Of which file system the folder is."""
        return os.fstat(self._folder).st_dev

    def write_batch(self, files: Sequence[tuple[Entry, Raw]]) -> None:
        """Writes whole files: some, and then has them durable, for which the first has to wait and the rest hardly."""
        for first in range(0, len(files), _OPEN_MAX):
            some = files[first : first + _OPEN_MAX]
            with ExitStack() as opened:
                descriptors = [self._written(entry, content, opened) for entry, content in some]
                for (entry, _), descriptor in zip(some, descriptors, strict=True):
                    try:
                        self._complete(descriptor)
                    except OSError as error:
                        raise self._refused(entry, error) from error

    def _written(self, entry: Entry, content: Raw, opened: ExitStack) -> int:
        descriptor = self._create(entry)
        opened.callback(os.close, descriptor)
        try:
            write_all(descriptor, [content], 0)
        except OSError as error:
            raise self._refused(entry, error) from error
        return descriptor

    def open_large(self, entry: Entry) -> LargeFile:
        """A file to be written in pieces, by whoever calls its `finish` then."""
        descriptor = self._create(entry)
        try:
            os.ftruncate(descriptor, entry.size)
        except OSError as error:
            os.close(descriptor)
            raise self._refused(entry, error) from error
        file = LargeFile(entry, descriptor, self._ledger, self._complete)
        self._large.append(file)
        return file

    def place(self, entry: Entry) -> bytes:
        """The path that the entry's file is to have; nothing is there. For who makes the file in another way."""
        path = os.path.join(self._ledger.top, self._names[entry.path])
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._made.append(self._names[entry.path])
        return path

    def open(self, entry: Entry) -> int:
        """A descriptor of a file that is finished, good wherever it is moved. The caller closes it."""
        return os.open(self._names[entry.path], os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)

    def finish(self) -> None:
        """All is written. Raises `DiskError` if something is not."""
        for file in self._large:
            if not file.failed:
                file.close()
        for path, reason in self._ledger.failed.items():
            raise DiskError(f"{path_text(os.path.join(self._ledger.top, path))}: {reason}")
        self._made.clear()

    def close(self) -> None:
        """Removes what `finish` has not confirmed."""
        for file in self._large:
            file.close()
        for name in self._made:
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder)
        os.close(self._folder)

    def _create(self, entry: Entry) -> int:
        name = self._names[entry.path]
        try:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)  # a killed run left it
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=self._folder)
        except OSError as error:
            raise self._refused(entry, error) from error
        self._made.append(name)
        return descriptor

    def _complete(self, descriptor: int) -> None:
        os.fsync(descriptor)
        os.fchmod(descriptor, MODE)

    def _refused(self, entry: Entry, error: OSError) -> DiskError:
        return disk_error("written", os.path.join(self._ledger.top, self._names[entry.path]), error, entry.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
