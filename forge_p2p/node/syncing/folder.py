"""One directory that is kept the same as a name: taken in, merged, and brought to what was merged.

    take: scan -> store -> what is here, what is hidden      merge: three listings -> one, in the store
    stage: new directories, out of sight                     apply: record where it is going -> remove, write, by the
                                                                    guard -> record that it is there

Nothing here knows of a network; all content is in the store before anything in the directory is touched that others
see. Whatever is interrupted leaves the directory somewhere between two listings that are known, and the next round goes
on from there.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from forge_p2p.content.link import Kind, Root
from forge_p2p.content.merge import Conflict, Merge, Side, advance, merge, steps
from forge_p2p.content.snapshot import Entry, EntryKind, encode_pages, sort_key
from forge_p2p.errors import CorruptChunk, NotFound
from forge_p2p.node.fetch.unpacking import begin, unpack
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.operations.adding import Adder, Writer, hold, store_pages
from forge_p2p.node.operations.getting import listing_here
from forge_p2p.node.syncing.state import Common, State
from forge_p2p.workspace.destination import folds_names, make_directory
from forge_p2p.workspace.directories import READABLE
from forge_p2p.workspace.guard import Guard
from forge_p2p.workspace.ledger import Failure, Outcome
from forge_p2p.workspace.plan import plan_restore
from forge_p2p.workspace.presence import still_there
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.scan import Scan


@dataclass(frozen=True, slots=True)
class Mine:
    """What is in the directory. `entries`: with what is there and could not be seen, as it was; those paths are
    `hidden`. `base`: what it last had in common with the name. `problems` are worth an exit code, `notes` a line;
    `busy`: something was being written, so it is worth looking again soon."""

    root: Root
    scan: Scan
    entries: list[Entry]
    base: list[Entry]
    hidden: set[bytes]
    problems: list[Failure]
    notes: list[str]
    busy: bool
    agreed: Root | None
    """The name's snapshot that it was the last time, and is still if nothing has changed."""


@dataclass(frozen=True, slots=True)
class Found:
    """A merge that is not in the store. `sent` and `withdrawn`: see `Merged`."""

    merge: Merge
    sent: list[Entry]
    withdrawn: list[bytes]

    @property
    def is_theirs(self) -> bool:
        """Whether it is what the name stands for."""
        return not self.sent and not self.withdrawn


@dataclass(frozen=True, slots=True)
class Merged:
    """`root` names `entries`. `sent` and `withdrawn` is what it has that the name did not, and the other way round."""

    root: Root
    entries: list[Entry]
    conflicts: list[Conflict]
    take: list[Entry]
    remove: list[bytes]
    sent: list[Entry]
    withdrawn: list[bytes]


