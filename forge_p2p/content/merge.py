"""Three-way merge of directory listings: what two sides made of one base, as one listing that has all of it.

    base, mine, theirs (sorted entries)  ->  leaves, path by path  ->  directories  ->  copies  ->  the merged listing

Two layers are decided apart. *Leaves* are files and symlinks: who alone changed one has his way, an edit outlives a
deletion, and where both changed it differently the younger version keeps the name and the other gets one of its own
(`conflictname`). *Directories* are kept by both, added by one, or needed for what is in them; so one that was deleted
lives on if something was added in it elsewhere. Where a leaf and a directory want one name, the leaf gets another.

Swapping the sides changes nothing in the result, so two nodes that merge the same end with the same. Content is never
left out but where one side deleted or replaced it knowing it: where the base had it and the other side still has it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from forge_p2p.content.conflictname import conflict_paths
from forge_p2p.content.folding import fold
from forge_p2p.content.snapshot import Entry, EntryKind, sort_key
from forge_p2p.content.spelling import Spelling

_FILE = EntryKind.FILE
_DIRECTORY = EntryKind.DIRECTORY


@dataclass(frozen=True, slots=True)
class Side:
    """What one side has, sorted as a listing is, and what it is called in the names of conflicts."""

    entries: Sequence[Entry]
    owner: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two versions of `path`: one is there, the other at `copy`; that one is `owner`'s."""

    path: bytes
    copy: bytes
    owner: str


@dataclass(frozen=True, slots=True)
class Merge:
    """`entries` is the merged listing. What leads there from `mine`: `take` is to be written, parents first; `remove`
    is to be removed, contents before their directory; the `kept` other entries are right as they are."""

    entries: list[Entry]
    conflicts: list[Conflict]
    take: list[Entry]
    remove: list[bytes]
    kept: int


def merge(base: Iterable[Entry], mine: Side, theirs: Side, *, folds: bool = False) -> Merge:
    """Merges. `folds`: the result has no two names that a file system without case takes for one."""
    common, here, there = list(base), list(mine.entries), list(theirs.entries)
    if not folds and common in (here, there):  # one side changed nothing: the other has its way, path by path
        entries = there if common == here else here
        return Merge(entries, [], *steps(here, entries))
    merging = _Merging(
        {entry.path: entry for entry in common},
        {entry.path: entry for entry in mine.entries},
        {entry.path: entry for entry in theirs.entries},
        mine.owner,
        theirs.owner,
    )
    merging.merge_leaves()
    merging.merge_directories()
    if folds:
        merging.respell()
    merging.place_copies()
    return merging.result()


def steps(mine: Iterable[Entry], target: Iterable[Entry]) -> tuple[list[Entry], list[bytes], int]:
    """What leads from one listing to another; see `Merge`. Directories of both differ only by their mode."""
    here, goal = list(mine), list(target)
    if here == goal:
        return [], [], len(goal)
    have = {entry.path: entry for entry in here}
    take: list[Entry] = []
    kept = 0
    for entry in goal:
        there = have.pop(entry.path, None)
        if there == entry:
            kept += 1
            continue
        take.append(entry)
        if there is not None and (there.kind == _DIRECTORY) != (entry.kind == _DIRECTORY):
            have[entry.path] = there
    return take, sorted(have, key=sort_key, reverse=True), kept


def advance(common: Iterable[Entry], target: Iterable[Entry], found: Iterable[Entry]) -> list[Entry]:
    """The base of the next merge, after a directory that was `common` was brought to `target` as far as it went: what
    was found there then says how far. Of every path that is as in the target it has that, of the others what was."""
    before = {entry.path: entry for entry in common}
    goal = {entry.path: entry for entry in target}
    now = {entry.path: entry for entry in found}
    reached = (
        goal.get(path) if _agree(goal.get(path), now.get(path)) else before.get(path)
        for path in before.keys() | goal.keys()
    )
    return sorted((entry for entry in reached if entry is not None), key=lambda entry: sort_key(entry.path))


