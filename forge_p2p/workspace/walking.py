"""The way through a directory, name by name, that scans take.

Through directory descriptors, so that no symlink planted meanwhile leads out of the root; in the listing's order (a
directory directly before what it holds), so that nothing has to be sorted as a whole. What is known already and looks
as it did keeps its record.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forge_p2p.content.paths import MAX_DEPTH, check_name
from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import DiskError, HostileSnapshot, SourceChanged, UsageError
from forge_p2p.workspace.directories import READABLE
from forge_p2p.workspace.faults import disk_error
from forge_p2p.workspace.found import PERMISSIONS, SYMLINK_MODE, Found, found_file
from forge_p2p.workspace.names import IGNORE_FILE, is_git, is_leftover

if TYPE_CHECKING:
    from forge_p2p.workspace.ignore import Rules

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()
_FORMAT = 0o170000
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

Enter = Callable[[int, bytes], object]
"""Called with each directory before it is listed: its descriptor, and its path with a final slash."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was left out, and why, in words for a person. `fault`: somebody expects to find it again."""

    path: bytes
    reason: str
    fault: bool = False

    def __str__(self) -> str:
        return f"left out {path_text(self.path)}: {self.reason}"


def walk(root: bytes, known: Mapping[bytes, Found], *, patient: bool, enter: Enter | None = None) -> "Walk":
    """All that is below the directory `root`. Raises as `scan.scan`."""
    made = Walk(root, known, patient=patient, enter=enter)
    try:
        descriptor = os.open(root, READABLE)
    except OSError as error:
        raise disk_error("read", root, error) from error
    try:
        made.directory(descriptor, b"", None, 1)
    finally:
        os.close(descriptor)
    return made


class Walk:
    """Collects items and what is skipped, in order. Holds one descriptor a level of depth. `patient`: see
    `scan.scan`."""

    __slots__ = ("_enter", "_known", "_patient", "_root", "changed", "items", "linked", "rules", "skipped")

    def __init__(self, root: bytes, known: Mapping[bytes, Found], *, patient: bool, enter: Enter | None = None) -> None:
        self._root = root
        self._known = known
        self._patient = patient
        self._enter = enter
        self.items: list[Found] = []
        self.skipped: list[Skipped] = []
        self.changed = False
        """Whether an item is another than was known."""
        self.rules: dict[bytes, Rules | None] = {}
        """Directories with a `.forgeignore` of their own, with a final slash, and what holds in them."""
        self.linked: list[bytes] = []
        """Files that have other names, too."""

    def directory(self, descriptor: int, prefix: bytes, rules: "Rules | None", depth: int) -> None:
        """Visits what is in one directory; `prefix` is its path with a final slash, or nothing for the root."""
        if depth > MAX_DEPTH:
            raise UsageError(f"{self._shown(prefix)} is nested deeper than {MAX_DEPTH} directories")
        if self._enter is not None:
            self._enter(descriptor, prefix)
        found = self._list(descriptor, prefix)
        if IGNORE_FILE in found:
            rules = self.rules[prefix] = self._read_rules(descriptor, prefix, rules)
        for name in sorted(found):
            path = prefix + name
            try:
                try:
                    status = found[name].stat(follow_symlinks=False)
                except OSError as error:
                    raise self._failure("looked at", path, error) from error
                self.visit(descriptor, name, path, status, rules, depth)
            except (DiskError, SourceChanged, UsageError) as error:
                if not self._patient:
                    raise
                self.skipped.append(Skipped(path, error.message, fault=not isinstance(error, SourceChanged)))

    def visit(
        self, descriptor: int, name: bytes, path: bytes, status: os.stat_result, rules: "Rules | None", depth: int
    ) -> None:
        """Takes in one name of the open directory, whose `rules` and `depth` are given, and all that is below it."""
        form = status.st_mode & _FORMAT
        if rules is not None and rules.ignores(path, form == stat.S_IFDIR):
            return
        known = self._known.get(path)
        if known is None and not self._is_shared(name, path):
            return
        if form == stat.S_IFREG:
            if status.st_nlink > 1:
                self.linked.append(path)
            self._add(known if known and known.matches(status) else found_file(path, status), known)
        elif form == stat.S_IFDIR:
            mode = status.st_mode & (_FORMAT | PERMISSIONS)
            self._add(known if known and known.st_mode == mode else Found(path, mode), known)
            self._subdirectory(descriptor, name, path, rules, depth)
        elif form == stat.S_IFLNK:
            self._add(self._symlink(descriptor, name, path, known), known)
        else:
            self.skipped.append(Skipped(path, "it is a socket, a pipe or a device"))

    def _list(self, descriptor: int, prefix: bytes) -> dict[bytes, "os.DirEntry[str]"]:
        try:
            with os.scandir(descriptor) as listing:
                return {entry.name.encode(_ENCODING, _ERRORS): entry for entry in listing}
        except OSError as error:
            raise self._failure("read", prefix.rstrip(b"/"), error) from error

    def _read_rules(self, descriptor: int, prefix: bytes, outer: "Rules | None") -> "Rules | None":
        from forge_p2p.workspace.ignore import read_rules

        try:
            return read_rules(descriptor, prefix, outer)
        except OSError as error:
            raise self._failure("read", prefix + IGNORE_FILE, error) from error

    def _add(self, item: Found, known: Found | None) -> None:
        self.items.append(item)
        self.changed |= item is not known

    def _subdirectory(self, parent: int, name: bytes, path: bytes, rules: "Rules | None", depth: int) -> None:
        try:
            descriptor = os.open(name, READABLE, dir_fd=parent)
        except OSError as error:
            raise self._failure("read", path, error) from error
        try:
            self.directory(descriptor, path + b"/", rules, depth + 1)
        finally:
            os.close(descriptor)

    def _symlink(self, parent: int, name: bytes, path: bytes, known: Found | None) -> Found:
        try:
            target = os.readlink(name, dir_fd=parent)
        except OSError as error:
            raise self._failure("read", path, error) from error
        if known and known.st_mode == SYMLINK_MODE and known.payload == target:
            return known
        return Found(path, SYMLINK_MODE, payload=target)

    def _is_shared(self, name: bytes, path: bytes) -> bool:
        """Whether a name may be in a snapshot; what no snapshot may have and nobody misses is skipped."""
        if is_leftover(name):
            self.skipped.append(Skipped(path, "an interrupted `forge get` left it"))
            return False
        try:
            check_name(name, path)
        except HostileSnapshot as error:
            if not is_git(name):
                raise UsageError(
                    f"cannot share {self._shown(path)}: {error.message}",
                    hint=f"rename it, or leave it out with a line in {IGNORE_FILE.decode()}",
                ) from error
            self.skipped.append(Skipped(path, "git's own data is never shared: whoever gets it would run its hooks"))
            return False
        return True

    def _failure(self, done: str, path: bytes, error: OSError) -> DiskError | SourceChanged:
        full = os.path.join(self._root, path)
        if error.errno in _GONE:
            return SourceChanged(f"{path_text(full)} went away while it was looked at", hint="run the command again")
        failure = disk_error(done, full, error)
        if error.errno in (errno.EACCES, errno.EPERM):
            failure.hint += f", or leave it out with a line in {IGNORE_FILE.decode()}"
        return failure

    def _shown(self, path: bytes) -> str:
        return path_text(os.path.join(self._root, path))
