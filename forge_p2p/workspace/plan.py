"""What has to be done so that a destination holds a snapshot.

The plan walks the listing and the destination side by side, in the listing's order, and looks at nothing that the
listing does not name. A directory that is missing where its parent exists is going to be built under a hidden name
beside its place (`destination` does the same for the destination itself), so within it nothing needs a temporary name;
what a killed restore left there counts as done where size, mode and modification time are right, for the time is set
after the content.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from forge_p2p.content.link import Root
from forge_p2p.content.paths import leads_outside
from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.errors import HostileSnapshot, UsageError
from forge_p2p.workspace.destination import (
    Place,
    folds_names,
    open_partial,
    open_place,
    remove_leftover,
    require_space,
)
from forge_p2p.workspace.directories import open_directory
from forge_p2p.workspace.faults import disk_error
from forge_p2p.workspace.folding import refuse_collisions
from forge_p2p.workspace.found import PERMISSIONS, SYMLINK_MODE, Found, found_file
from forge_p2p.workspace.guard import Guard
from forge_p2p.workspace.names import IGNORE_FILE, is_git, is_leftover, partial_key, partial_name
from forge_p2p.workspace.statcache import Seen, StatCache
from forge_p2p.workspace.verify import holds

if TYPE_CHECKING:
    from forge_p2p.workspace.ignore import Rules


class Check(Enum):
    """How a file that is there already and has the right size is judged."""

    CACHE = "cache"
    """By the stat cache; what it does not know is read and hashed."""
    CONTENT = "content"
    """All are read and hashed."""


@dataclass(slots=True)
class RestorePlan:
    """What a `RestoreWriter` is going to do. Owns the open `place`; `close` it if no writer takes it over."""

    place: Place
    root: Root
    entries: Sequence[Entry]
    delete: bool = False
    """What the snapshot does not have is removed, but for what would not be shared either."""
    outside_links: bool = True
    """Symlinks that could lead out of the destination are made too."""
    write: list[Entry] = field(default_factory=list)
    """Files whose content is wanted: those neither there nor empty."""
    replaced: set[bytes] = field(default_factory=set)
    """Paths of those whose place is taken by a file of other content."""
    empty: list[Entry] = field(default_factory=list)
    """Files of no bytes to make."""
    unchanged: int = 0
    """Files that are right as they are."""
    retouch: list[Entry] = field(default_factory=list)
    """Files whose content is right, and mode or time is not."""
    directories: list[Entry] = field(default_factory=list)
    """To make, parents first."""
    remode: list[Entry] = field(default_factory=list)
    """Directories that are there with another mode."""
    refused: list[Entry] = field(default_factory=list)
    """Symlinks that could lead out of the destination and were not asked for."""
    symlinks: list[Entry] = field(default_factory=list)
    """To make, or to point elsewhere."""
    visible: set[bytes] = field(default_factory=set)
    """Directories that were there before, in sight of everybody."""
    aliases: dict[bytes, bytes] = field(default_factory=dict)
    """Directory -> hidden name it is built under, below a destination that was there before."""
    in_the_way: set[bytes] = field(default_factory=set)
    """Paths of entries where something of another kind stands."""
    extras: list[bytes] = field(default_factory=list)
    """What is there and not in the snapshot, in directories of the snapshot."""
    found: dict[bytes, Found] = field(default_factory=dict)
    """Records of what is right already."""
    guard: Guard | None = None
    """Nothing is replaced or removed but what it allows. The entries may be a part of the root then: what they do not
    name stays as it is."""
    whole: bool = True
    """When all is done the destination is the root, and may be remembered as that."""
    remembered: bool = False
    """The stat cache takes the destination for the snapshot, and as far as it goes it is right."""

    @property
    def makes_names(self) -> bool:
        """Whether anything is to be put where nothing is."""
        return bool(self.write or self.empty or self.directories or self.symlinks)

    @property
    def bytes_needed(self) -> int:
        """Content still to be written, without what file systems add."""
        return sum(entry.size for entry in self.write)

    def require_space(self, holes: int = 0) -> None:
        """Raises `DiskFull` if what is to be written does not fit; `holes`: bytes of it known to be zero chunks."""
        block = os.fstatvfs(self.place.root).f_frsize or 4096
        needed = sum(-(-entry.size // block) * block for entry in self.write)
        require_space(self.place, needed - holes)

    def close(self) -> None:
        self.place.close()


def plan_restore(
    destination: bytes,
    root: Root,
    entries: Sequence[Entry],
    cache: StatCache,
    *,
    check: Check = Check.CACHE,
    replace: bool = False,
    delete: bool = False,
    outside_links: bool = True,
) -> RestorePlan:
    """Opens `destination` and compares it with the whole listing `entries`, as a `ListingDecoder` gives it, of `root`.

    `replace`: what stands in the way as another kind of thing may be removed, folders with all that is in them.
    `delete`: what the snapshot does not have is removed. `outside_links`: symlinks that could lead out of the
    destination are made too; nothing is ever written through them either way. Raises `HostileSnapshot` for names that
    the file system takes for one and the same, `UsageError` for what is in the way, `DiskError`.
    """
    key = partial_key(root)
    place = open_place(destination, key)
    try:
        seen = cache.load(place.path)
        plan = RestorePlan(place, root, entries, delete, outside_links, remembered=seen.root == root)
        _Comparison(plan, seen, check, key).run()
        if plan.makes_names and folds_names(place.root):
            refuse_collisions(entries)
        if plan.in_the_way and not replace:
            raise _in_the_way(plan)
    except OSError as error:
        place.close()
        raise disk_error("compared", place.path, error) from error
    except BaseException:
        place.close()
        raise
    return plan


@dataclass(slots=True)
class _Frame:
    """A directory of the snapshot on the way down. `descriptor` is -1 while it does not exist. `present`: what is in it
    and was not yet met in the listing. `staged`: nobody sees it before the end."""

    path: bytes
    descriptor: int
    present: dict[bytes, "os.DirEntry[str]"]
    staged: bool
    rules: "Rules | None" = None
    """What is left out of sharing is spared from deletion too."""


class _Comparison:
    """One walk over listing and destination, filling in a plan."""

    def __init__(self, plan: RestorePlan, seen: Seen, check: Check, key: bytes) -> None:
        self._plan = plan
        self._seen = seen.items if check is Check.CACHE else {}
        self._key = key
        self._frames: list[_Frame] = []

    def run(self) -> None:
        place = self._plan.place
        try:
            self._enter(b"", os.dup(place.root), staged=place.partial is not None)
            for entry in self._plan.entries:
                self._visit(entry)
        finally:
            while self._frames:
                self._leave()

    def _visit(self, entry: Entry) -> None:
        parent, _, name = entry.path.rpartition(b"/")
        while self._frames and self._frames[-1].path != parent:
            self._leave()
        if not self._frames or name in (b"", b".", b"..") or entry.path[:1] == b"/":
            raise HostileSnapshot(f"refused entry {path_text(entry.path)}: it does not lie in a directory before it")
        frame = self._frames[-1]
        there = frame.present.pop(name, None)
        if entry.kind == EntryKind.FILE:
            self._file(entry, frame, there)
        elif entry.kind == EntryKind.DIRECTORY:
            self._directory(entry, frame, name, there)
        else:
            self._symlink(entry, frame, name, there)

    def _file(self, entry: Entry, frame: _Frame, there: "os.DirEntry[str] | None") -> None:
        plan = self._plan
        if there is not None:
            status = there.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                plan.in_the_way.add(entry.path)
            elif self._has_content(entry, frame, there.name, status):
                looks_right = status.st_mtime_ns == entry.mtime_ns and status.st_mode & PERMISSIONS == entry.mode
                if looks_right:
                    plan.unchanged += 1
                    plan.found[entry.path] = found_file(entry.path, status, entry.level, entry.payload)
                else:
                    plan.retouch.append(entry)
                return
            else:
                plan.replaced.add(entry.path)
        (plan.write if entry.size else plan.empty).append(entry)

    def _has_content(self, entry: Entry, frame: _Frame, name: str, status: os.stat_result) -> bool:
        if status.st_size != entry.size:
            return False
        if frame.staged:
            return status.st_mtime_ns == entry.mtime_ns and status.st_mode & PERMISSIONS == entry.mode
        known = self._seen.get(entry.path)
        if known is not None and known.payload and known.matches(status):
            return known.payload == entry.payload and known.level == entry.level
        self._plan.remembered = False
        return holds(entry.link, name, frame.descriptor)

    def _directory(self, entry: Entry, frame: _Frame, name: bytes, there: "os.DirEntry[str] | None") -> None:
        plan = self._plan
        if there is not None and there.is_dir(follow_symlinks=False):
            descriptor, mode = open_directory(name, frame.descriptor)
            if mode != entry.mode:
                plan.remode.append(entry)
            self._enter(entry.path, descriptor, frame.staged)
            return
        if there is not None:
            plan.in_the_way.add(entry.path)
        plan.directories.append(entry)
        if not frame.staged:
            alias = plan.aliases[entry.path] = partial_name(name, self._key)
            if frame.present.pop(alias, None) is not None:
                self._enter(entry.path, open_partial(frame.descriptor, alias, name), staged=True)
                return
        self._frames.append(_Frame(entry.path, -1, {}, staged=True))

    def _symlink(self, entry: Entry, frame: _Frame, name: bytes, there: "os.DirEntry[str] | None") -> None:
        if there is not None and there.is_symlink():
            if os.readlink(name, dir_fd=frame.descriptor) == entry.payload:
                self._plan.found[entry.path] = Found(entry.path, SYMLINK_MODE, payload=entry.payload)
                return
        elif there is not None:
            self._plan.in_the_way.add(entry.path)
        if self._plan.outside_links or not leads_outside(entry.path, entry.payload):
            self._plan.symlinks.append(entry)
        else:
            self._plan.refused.append(entry)

    def _enter(self, path: bytes, descriptor: int, staged: bool) -> None:
        if not staged:
            self._plan.visible.add(path)
        frame = _Frame(path, descriptor, {}, staged, self._frames[-1].rules if self._frames else None)
        self._frames.append(frame)
        with os.scandir(descriptor) as listing:
            frame.present = {os.fsencode(entry.name): entry for entry in listing}
        if self._plan.delete and IGNORE_FILE in frame.present:
            from forge_p2p.workspace.ignore import read_rules

            frame.rules = read_rules(descriptor, path + b"/" if path else b"", frame.rules)

    def _leave(self) -> None:
        """Closes the innermost directory, after cleaning up what killed restores left in it."""
        frame = self._frames.pop()
        if frame.descriptor < 0:
            return
        for name in frame.present:
            if is_leftover(name):
                remove_leftover(frame.descriptor, name)
            elif self._plan.delete and not is_git(name):
                path = frame.path + b"/" + name if frame.path else name
                is_directory = frame.present[name].is_dir(follow_symlinks=False)
                if frame.rules is None or not frame.rules.ignores(path, is_directory):
                    self._plan.extras.append(path)
        os.close(frame.descriptor)


def _in_the_way(plan: RestorePlan) -> UsageError:
    first = min(plan.in_the_way)
    more = f" and {len(plan.in_the_way) - 1} more" if len(plan.in_the_way) > 1 else ""
    path = path_text(os.path.join(plan.place.path, first))
    return UsageError(
        f"{path}{more} is in the way: the snapshot has another kind of thing there",
        hint="move it away, or choose another destination",
    )
