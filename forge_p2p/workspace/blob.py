"""A destination that is one file.

It is built in a private directory beside its place, like a tree, and moved out of it when it is whole. A blob has no
mode and no time of its own: it takes the mode of the file that it replaces, and the time at which it does.
"""

import os
import stat
import time
from contextlib import suppress

import msgspec

from forge_p2p.content.link import Link, Root
from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.errors import UsageError
from forge_p2p.workspace.destination import Place, open_as_partial, open_parent, umask
from forge_p2p.workspace.faults import disk_error
from forge_p2p.workspace.found import PERMISSIONS, Found, found_file
from forge_p2p.workspace.names import partial_key
from forge_p2p.workspace.plan import Check, RestorePlan
from forge_p2p.workspace.statcache import Seen, StatCache, boot_id
from forge_p2p.workspace.verify import holds


class FilePlace(Place):
    """`root` is the directory that the file is built in."""

    @property
    def top(self) -> bytes:
        return os.path.dirname(self.path)

    def put_in_place(self) -> None:
        """Moves the file, if it was written, out of its partial."""
        if self.partial is not None:
            with suppress(FileNotFoundError):
                os.rename(self.name, self.name, src_dir_fd=self.root, dst_dir_fd=self.parent)
            os.rmdir(self.partial, dir_fd=self.parent)
            self.partial = None

    def remember(self, cache: StatCache, items: list[Found], root: Root | None) -> None:
        """As a scan of the file would find it, with the ctime that moving it gave it."""
        try:
            ctime_ns = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False).st_ctime_ns
        except OSError:
            return
        moved = [msgspec.structs.replace(item, path=b"", ctime_ns=ctime_ns) for item in items]
        cache.save(self.path, moved, root, boot_id())


def plan_file(
    destination: bytes, root: Root, cache: StatCache, *, check: Check = Check.CACHE, replace: bool = False
) -> RestorePlan:
    """As `plan_restore`, for a blob and the file that it is to be. The plan has one entry, named by the destination.

    `replace`: a pipe, socket or device there may be replaced. Raises `UsageError`, `DiskError`.
    """
    path = os.path.realpath(destination)
    place = FilePlace(path, open_parent(path), -1, None)
    try:
        return _plan(place, root, cache.load(path) if check is Check.CACHE else Seen(), replace)
    except OSError as error:
        place.close()
        raise disk_error("written", path, error) from error
    except BaseException:
        place.close()
        raise


def _plan(place: Place, root: Root, seen: Seen, replace: bool) -> RestorePlan:
    status = _status(place, replace)
    mode = status.st_mode & PERMISSIONS if status else 0o666 & ~umask()
    link = root.link
    entry = Entry(place.name, EntryKind.FILE, mode, time.time_ns(), link.size, link.level, link.hash)
    plan = RestorePlan(place, root, [entry])
    if status and _is_right(place, link, seen, status):
        place.root = os.dup(place.parent)
        plan.unchanged = 1
        plan.found[entry.path] = found_file(entry.path, status, link.level, link.hash)
    else:
        place.root = open_as_partial(place, partial_key(root))
        if status:
            plan.replaced.add(entry.path)
        (plan.write if entry.size else plan.empty).append(entry)
    return plan


def _status(place: Place, replace: bool) -> os.stat_result | None:
    """Of the regular file that is there."""
    try:
        status = os.stat(place.name, dir_fd=place.parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(
            f"{path_text(place.path)} is a directory, and the link is one file", hint="name the file: DIRECTORY/NAME"
        )
    if stat.S_ISREG(status.st_mode):
        return status
    if not replace:
        raise UsageError(f"{path_text(place.path)} is in the way: it is no file", hint="choose another destination")
    return None


def _is_right(place: Place, link: Link, seen: Seen, status: os.stat_result) -> bool:
    known = seen.items.get(b"")
    if known is not None and known.payload and known.matches(status):
        return known.payload == link.hash and known.level == link.level
    return status.st_size == link.size and holds(link, place.name, place.parent)
