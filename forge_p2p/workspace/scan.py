"""A directory as a sorted list of what it holds, ready to become a snapshot.

One pass, one `stat` a name, through directory descriptors, so that no symlink planted meanwhile leads out of the root.
Names are visited in the listing's order (a directory directly before what it holds), so nothing has to be sorted as a
whole. What the stat cache knows and what has not changed since keeps its record, link included; the caller reads the
rest through `source.SourceReader`.
"""

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forge_p2p.content.link import Kind, Root
from forge_p2p.content.paths import MAX_DEPTH, check_name
from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import DiskError, ForgeError, HostileSnapshot, SourceChanged, UsageError
from forge_p2p.workspace.faults import disk_error
from forge_p2p.workspace.found import PERMISSIONS, SYMLINK_MODE, Found, Links, found_file
from forge_p2p.workspace.names import IGNORE_FILE, is_git, is_leftover
from forge_p2p.workspace.statcache import StatCache, settled

if TYPE_CHECKING:
    from forge_p2p.workspace.ignore import Rules

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FORMAT = 0o170000
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was left out, and why, in words for a person. `fault`: somebody expects to find it again."""

    path: bytes
    reason: str
    fault: bool = False

    def __str__(self) -> str:
        return f"left out {path_text(self.path)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Scan:
    """What is at `root`, an absolute path without symlinks, sorted as a listing is. A root that is a file has the one
    item `b""`."""

    root: bytes
    kind: Kind
    items: list[Found]
    skipped: list[Skipped]
    known_root: Root | None
    """The snapshot that this is, if nothing at all has changed since it was remembered."""
    boot: str
    started_ns: int
    """Unix time at which the first name was looked at."""
    patient: bool = False

    def unknown(self) -> list[Found]:
        """The files whose content is not known: the ones to read."""
        return [item for item in self.items if not item.payload and item.is_file]

    def resolved(self, links: Links) -> list[Found]:
        """The items with the links of what was read filled in."""
        return [item.with_link(links[item.path]) if item.is_unknown else item for item in self.items]

    def entries(self, links: Links) -> Iterator[Entry]:
        """The snapshot's entries, given the links of what was unknown."""
        return (item.entry() for item in self.resolved(links))

    def remember(self, cache: StatCache, links: Links, root: Root) -> None:
        """Saves what is known now, so that the next scan finds it unchanged."""
        cache.save(self.root, settled(self.resolved(links), self.started_ns), root, self.boot)


def scan(root: bytes, cache: StatCache, *, patient: bool = False) -> Scan:
    """Looks at the directory, or the one file, at `root`. `patient`: what cannot be looked at below it, goes away
    meanwhile or has a name that no snapshot may have is skipped.

    Raises `UsageError` if there is neither, or a name that no snapshot may have; `DiskError` naming what cannot be
    looked at; `SourceChanged` if something vanishes under the scan's feet.
    """
    started_ns = time.time_ns()
    root = os.path.realpath(root)
    try:
        status = os.stat(root)
    except FileNotFoundError:
        raise UsageError(f"there is nothing at {path_text(root)}") from None
    except OSError as error:
        raise disk_error("looked at", root, error) from error
    seen = cache.load(root)
    if stat.S_ISDIR(status.st_mode):
        walk = _walk(root, seen.items, patient)
        items, skipped, kind, changed = walk.items, walk.skipped, Kind.TREE, walk.changed
    elif stat.S_ISREG(status.st_mode):
        known = seen.items.get(b"")
        item = known if known and known.matches(status) else found_file(b"", status)
        items, skipped, kind, changed = [item], [], Kind.BLOB, item is not known
    else:
        raise UsageError(f"{path_text(root)} is neither a directory nor a file")
    changed = changed or len(items) != len(seen.items) or any(item.is_unknown for item in items if not item.payload)
    return Scan(root, kind, items, skipped, None if changed else seen.root, seen.boot, started_ns, patient)


def find_restored(destination: bytes, root: Root, cache: StatCache) -> Scan | None:
    """What is at `destination`, if that is exactly `root` as far as the stat cache can tell; never a reason to fail.
    Asked first, it spares an unchanged destination the listing and the plan."""
    try:
        found = scan(destination, cache)
    except ForgeError:
        return None
    return found if found.known_root == root else None


def rescan_changes(before: Scan) -> list[bytes]:
    """Paths that were added, removed or changed since `before`: none means that it shows one moment of the root."""
    known = {item.path: item for item in before.items}
    if before.kind is Kind.BLOB:
        try:
            return [] if before.items[0].matches(os.stat(before.root)) else [b""]
        except OSError:
            return [b""]
    now = {item.path: item for item in _walk(before.root, known, before.patient).items}
    return sorted(path for path in known.keys() | now.keys() if known.get(path) is not now.get(path))


def _walk(root: bytes, known: Mapping[bytes, Found], patient: bool) -> "_Walk":
    walk = _Walk(root, known, patient)
    try:
        descriptor = os.open(root, _DIRECTORY)
    except OSError as error:
        raise disk_error("read", root, error) from error
    try:
        walk.directory(descriptor, b"", None, 1)
    finally:
        os.close(descriptor)
    return walk


class _Walk:
    """Collects items and what is skipped, in order. Holds one descriptor a level of depth."""

    __slots__ = ("_known", "_patient", "_root", "changed", "items", "skipped")

    def __init__(self, root: bytes, known: Mapping[bytes, Found], patient: bool) -> None:
        self._root = root
        self._known = known
        self._patient = patient
        self.items: list[Found] = []
        self.skipped: list[Skipped] = []
        self.changed = False
        """Whether an item is another than was known."""

    def directory(self, descriptor: int, prefix: bytes, rules: "Rules | None", depth: int) -> None:
        """Visits what is in one directory; `prefix` is its path with a final slash, or nothing for the root."""
        if depth > MAX_DEPTH:
            raise UsageError(f"{self._shown(prefix)} is nested deeper than {MAX_DEPTH} directories")
        found = self._list(descriptor, prefix)
        if IGNORE_FILE in found:
            rules = self._read_rules(descriptor, prefix, rules)
        for name in sorted(found):
            path = prefix + name
            try:
                self._visit(descriptor, name, path, found[name], rules, depth)
            except (DiskError, SourceChanged, UsageError) as error:
                if not self._patient:
                    raise
                self.skipped.append(Skipped(path, error.message, fault=not isinstance(error, SourceChanged)))

    def _visit(
        self, descriptor: int, name: bytes, path: bytes, entry: "os.DirEntry[str]", rules: "Rules | None", depth: int
    ) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            raise self._failure("looked at", path, error) from error
        form = status.st_mode & _FORMAT
        if rules is not None and rules.ignores(path, form == stat.S_IFDIR):
            return
        known = self._known.get(path)
        if known is None and not self._is_shared(name, path):
            return
        if form == stat.S_IFREG:
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
            descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
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
