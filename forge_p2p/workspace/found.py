"""What a directory was found to hold: the records that scan, stat cache and restore share."""

import os
import stat
from collections.abc import Mapping

import msgspec

from forge_p2p.content.link import Link
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.ids import Hash

_KINDS = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.SYMLINK}

PERMISSIONS = 0o777

SYMLINK_MODE = stat.S_IFLNK | PERMISSIONS
"""What Linux says of every symlink; other systems' bits mean nothing either, so all snapshots say the same."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """One file, directory or symlink as it was seen.

    `path` is relative to the root, `b""` for a root that is itself a file. All but `path`, `st_mode` and `payload` are
    0 for directories and symlinks: their times say nothing about what is shared.
    """

    path: bytes
    st_mode: int
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    device: int = 0
    level: int = 0
    """Of the content's link."""
    payload: bytes = b""
    """A file's content hash, `b""` where it is not known; a symlink's target."""

    @property
    def kind(self) -> EntryKind:
        return _KINDS[stat.S_IFMT(self.st_mode)]

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.st_mode)

    @property
    def is_unknown(self) -> bool:
        """A file that has to be read before its link is known."""
        return not self.payload and stat.S_ISREG(self.st_mode)

    def with_link(self, link: Link) -> "Found":
        """The same file, its content known."""
        return Found(
            self.path,
            self.st_mode,
            self.size,
            self.mtime_ns,
            self.ctime_ns,
            self.inode,
            self.device,
            link.level,
            link.hash,
        )

    def without_link(self) -> "Found":
        """The same file, its content to be read again."""
        return self.with_link(Link(Hash(b""), 0, 0))

    def entry(self) -> Entry:
        """As it stands in a snapshot. The content of a file must be known."""
        return Entry(
            self.path,
            self.kind,
            self.st_mode & PERMISSIONS,
            self.mtime_ns,
            self.size,
            self.level,
            self.payload,
        )

    def matches(self, status: os.stat_result) -> bool:
        """Whether a file is still the one that was seen: nothing that a write changes is different."""
        return (
            self.ctime_ns == status.st_ctime_ns
            and self.mtime_ns == status.st_mtime_ns
            and self.size == status.st_size
            and self.inode == status.st_ino
            and self.device == status.st_dev
            and self.st_mode == status.st_mode
        )


def found_file(path: bytes, status: os.stat_result, level: int = 0, payload: bytes = b"") -> Found:
    """A regular file, from its `stat`."""
    return Found(
        path,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
        level,
        payload,
    )


Links = Mapping[bytes, Link]
"""Path -> content, of files that were read."""
