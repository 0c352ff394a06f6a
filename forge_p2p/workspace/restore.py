"""Writes a snapshot into its destination, by the plan.

In a directory that nobody sees yet, a file is created under its own name and gets its time last, which is what says
that it is whole. In one that was there before, it is written under a temporary name and renamed. Symlinks are made
after all files, so that there is none to follow while files are written; `directories` would not follow one anyway.

What goes wrong with one file (no permission, a name that the file system refuses) is written down and the rest goes on;
what would go wrong with every file (no space, read-only, a failing device) is raised. Either way everything written so
far stays for the next run.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import Malformed
from forge_p2p.workspace.destination import remove_any, umask
from forge_p2p.workspace.directories import Directories, unlock
from forge_p2p.workspace.finishing import finish, remove_guarded
from forge_p2p.workspace.found import found_file
from forge_p2p.workspace.large import LargeFile, Raw
from forge_p2p.workspace.ledger import Ledger, Outcome
from forge_p2p.workspace.names import temporary_name
from forge_p2p.workspace.plan import RestorePlan
from forge_p2p.workspace.statcache import StatCache
from forge_p2p.writeback import write_all

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class RestoreWriter:
    """Carries a plan out; a context manager that owns the plan's place. `write_batch`, `open_large` and the files it
    returns may be used from several threads at once, the rest from one.

    All calls raise `DiskFull` or `DiskError` for what no other file would be spared.
    """

    def __init__(self, plan: RestorePlan, cache: StatCache) -> None:
        """Removes what is to go and stands in the way, makes the directories and the empty files."""
        self.plan = plan
        self._cache = cache
        self._ledger = Ledger(plan.place.top, dict(plan.found))
        self._umask = umask()
        self._large: dict[bytes, LargeFile] = {}
        self._deleted = 0
        try:
            with self._directories() as directories:
                if plan.guard is not None:
                    self._deleted = remove_guarded(plan, plan.guard, self._ledger, directories)
                for entry in plan.directories:
                    self._make_directory(directories, entry)
            self.write_batch([(entry, b"") for entry in plan.empty])
        except BaseException:
            self.close()
            raise

    def write_batch(self, files: Sequence[tuple[Entry, Raw]]) -> None:
        """Writes whole files, each with all of its verified content. Fastest in the plan's order, some hundred at a
        time."""
        with self._directories() as directories:
            for entry, content in files:
                if len(content) != entry.size:
                    raise Malformed(
                        f"{path_text(entry.path)} has {len(content)} bytes of content, the snapshot says {entry.size}"
                    )
                try:
                    self._write(directories, entry, content)
                except OSError as error:
                    self._ledger.fail(entry.path, "written", error, entry.size)

    def write_small(self, entry: Entry, content: Raw) -> None:
        """Writes one whole file."""
        self.write_batch([(entry, content)])

    def open_large(self, entry: Entry) -> LargeFile:
        """Opens a file to be written in pieces. The caller calls its `finish` or leaves it to `close`."""
        descriptor = -1
        try:
            with self._directories() as directories:
                descriptor = self._create(directories, entry)
            os.ftruncate(descriptor, entry.size)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            descriptor = -1
            self._ledger.fail(entry.path, "written", error, entry.size)
        file = LargeFile(entry, descriptor, self._ledger, lambda opened: self._complete_large(entry, opened))
        self._large[entry.path] = file
        return file

    def finish(self) -> Outcome:
        """All content has been given: sets modes, makes symlinks, puts in place what was built out of sight, removes
        what is to be deleted, and remembers what is there now. What was planned and not written counts as failed."""
        with self._directories() as directories:
            for file in self._large.values():
                file.close()
                self._discard(directories, file.entry)
        self._large.clear()
        outcome = finish(self.plan, self._ledger, self._cache, self._umask)
        return replace(outcome, deleted=outcome.deleted + self._deleted)

    def close(self) -> None:
        """Releases the destination. Without `finish` before, what was built out of sight waits for the next run."""
        for file in self._large.values():
            file.close()
        self._large.clear()
        self.plan.close()

    def _directories(self) -> Directories:
        return Directories(self.plan.place.root, self.plan.aliases)

    def _make_directory(self, directories: Directories, entry: Entry) -> None:
        parent, _, name = entry.path.rpartition(b"/")
        alias = self.plan.aliases.get(entry.path)
        mode = 0o700 if alias else entry.mode | 0o700
        try:
            directory = directories.descriptor(parent)
            try:
                os.mkdir(alias or name, mode, dir_fd=directory)
            except PermissionError as denied:
                self._unlock(parent, directory, denied)
                os.mkdir(alias or name, mode, dir_fd=directory)
        except FileExistsError:
            return  # of a killed run
        except OSError as error:
            self._ledger.fail(entry.path, "made", error)

    def _write(self, directories: Directories, entry: Entry, content: Raw) -> None:
        descriptor = self._create(directories, entry)
        try:
            if os.write(descriptor, content) != entry.size:
                write_all(descriptor, [content], 0)
            self._complete(directories, entry, descriptor)
        except OSError:
            self._discard(directories, entry)
            raise
        finally:
            os.close(descriptor)

    def _create(self, directories: Directories, entry: Entry) -> int:
        """A new file for `entry`, under the name it is written by."""
        parent, _, name = entry.path.rpartition(b"/")
        directory = directories.descriptor(parent)
        if parent in self.plan.visible:
            name = temporary_name(name)
        try:
            return os.open(name, _CREATE, entry.mode, dir_fd=directory)
        except FileExistsError:
            os.unlink(name, dir_fd=directory)  # a killed run left it
        except PermissionError as denied:
            self._unlock(parent, directory, denied)
        return os.open(name, _CREATE, entry.mode, dir_fd=directory)

    def _discard(self, directories: Directories, entry: Entry) -> None:
        """Removes what was written of a file that cannot be completed."""
        parent, _, name = entry.path.rpartition(b"/")
        on_disk = temporary_name(name) if parent in self.plan.visible else name
        with suppress(OSError):
            os.unlink(on_disk, dir_fd=directories.descriptor(parent))

    def _unlock(self, parent: bytes, directory: int, denied: PermissionError) -> None:
        """For a directory that its snapshot makes read-only: writable until the end."""
        self._ledger.unlocked.setdefault(parent, unlock(directory, denied))

    def _complete(self, directories: Directories, entry: Entry, descriptor: int) -> None:
        """Mode, then time, then name: the time says that the content is whole."""
        if entry.mode & self._umask:
            os.fchmod(descriptor, entry.mode)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        parent, _, name = entry.path.rpartition(b"/")
        if parent in self.plan.visible:
            directory = directories.descriptor(parent)
            if self.plan.guard is not None:
                self.plan.guard.check(entry.path, name, directory)
            elif entry.path in self.plan.in_the_way:
                remove_any(directory, name)
            os.rename(temporary_name(name), name, src_dir_fd=directory, dst_dir_fd=directory)
        status = os.fstat(descriptor)
        self._ledger.done[entry.path] = found_file(entry.path, status, entry.level, entry.payload)

    def _complete_large(self, entry: Entry, descriptor: int) -> None:
        with self._directories() as directories:
            self._complete(directories, entry, descriptor)
        self._large.pop(entry.path, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
