"""One directory under watch: what is in it, kept right by what the kernel tells, name by name.

Watched first and listed second, directory by directory, so nothing falls between the two. A name of which there was an
event is looked at again when somebody asks, a directory with all that is below it; everything else is what it was. In
doubt (`Lost`: the queue ran over, something was mounted, a `.forgeignore` changed) nothing here is believed, and the
whole is scanned anew.
"""

import errno
import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING

from forge_p2p.content.snapshot import sort_key
from forge_p2p.errors import ForgeError
from forge_p2p.workspace.directories import READABLE, Directories
from forge_p2p.workspace.found import Found
from forge_p2p.workspace.inotify import ATTRIB, DELETE_SELF, IGNORED, MOVE_SELF, OVERFLOW, UNMOUNT, Inotify
from forge_p2p.workspace.mounts import MountWatch, is_local
from forge_p2p.workspace.names import IGNORE_FILE
from forge_p2p.workspace.statcache import Seen
from forge_p2p.workspace.walking import Skipped, Walk, walk

if TYPE_CHECKING:
    from forge_p2p.workspace.ignore import Rules

TOUCHED_MAX = 10_000
"""Names to look at again, past which a scan is no slower."""

LINKED_MAX = 1_000
"""Files with other names, by which they may change untold: they are looked at every time."""

FALLEN_MAX = 64
"""Directories that went or came, past which a scan is no slower."""

_ROOT_GONE = DELETE_SELF | MOVE_SELF | UNMOUNT | ATTRIB


class Lost(Exception):
    """What is known of the directory may be wrong: scan it."""


class Unwatchable(Exception):
    """Why a directory cannot be watched, in words for a person."""