class Folder:
    """`path`: absolute. `outside_links`: symlinks that could lead out of the directory are made, too. Everything blocks
    and raises `DiskError`, `DiskFull`, `StoreError`."""

    def __init__(self, node: LocalNode, path: bytes, state: State, *, outside_links: bool = False) -> None:
        self.path = path
        self._node = node
        self._state = state
        self._outside_links = outside_links
        self._folds: bool | None = None

    def take(self, report: Report) -> Mine:
        """Puts what is in the directory, which is made if there is none, into the store."""
        make_directory(self.path)
        common = self._state.load()
        found = self._node.look(self.path, self._node.stat_cache, patient=True)
        adder = Adder(self._node, found, self._node.stat_cache, report, patient=True)
        root = adder.run()
        entries = list(adder.scan.entries({}))
        seen = {entry.path for entry in entries}
        target = self._listing(common.target)
        goal = {entry.path for entry in target} | {entry.path for entry in common.entries}
        hidden = still_there(self.path, sorted(goal - seen))
        base = advance(common.entries, target, entries) if common.target else common.entries
        skipped = [each for each in found.skipped if each.fault]
        return Mine(
            root,
            adder.scan,
            _with_hidden(entries, [entry for entry in base if entry.path in hidden]),
            base,
            hidden,
            [Failure(each.path, each.reason) for each in skipped]
            + [Failure(path, reason) for path, reason in sorted(adder.left_out.items())],
            [str(each) for each in found.skipped if not each.fault],
            bool(adder.left_out),
            common.agreed,
        )

    def agreed(self, mine: Mine, target: Root) -> bool:
        """Whether the directory is what the name stands for, and known to be."""
        return not mine.hidden and not mine.problems and mine.root == target == mine.agreed

    def merge(self, mine: Mine, owner: str, theirs: Sequence[Entry] | None, their_owner: str) -> Found:
        """Merges with what the name stands for; with `None`, with nothing, and nothing is deleted for that."""
        base = mine.base if theirs is not None else []
        found = merge(base, Side(mine.entries, owner), Side(theirs or (), their_owner), folds=self._folds_names())
        sent, withdrawn, _ = steps(theirs or (), found.entries)
        return Found(found, sent, withdrawn)

    def settle(self, mine: Mine, found: Found, target: Root | None) -> Merged:
        """A merge with `target`, all of which is in the store, named; what has another name goes there, too."""
        merge = found.merge
        root = target if target is not None and found.is_theirs else self._root(mine, merge)
        return Merged(root, merge.entries, merge.conflicts, merge.take, merge.remove, found.sent, found.withdrawn)

    def stage(self, mine: Mine, merged: Merged) -> RestoreWriter | None:
        """Begins what can be written before all content is in the store: what lies in directories that are new, out of
        sight, where `apply` finds it like what a killed one left. The writer's plan says which files; it is for the
        caller to close. `None`: nothing can."""
        entries = list(_within_new(_to_look_at(merged, mine), {entry.path for entry in mine.entries}))
        if not any(entry.kind == EntryKind.FILE for entry in entries):
            return None
        cache = self._node.stat_cache
        plan = plan_restore(self.path, merged.root, entries, cache, replace=True, outside_links=self._outside_links)
        # What is there and was not taken in, being ignored or made just now, is for `apply` and its guard.
        plan.write, plan.empty = (
            [entry for entry in files if entry.path.rpartition(b"/")[0] not in plan.visible]
            for files in (plan.write, plan.empty)
        )
        return begin(plan, cache)

    def apply(self, mine: Mine, merged: Merged) -> Outcome:
        """Brings the directory to what was merged. What somebody changed since it was taken stays, and is among the
        failures."""
        outcome = Outcome(0, 0, 0, 0, [])
        if merged.take or merged.remove:
            self._state.save(Common(mine.entries, target=merged.root))
            outcome = self._write(mine, merged)
        if not outcome.failures and not mine.hidden and not mine.problems:
            self._state.save(Common(merged.entries, agreed=merged.root))
        elif not (merged.take or merged.remove):
            self._state.save(Common(mine.entries, target=merged.root))
        return outcome

    def _write(self, mine: Mine, merged: Merged) -> Outcome:
        removals = [path for path in merged.remove if path not in mine.hidden]
        entries = list(_to_look_at(merged, mine))
        cache = self._node.stat_cache
        plan = plan_restore(self.path, merged.root, entries, cache, replace=True, outside_links=self._outside_links)
        plan.guard = Guard(mine.scan.items, removals)
        plan.whole = not mine.hidden and not mine.problems
        before = {entry.path: entry.link for entry in mine.entries if entry.path in plan.replaced}
        return unpack(self._node, plan, cache, before)

    def listing(self, target: Root | None) -> list[Entry] | None:
        """Of what the name stands for; it is in the store."""
        return listing_here(self._node, target) if target is not None else None

    def _listing(self, root: Root | None) -> list[Entry]:
        """Of a target that was not reached; nothing if it is not here any more."""
        try:
            return listing_here(self._node, root) if root is not None else []
        except (NotFound, CorruptChunk):
            return []

    def _root(self, mine: Mine, found: Merge) -> Root:
        """Of what was merged, which is in the store then, too."""
        if not mine.hidden and found.entries == mine.entries:
            return mine.root
        with self._node.store.ingest() as ingest:
            with Writer(ingest) as writer:
                root = Root(Kind.TREE, store_pages(writer, encode_pages(found.entries)))
            ingest.commit()
            hold(self._node, root)
        return root

    def _folds_names(self) -> bool:
        if self._folds is None:
            descriptor = os.open(self.path, READABLE)
            try:
                self._folds = folds_names(descriptor)
            finally:
                os.close(descriptor)
        return self._folds


def _to_look_at(merged: Merged, mine: Mine) -> Iterator[Entry]:
    """What is to be written, and the directories that it lies in; without files that are hidden, and without
    directories that could not be read and what is in them."""
    wanted = {entry.path for entry in merged.take}
    for path in list(wanted):
        while (path := path.rpartition(b"/")[0]) and path not in wanted:
            wanted.add(path)
    closed = {failure.path for failure in mine.problems}
    outside: set[bytes] = set()
    for entry in merged.entries:
        is_directory = entry.kind == EntryKind.DIRECTORY
        if entry.path.rpartition(b"/")[0] in outside or (is_directory and entry.path in closed):
            outside.add(entry.path)
        elif entry.path in wanted and (is_directory or entry.path not in mine.hidden):
            yield entry


def _within_new(entries: Iterable[Entry], mine: Collection[bytes]) -> Iterator[Entry]:
    """Of entries in a listing's order, the directories, and what lies in those that are not among `mine`."""
    fresh: set[bytes] = set()
    for entry in entries:
        if entry.kind == EntryKind.DIRECTORY:
            if entry.path not in mine:
                fresh.add(entry.path)
            yield entry
        elif entry.kind == EntryKind.FILE and entry.path.rpartition(b"/")[0] in fresh:
            yield entry


def _with_hidden(entries: list[Entry], hidden: Sequence[Entry]) -> list[Entry]:
    """`entries` with what could not be seen, where the directory that it lies in could."""
    if not hidden:
        return entries
    found = {entry.path: entry for entry in entries}
    for entry in hidden:
        parent = entry.path.rpartition(b"/")[0]
        if not parent or (parent in found and found[parent].kind == EntryKind.DIRECTORY):
            found[entry.path] = entry
    return sorted(found.values(), key=lambda entry: sort_key(entry.path))
