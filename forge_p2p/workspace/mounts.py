"""What is mounted where: whether a directory's file system tells of all changes, and whether that has changed since."""

import re
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

LOCAL: Final = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)
"""File systems that only this machine changes; the kernel tells of what it does itself."""

TABLE: Final = Path("/proc/self/mountinfo")

_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """A line of the table, proc_pid_mountinfo(5). `point`: a path from this process's root."""

    number: int
    parent: int
    device: bytes
    root: bytes
    point: bytes
    kind: bytes

    def concerns(self, path: bytes) -> bool:
        """Whether it may be what is seen at `path`, or somewhere below it."""
        point, path = self.point.rstrip(b"/") + b"/", path.rstrip(b"/") + b"/"
        return path.startswith(point) or point.startswith(path)


def mounts(table: bytes) -> Iterator[Mount]:
    """The lines of a mount table, as read; of two at one point the later one hides the earlier."""
    for line in filter(None, table.split(b"\n")):  # of line breaks the kernel escapes this one alone
        fields, _, rest = line.partition(b" - ")
        number, parent, device, root, point = fields.split(b" ")[:5]
        yield Mount(int(number), int(parent), device, root, _plain(point), rest.partition(b" ")[0])


def _plain(path: bytes) -> bytes:
    """A space is written \\040."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), path)


def is_local(directory: int) -> bool:
    """Whether an open directory is in one of the file systems of `LOCAL`. Raises `OSError`, `ValueError`."""
    with open(f"/proc/self/fdinfo/{directory}") as lines:
        (number,) = (int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))
    return any(mount.number == number and mount.kind.decode() in LOCAL for mount in mounts(TABLE.read_bytes()))


class MountWatch:
    """What is mounted at a path, above it and below it, as this process sees it. The kernel tells by `poll` that its
    table has changed, which on a machine that runs containers it does all the time."""

    def __init__(self, path: bytes) -> None:
        """`path`: absolute, without symlinks. Raises `OSError`."""
        self._path = path
        self._file = TABLE.open("rb", buffering=0)
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLPRI)
        self._mounts = self._read()

    def has_changed(self) -> bool:
        """Whether anything that concerns the path was mounted or unmounted since the last question."""
        if not self._poll.poll(0):
            return False
        before, self._mounts = self._mounts, self._read()
        return self._mounts != before

    def close(self) -> None:
        """Ends it."""
        self._file.close()

    def _read(self) -> list[Mount]:
        self._file.seek(0)
        return [mount for mount in mounts(self._file.readall()) if mount.concerns(self._path)]