def _agree(goal: Entry | None, now: Entry | None) -> bool:
    if goal is None or now is None:
        return goal is now
    return same_content(goal, now) and (goal.mode == now.mode or goal.kind != _FILE)


def same_content(one: Entry, other: Entry) -> bool:
    """Whether two entries are of one kind and, files and symlinks, hold the same."""
    return one.kind == other.kind and one.payload == other.payload and one.size == other.size


@dataclass(frozen=True, slots=True)
class _Copy:
    """A version that cannot have its name, `entry.path`."""

    entry: Entry
    owner: str


@dataclass(slots=True)
class _Merging:
    """One merge under way."""

    base: dict[bytes, Entry]
    mine: dict[bytes, Entry]
    theirs: dict[bytes, Entry]
    my_name: str
    their_name: str
    leaves: dict[bytes, Entry] = field(default_factory=dict)
    owners: dict[bytes, str] = field(default_factory=dict)
    """Whose a leaf is, where only one side has it."""
    directories: dict[bytes, Entry] = field(default_factory=dict)
    copies: list[_Copy] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)

    def merge_leaves(self) -> None:
        """Decides about every file and symlink."""
        for path in self.mine.keys() | self.theirs.keys():
            mine, theirs = _leaf(self.mine.get(path)), _leaf(self.theirs.get(path))
            if mine is None and theirs is None:
                continue
            base = _leaf(self.base.get(path))
            if mine is None or theirs is None:
                self._one_sided(mine, theirs, base)
            elif mine == theirs:
                self.leaves[path] = mine
            else:
                self._both(mine, theirs, base)

    def _one_sided(self, mine: Entry | None, theirs: Entry | None, base: Entry | None) -> None:
        there = mine or theirs
        assert there is not None
        edited = base is None or not same_content(there, base) or there.mode != base.mode
        if edited:  # or new; else the other side deleted what this one left alone
            self.leaves[there.path] = there
            self.owners[there.path] = self.my_name if mine else self.their_name

    def _both(self, mine: Entry, theirs: Entry, base: Entry | None) -> None:
        path = mine.path
        if same_content(mine, theirs):
            self.leaves[path] = _with(mine, _mode(mine, theirs, base), _time(mine, theirs, base))
        elif base is not None and same_content(mine, base):
            self.leaves[path] = _with(theirs, _mode(theirs, mine, base), theirs.mtime_ns)
        elif base is not None and same_content(theirs, base):
            self.leaves[path] = _with(mine, _mode(mine, theirs, base), mine.mtime_ns)
        else:
            sides = (mine, self.my_name), (theirs, self.their_name)
            (older, its_owner), (younger, _) = sorted(sides, key=lambda side: _rank(side[0]))
            mode = _mode(younger, older, base) if base is not None else younger.mode
            self.leaves[path] = _with(younger, mode, younger.mtime_ns)
            self.copies.append(_Copy(older, its_owner))

    def merge_directories(self) -> None:
        """Decides which directories there are, and gives way to them where leaves have their names."""
        for path in self.mine.keys() | self.theirs.keys():
            mine, theirs = _directory(self.mine.get(path)), _directory(self.theirs.get(path))
            if (mine and theirs) or ((mine or theirs) and _directory(self.base.get(path)) is None):
                self._add_directory(path)
        for path in [*self.leaves, *self.directories, *(copy.entry.path for copy in self.copies)]:
            parent = path.rpartition(b"/")[0]
            while parent and parent not in self.directories:
                self._add_directory(parent)
                parent = parent.rpartition(b"/")[0]
        for path in self.directories.keys() & self.leaves.keys():
            self.copies.append(_Copy(self.leaves.pop(path), self.owners.get(path, self.my_name)))

    def _add_directory(self, path: bytes) -> None:
        mine, theirs = _directory(self.mine.get(path)), _directory(self.theirs.get(path))
        there = mine or theirs
        assert there is not None, "what is in it is one side's, and so is it"
        mode = _mode(mine, theirs, _directory(self.base.get(path))) if mine and theirs else there.mode
        self.directories[path] = _with(there, mode, 0)

    def respell(self) -> None:
        """Leaves one spelling of every name: mine of a directory; of a leaf's the other becomes a copy."""
        spelling = Spelling(self.directories, self.mine.keys())
        self.directories = spelling.directories(self.directories)
        taken = {fold(path): path for path in self.directories}
        leaves, self.leaves = self.leaves, {}
        for path in sorted(leaves, key=lambda path: (path not in self.mine, path)):
            entry = spelling.respelled(leaves[path])
            owner = self.owners.get(path, self.my_name)
            other = taken.setdefault(fold(entry.path), entry.path)
            if other == entry.path and other not in self.leaves and other not in self.directories:
                self.leaves[entry.path] = entry
                self.owners[entry.path] = owner
            elif other not in self.leaves or not same_content(self.leaves[other], entry):
                self.copies.append(_Copy(entry, owner))
        self.copies = [_Copy(spelling.respelled(copy.entry), copy.owner) for copy in self.copies]

    def place_copies(self) -> None:
        """Gives each version that lost its name another, unless it is there under that already."""
        taken = {fold(path): path for path in (*self.leaves, *self.directories)} if self.copies else {}
        for copy in sorted(self.copies, key=lambda copy: (copy.entry.path, copy.owner, _rank(copy.entry))):
            for path in conflict_paths(copy.entry, copy.owner):
                other = taken.setdefault(fold(path), path)
                if other == path and path not in self.leaves and path not in self.directories:
                    self.leaves[path] = _at(copy.entry, path)
                elif other not in self.leaves or not same_content(self.leaves[other], copy.entry):
                    continue
                self.conflicts.append(Conflict(copy.entry.path, other, copy.owner))
                break

    def result(self) -> Merge:
        """The merged listing and what leads there."""
        merged = [*self.leaves.values(), *self.directories.values()]
        merged.sort(key=lambda entry: sort_key(entry.path))
        take, remove, kept = steps(self.mine.values(), merged)
        return Merge(merged, self.conflicts, take, remove, kept)