class Watch:
    """`items` and `skipped`: as in a scan, as of the last `update`. Used by one thread at a time."""

    def __init__(self, root: bytes, *, patient: bool) -> None:
        """`root`: absolute, without symlinks. Raises `Unwatchable`."""
        self.items: list[Found] = []
        self.skipped: list[Skipped] = []
        self.touched: set[bytes] = set()
        """Names of which something was told since."""
        self._root = root
        self._patient = patient
        self._problem: OSError | None = None
        self._is_lost = False
        self._prefixes: dict[int, bytes] = {}
        self.linked: list[bytes] = []
        """Files that have other names, too: looked at every time."""
        self._rules: dict[bytes, Rules | None] = {}
        """As in `Walk`, of the whole."""
        self._inotify, self._mounts = _opened(root)
        status = os.stat(root)
        self._identity = (status.st_dev, status.st_ino)

    def begin(self, seen: Seen) -> bool:
        """Looks at everything, and says whether anything is not as in `seen`. Raises as `scan.scan`, and
        `Unwatchable`."""
        found = walk(self._root, seen.items, patient=self._patient, enter=self._enter)
        self.items, self.skipped, self.linked, self._rules = found.items, found.skipped, found.linked, found.rules
        if self._problem is not None:
            raise Unwatchable(_reason(self._problem))
        if any(each.fault for each in found.skipped):
            raise Unwatchable("something in it cannot be read")
        if len(self.linked) > LINKED_MAX:
            raise Unwatchable("too many of its files have other names, too")
        return found.changed

    def require(self, status: os.stat_result) -> None:
        """Takes in what was told. Raises `Lost` if that is not enough, or if the root, now `status`, is another one."""
        if (status.st_dev, status.st_ino) != self._identity:
            raise Lost
        self.drain()
        if self._is_lost:
            raise Lost

    def drain(self) -> None:
        """Takes what was told out of the kernel's queue, which holds only so much."""
        for watch, mask, name in self._inotify.drain():
            prefix = self._prefixes.get(watch)
            if mask & OVERFLOW:
                self._is_lost = True
            elif prefix is None:
                continue
            elif mask & IGNORED:
                del self._prefixes[watch]
            elif name:
                self.touched.add(prefix + name)
                self._is_lost |= name == IGNORE_FILE
            elif not prefix and mask & _ROOT_GONE:
                self._is_lost = True
        self._is_lost |= self._mounts.has_changed() or len(self.touched) > TOUCHED_MAX

    def update(self, seen: Seen) -> bool:
        """Looks at what was told of, after `require`, and says whether anything is not as in `seen`. Raises `Lost`,
        after which this is of no use."""
        touched, self.touched = self.touched.union(self.linked), set()
        again = Walk(self._root, seen.items, patient=self._patient, enter=self._enter)
        try:
            handled = self._revisit(again, touched)
        except (OSError, ForgeError) as error:
            raise Lost from error
        if self._problem is not None or any(each.fault for each in again.skipped):
            raise Lost
        if not set(again.linked) <= set(self.linked):
            raise Lost  # the name that such a file had before was not told
        self._replace(handled, again, seen)
        known = seen.items
        return any(known.get(item.path) is not item for item in self.items)

    def untold(self, now: Iterable[Found]) -> list[bytes]:
        """Paths that are another thing `now` than what is known here, though nothing was told of them."""
        before, after = ({item.path: _facts(item) for item in items} for items in (self.items, now))
        differ = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        told = self.touched.union(self.linked)
        below = tuple(path + b"/" for path in told)
        return sorted(path for path in differ - told if not path.startswith(below))

    def fileno(self) -> int:
        """Readable when something was told."""
        return self._inotify.fileno()

    def close(self) -> None:
        """Ends it."""
        self._inotify.close()
        self._mounts.close()

    def _enter(self, descriptor: int, prefix: bytes) -> None:
        if self._problem is not None:
            return
        try:
            if os.fstat(descriptor).st_dev != self._identity[0]:
                raise OSError(errno.EXDEV, "another file system is mounted in it")
            watch = self._inotify.add(descriptor)
        except OSError as error:
            self._problem = error
            return
        if self._prefixes.setdefault(watch, prefix) != prefix:
            self._is_lost = True  # moved, or in two places at once

    def _revisit(self, again: Walk, touched: set[bytes]) -> set[bytes]:
        """Visits what is `touched`; all whose records no longer count."""
        handled: set[bytes] = set()
        below: bytes | None = None
        root = os.open(self._root, READABLE)
        try:
            with Directories(root, {}) as directories:
                for path in sorted(touched, key=sort_key):
                    if below is None or not path.startswith(below):
                        handled.add(path)
                        below = path + b"/"
                        self._visit(again, directories, path)
        finally:
            os.close(root)
        return handled

    def _visit(self, again: Walk, directories: Directories, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        descriptor = directories.descriptor(parent)
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return
        depth = parent.count(b"/") + 2 if parent else 1
        above = parent
        while above and above + b"/" not in self._rules:
            above = above.rpartition(b"/")[0]
        again.visit(descriptor, name, path, status, self._rules.get(above + b"/" if above else b""), depth)

    def _replace(self, handled: set[bytes], again: Walk, seen: Seen) -> None:
        """Puts what was found `again` in the place of what was `handled`."""
        fallen = tuple(item.path + b"/" for item in self.items if stat.S_ISDIR(item.st_mode) and item.path in handled)
        if len(fallen) > FALLEN_MAX:
            raise Lost

        def stays(path: bytes) -> bool:
            return path not in handled and not path.startswith(fallen)

        self.items = [_known(item, seen) for item in self.items if stays(item.path)] + again.items
        self.items.sort(key=lambda item: sort_key(item.path))
        self.skipped = [each for each in self.skipped if stays(each.path)] + again.skipped
        self.skipped.sort(key=lambda each: sort_key(each.path))
        self.linked = [path for path in self.linked if stays(path)] + again.linked
        self._rules = {prefix: rules for prefix, rules in self._rules.items() if stays(prefix)} | again.rules


def _opened(root: bytes) -> tuple[Inotify, MountWatch]:
    """Raises `Unwatchable`."""
    try:
        descriptor = os.open(root, READABLE)
        try:
            local = is_local(descriptor)
        finally:
            os.close(descriptor)
        if not local:
            raise Unwatchable("its file system does not tell of all changes")
        mounts = MountWatch(root)
        try:
            return Inotify(), mounts
        except OSError:
            mounts.close()
            raise
    except (OSError, ValueError) as error:
        raise Unwatchable(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the system watches no more directories (sysctl fs.inotify.max_user_watches)"
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "the system gives out no more watches (sysctl fs.inotify.max_user_instances)"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _known(item: Found, seen: Seen) -> Found:
    """What did not change, with the link that is known of it by now."""
    known = seen.items.get(item.path)
    if known is item or (known is not None and _facts(known) == _facts(item)):
        return known
    return item.without_link() if item.is_file else item


def _facts(item: Found) -> tuple[object, ...]:
    """What was seen of a thing, without what is known of a file's content."""
    content = b"" if item.is_file else item.payload
    return (item.st_mode, item.size, item.mtime_ns, item.ctime_ns, item.inode, item.device, content)
