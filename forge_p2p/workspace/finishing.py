"""The last steps of a restore, when all content is written."""

import os
import stat
from collections.abc import Callable

from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry, EntryKind, sort_key
from forge_p2p.workspace.destination import Place, remove_any
from forge_p2p.workspace.directories import READABLE, Directories, unlock
from forge_p2p.workspace.found import SYMLINK_MODE, Found, found_file
from forge_p2p.workspace.guard import Guard
from forge_p2p.workspace.ledger import Failure, Ledger, Outcome
from forge_p2p.workspace.names import temporary_name
from forge_p2p.workspace.plan import RestorePlan
from forge_p2p.workspace.statcache import StatCache, settled_after_restore

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def finish(plan: RestorePlan, ledger: Ledger, cache: StatCache, mask: int) -> Outcome:
    """See `RestoreWriter.finish`; `mask` is the umask that directories were made under."""
    for entry in (*plan.write, *plan.empty):
        if entry.path not in ledger.done:
            ledger.failed.setdefault(entry.path, "its content did not arrive")
    for entry in plan.refused:
        target = path_text(entry.payload)
        ledger.failed.setdefault(entry.path, f"left out, this symlink could lead outside the destination, to {target}")
    with Directories(plan.place.root, plan.aliases) as directories:
        steps = _Steps(plan, ledger, directories)
        for entry in plan.retouch:
            steps.retouch(entry)
        for entry in plan.symlinks:
            steps.make_symlink(entry)
        for path in plan.extras:
            steps.delete(path)
        hidden, visible = _modes(plan, ledger, mask)
        for path, mode in hidden:
            steps.set_mode(path, mode)
        for path, alias in plan.aliases.items():
            steps.reveal(path, alias)
        for path, mode in visible:
            steps.set_mode(path, mode)
    _put_in_place(plan.place, ledger)
    _remember(plan, ledger, cache)
    written = [entry for entry in plan.write if entry.path in ledger.done]
    failures = [Failure(path, reason) for path, reason in sorted(ledger.failed.items())]
    return Outcome(len(written), plan.unchanged, sum(entry.size for entry in written), steps.deleted, failures)


def remove_guarded(plan: RestorePlan, guard: Guard, ledger: Ledger, directories: Directories) -> int:
    """Removes what is to go from a directory that people work in; how much went. First of all, for a name may come back
    as another kind of thing, or in another spelling that the file system takes for the same."""
    steps = _Steps(plan, ledger, directories)
    for path in guard.removals:
        steps.remove_guarded(path, guard)
    return steps.deleted