def _leaf(entry: Entry | None) -> Entry | None:
    return entry if entry is not None and entry.kind != _DIRECTORY else None


def _directory(entry: Entry | None) -> Entry | None:
    return entry if entry is not None and entry.kind == _DIRECTORY else None


def _rank(entry: Entry) -> tuple[bool, int, bytes, int, int]:
    """Of two versions the higher keeps the name: the younger file; the rest makes the order total."""
    return (entry.kind == _FILE, entry.mtime_ns, entry.payload, entry.size, entry.mode)


def _mode(kept: Entry, other: Entry, base: Entry | None) -> int:
    """The mode of `kept`, or of a merge with one like it. Bit by bit: who changed it has his way. Where there is no
    base, the owner may do what he may on either side, and others what they may on both."""
    if kept.kind != other.kind:
        return kept.mode
    if base is not None and base.kind == kept.kind:
        return (kept.mode & other.mode) | ((kept.mode ^ other.mode) & ~base.mode)
    return ((kept.mode | other.mode) & 0o700) | (kept.mode & other.mode)


def _time(mine: Entry, theirs: Entry, base: Entry | None) -> int:
    """The time that one side set, or the later one."""
    if base is not None and mine.mtime_ns == base.mtime_ns:
        return theirs.mtime_ns
    if base is not None and theirs.mtime_ns == base.mtime_ns:
        return mine.mtime_ns
    return max(mine.mtime_ns, theirs.mtime_ns)


def _with(entry: Entry, mode: int, mtime_ns: int) -> Entry:
    if (entry.mode, entry.mtime_ns) == (mode, mtime_ns):
        return entry
    return Entry(entry.path, entry.kind, mode, mtime_ns, entry.size, entry.level, entry.payload)


def _at(entry: Entry, path: bytes) -> Entry:
    return Entry(path, entry.kind, entry.mode, entry.mtime_ns, entry.size, entry.level, entry.payload)
