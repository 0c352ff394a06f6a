"""Reading what a scan found, and noticing when it is no longer that.

A file is compared with its record after its last byte was read: were it replaced, written, or reached through a planted
symlink at any time since the scan, its inode or times would differ.
"""

import errno
import os
from types import TracebackType
from typing import Self

from forge_p2p.content.link import Kind
from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import DiskError, SourceChanged
from forge_p2p.workspace.faults import disk_error
from forge_p2p.workspace.found import Found
from forge_p2p.workspace.names import IGNORE_FILE
from forge_p2p.workspace.scan import Scan

# Non-blocking, for a pipe may have taken the file's place.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EAGAIN)


class SourceReader:
    """Opens and reads the files of one scan; a context manager, safe from several threads.

    All calls raise `SourceChanged` naming a file that is not what the scan saw, `DiskError` one that cannot be read.
    """

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        folder = scan.root if scan.kind is Kind.TREE else os.path.dirname(scan.root)
        try:
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise disk_error("read", folder, error) from error

    def read(self, item: Found) -> bytes:
        """The whole of a small file, verified to be what was scanned."""
        descriptor = self.open_verified(item, check=False)
        try:
            content = os.read(descriptor, item.size + 1)
            if len(content) != item.size or not item.matches(os.fstat(descriptor)):
                raise self._changed(item)
        except OSError as error:
            raise self._failure(item, error) from error
        finally:
            os.close(descriptor)
        return content

    def open_verified(self, item: Found, check: bool = True) -> int:
        """A descriptor of the file; the caller closes it, after `check_unchanged` when it has read all."""
        try:
            descriptor = os.open(item.path or os.path.basename(self._scan.root), _FLAGS, dir_fd=self._folder)
        except OSError as error:
            raise self._failure(item, error) from error
        if check:
            try:
                self.check_unchanged(descriptor, item)
            except BaseException:
                os.close(descriptor)
                raise
        return descriptor

    def check_unchanged(self, descriptor: int, item: Found) -> None:
        """Raises `SourceChanged` unless the open file is still what was scanned."""
        if not item.matches(os.fstat(descriptor)):
            raise self._changed(item)

    def close(self) -> None:
        os.close(self._folder)

    def _changed(self, item: Found) -> SourceChanged:
        return source_changed(os.path.join(self._scan.root, item.path))

    def _failure(self, item: Found, error: OSError) -> DiskError | SourceChanged:
        if error.errno in _GONE:
            return self._changed(item)
        failure = disk_error("read", os.path.join(self._scan.root, item.path).rstrip(b"/"), error)
        if error.errno in (errno.EACCES, errno.EPERM):
            failure.hint += f", or leave it out with a line in {IGNORE_FILE.decode()}"
        return failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def source_changed(path: bytes) -> SourceChanged:
    """The error for a file or directory that is not what it was; the caller raises it."""
    return SourceChanged(
        f"{path_text(path)} changed while it was read; nothing was shared",
        hint="run the command again when nothing writes there",
    )
