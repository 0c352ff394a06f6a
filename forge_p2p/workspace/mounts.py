"""Whether a directory's file system tells of all changes, and whether something was mounted since."""

import os
import select
from typing import Final

LOCAL: Final = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)
"""File systems that only this machine changes; the kernel tells of what it does itself."""

_TABLE: Final = "/proc/self/mountinfo"


def is_local(directory: int) -> bool:
    """Whether an open directory is in one of the file systems of `LOCAL`. Raises `OSError`, `ValueError`."""
    with open(f"/proc/self/fdinfo/{directory}") as lines:
        (number,) = (line.split()[1] for line in lines if line.startswith("mnt_id:"))
    with open(_TABLE) as mounts:
        for mount in mounts:
            fields, _, rest = mount.partition(" - ")
            if fields.split(" ", 1)[0] == number:
                return rest.split(" ", 1)[0] in LOCAL
    return False


class MountTable:
    """The kernel's table of mounts as this process sees it (proc_pid_mountinfo(5): a change is told by `poll`)."""

    def __init__(self) -> None:
        self._descriptor = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLPRI)

    def has_changed(self) -> bool:
        """Whether anything was mounted or unmounted since the last question."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Lets the table go."""
        os.close(self._descriptor)
