"""Staging folders: what an ingest writes until it commits.

The folder is locked by its owner. One made for a key outlives an interrupted owner: the next ingest of that key locks
it and goes on with what verifies. If two run for one key at the same time the second works in a folder of its own, and
whoever comes later collects both. The folder of an ingest without a key is worth nothing after its owner's death.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from forge_p2p.errors import StoreError
from forge_p2p.ids import Hash
from forge_p2p.store.appender import Appender
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.journals import Recovered, recover, rewrite
from forge_p2p.store.layout import DATA_SUFFIX, JOURNAL_SUFFIX, Layout, file_id_of
from forge_p2p.store.locks import Lock, lock_folder

KEYLESS: Final = "x"
_SIBLINGS_MAX: Final = 64
"""Ingests of one key at the same time."""


class Staging:
    """A locked staging folder. `prefix`, the first byte of every file id made here, is the key's own first byte."""

    def __init__(self, layout: Layout, key: Hash | None) -> None:
        self._layout = layout
        self.key = key
        self.prefix = key[0] if key else os.urandom(1)[0]
        self._lock = self._lock_own()
        self.path = self._lock.path

    def _lock_own(self) -> Lock:
        name = self.key.hex() if self.key else KEYLESS + os.urandom(8).hex()
        for sibling in range(_SIBLINGS_MAX):
            path = self._layout.staging / f"{name}-{sibling}"
            with disk_errors(path, 4096):
                path.mkdir(mode=0o700, exist_ok=True)
            lock = lock_folder(path)
            if lock is not None:
                return lock
        raise StoreError(f"{_SIBLINGS_MAX} transfers of {name[:16]} run already", hint="wait for one of them to end")

    def new_id(self) -> int:
        """A data file's id that no other has."""
        return int.from_bytes(bytes([self.prefix]) + os.urandom(7))

    def new_appender(self, *, shared: bool, laid_out: bool = False) -> Appender:
        return Appender(self.path, self.new_id(), shared=shared, laid_out=laid_out)

    def resume(self) -> list[Appender]:
        """What interrupted ingests of this key have left, verified; what does not verify is removed."""
        self._gather_siblings()
        appenders = []
        for file_id in sorted(self._file_ids(self.path)):
            recovered = self._recover(file_id)
            if recovered is None or not recovered.entries:
                self._remove(file_id)
                continue
            if not recovered.exact:
                rewrite(self._journal(file_id), recovered)
            with disk_errors(self._data(file_id)):
                os.truncate(self._data(file_id), recovered.end)
            appenders.append(Appender.reopen(self.path, recovered.head, recovered.end, recovered.entries))
        return appenders

    def close(self, *, keep: bool) -> None:
        """Gives the folder up; its content stays only if `keep`."""
        try:
            if not keep:
                remove_folder(self.path)
            else:
                with suppress(OSError):  # not empty: that is what is kept
                    self.path.rmdir()
        finally:
            self._lock.release()

    def _gather_siblings(self) -> None:
        """Moves here what other dead ingests of the same key have left."""
        assert self.key is not None
        with disk_errors(self._layout.staging):
            names = os.listdir(self._layout.staging)
        for name in names:
            path = self._layout.staging / name
            if path == self.path or not name.startswith(self.key.hex()):
                continue
            lock = lock_folder(path)
            if lock is None:
                continue
            with disk_errors(path):
                for file in os.listdir(path):
                    os.rename(path / file, self.path / file)
                path.rmdir()
            lock.release()

    def _recover(self, file_id: int) -> Recovered | None:
        journal, moved = self._journal(file_id), self._layout.journal(file_id)
        with disk_errors(moved):
            if not journal.exists() and moved.exists() and not self._layout.data_file(file_id).exists():
                moved.rename(journal)  # a commit was cut off after its first rename
        return recover(self._data(file_id), journal, file_id)

    def _remove(self, file_id: int) -> None:
        with disk_errors(self.path):
            self._data(file_id).unlink(missing_ok=True)
            self._journal(file_id).unlink(missing_ok=True)

    def _file_ids(self, folder: Path) -> set[int]:
        with disk_errors(folder):
            names = os.listdir(folder)
            for name in names:
                if file_id_of(name) is None:
                    (folder / name).unlink()
        return {file_id for file_id in map(file_id_of, names) if file_id is not None}

    def _data(self, file_id: int) -> Path:
        return self.path / f"{file_id:016x}{DATA_SUFFIX}"

    def _journal(self, file_id: int) -> Path:
        return self.path / f"{file_id:016x}{JOURNAL_SUFFIX}"


def remove_folder(path: Path) -> None:
    """Removes a staging folder and the files in it; it has no folders inside."""
    with disk_errors(path), suppress(FileNotFoundError):
        for name in os.listdir(path):
            (path / name).unlink(missing_ok=True)
        path.rmdir()