class _Steps:
    """What is done to one path. A refusal of the system is written down, unless every path would meet it."""

    def __init__(self, plan: RestorePlan, ledger: Ledger, directories: Directories) -> None:
        self._plan = plan
        self._ledger = ledger
        self._directories = directories
        self.deleted = 0

    def retouch(self, entry: Entry) -> None:
        """Mode and time of a file whose content is right."""

        def change(directory: int, name: bytes) -> None:
            descriptor = os.open(name, _FILE, dir_fd=directory)
            guard = self._plan.guard
            try:
                if guard is not None:
                    guard.check_open(entry.path, descriptor)
                os.fchmod(descriptor, entry.mode)
                os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            found = found_file(entry.path, status, entry.level, entry.payload)
            # Who wrote to it in between has just had his time taken away: let the next scan read it.
            self._ledger.done[entry.path] = found.without_link() if guard is not None else found

        self._attempt("changed", entry.path, change)

    def make_symlink(self, entry: Entry) -> None:
        """A new symlink, put in the place of what was there."""

        def make(directory: int, name: bytes) -> None:
            temporary = temporary_name(name)
            try:
                os.symlink(entry.payload, temporary, dir_fd=directory)
            except FileExistsError:
                os.unlink(temporary, dir_fd=directory)  # a killed run left it
                os.symlink(entry.payload, temporary, dir_fd=directory)
            self._make_way(entry.path, name, directory)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            self._ledger.done[entry.path] = Found(entry.path, SYMLINK_MODE, payload=entry.payload)

        self._attempt("made", entry.path, make)

    def delete(self, path: bytes) -> None:
        """What the snapshot does not have."""

        def delete(directory: int, name: bytes) -> None:
            remove_any(directory, name)
            self.deleted += 1

        self._attempt("deleted", path, delete)

    def reveal(self, path: bytes, alias: bytes) -> None:
        """Gives a directory that was built out of sight its name."""

        def reveal(directory: int, name: bytes) -> None:
            self._make_way(path, name, directory)
            os.rename(alias, name, src_dir_fd=directory, dst_dir_fd=directory)

        self._attempt("put in place", path, reveal)

    def remove_guarded(self, path: bytes, guard: Guard) -> None:
        """What a guard lets go."""

        def remove(directory: int, name: bytes) -> None:
            self.deleted += guard.remove(path, name, directory)

        self._attempt("deleted", path, remove)

    def _make_way(self, path: bytes, name: bytes, directory: int) -> None:
        """For what is about to be renamed to `name`."""
        if self._plan.guard is not None:
            self._plan.guard.check(path, name, directory)
        elif path in self._plan.in_the_way:
            remove_any(directory, name)

    def set_mode(self, path: bytes, mode: int) -> None:
        """The final mode of a directory."""

        def change(directory: int, name: bytes) -> None:
            descriptor = os.open(name, READABLE, dir_fd=directory)
            try:
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)

        if not path:
            os.fchmod(self._plan.place.root, mode)
        elif path not in self._ledger.failed:
            self._attempt("changed", path, change)

    def _attempt(self, done: str, path: bytes, step: Callable[[int, bytes], None]) -> None:
        parent, _, name = path.rpartition(b"/")
        try:
            directory = self._directories.descriptor(parent)
            try:
                step(directory, name)
            except PermissionError as denied:
                self._ledger.unlocked.setdefault(parent, unlock(directory, denied))
                step(directory, name)
        except OSError as error:
            self._ledger.fail(path, done, error)


def _modes(plan: RestorePlan, ledger: Ledger, mask: int) -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
    """Directories whose mode is not final yet, and what it is to be, innermost first. Those that are out of sight, then
    those that are not, or cease to be: what a directory is built in stays private as long as it is hidden."""
    modes = dict(ledger.unlocked)
    for entry in plan.directories:
        if entry.path in plan.aliases or entry.mode & mask or entry.mode & 0o700 != 0o700 or entry.path in modes:
            modes[entry.path] = entry.mode
    modes.update((entry.path, entry.mode) for entry in plan.remode)
    ordered = sorted(modes.items(), key=lambda item: sort_key(item[0]), reverse=True)
    hidden = [item for item in ordered if item[0] not in plan.visible and item[0] not in plan.aliases]
    return hidden, [item for item in ordered if item[0] in plan.visible or item[0] in plan.aliases]


def _put_in_place(place: Place, ledger: Ledger) -> None:
    try:
        place.put_in_place()
    except OSError as error:
        ledger.fail(place.path, "put in place", error)


def _remember(plan: RestorePlan, ledger: Ledger, cache: StatCache) -> None:
    """Saves what is there now; as the snapshot itself, if all of it is."""
    if plan.remembered and ledger.done == plan.found and not ledger.failed:
        return
    items = []
    for entry in plan.entries:
        if entry.path in ledger.failed:
            continue
        if entry.kind == EntryKind.DIRECTORY:
            items.append(Found(entry.path, stat.S_IFDIR | entry.mode))
        elif entry.path in ledger.done:
            items.append(settled_after_restore(ledger.done[entry.path]))
    if plan.guard is not None:
        items = _with_others(plan, plan.guard, ledger, cache, items)
    plan.place.remember(cache, items, plan.root if plan.whole and not ledger.failed else None)


def _with_others(plan: RestorePlan, guard: Guard, ledger: Ledger, cache: StatCache, items: list[Found]) -> list[Found]:
    """`items` and what is remembered of all that the plan did not name, in order."""
    found = cache.load(plan.place.path).items
    for path in (*guard.removals, *ledger.failed):
        found.pop(path, None)
    found.update((item.path, item) for item in items)
    return sorted(found.values(), key=lambda item: sort_key(item.path))
