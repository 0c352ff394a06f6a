"""Where everything of a store lies under its one folder.

    lock                    shared by every process that has the store open, exclusive while an index is replaced
    gc.lock                 held by the one process that collects
    rebuild.lock            held while an index is built
    identity                format, and which store this is
    store.lmdb              claims: inline chunks, pins, condemned and quarantined hashes
    index.lmdb              derived: which slice of which data file a chunk is; can be deleted
    files/ab/<id>.data      slices of chunks in stored form, one after the other; immutable
    files/ab/<id>.slices    the journal of that data file; the index is rebuilt from these
    staging/<name>/         what an ingest is writing; its owner holds a lock on the folder
    leases/<name>           one file for each running ingest, locked by it
    quarantine/             rotten bytes, kept as evidence

A file id is 8 bytes; the first is that of the ingest's folder, so one commit has one folder to sync.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FORMAT: Final = 1
"""Of everything on disk; another number is refused."""

DATA_SUFFIX: Final = ".data"
JOURNAL_SUFFIX: Final = ".slices"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the store under `root`."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def identity(self) -> Path:
        return self.root / "identity"

    @property
    def rebuild_lock(self) -> Path:
        return self.root / "rebuild.lock"

    @property
    def gc_lock(self) -> Path:
        return self.root / "gc.lock"

    @property
    def claims(self) -> Path:
        return self.root / "store.lmdb"

    @property
    def index(self) -> Path:
        return self.root / "index.lmdb"

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def leases(self) -> Path:
        return self.root / "leases"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    def folders(self) -> tuple[Path, ...]:
        return self.root, self.files, self.staging, self.leases, self.quarantine

    def data_folder(self, file_id: int) -> Path:
        return self.files / f"{file_id >> 56:02x}"

    def data_file(self, file_id: int) -> Path:
        return self.data_folder(file_id) / data_name(file_id)

    def journal(self, file_id: int) -> Path:
        return self.data_folder(file_id) / journal_name(file_id)


def data_name(file_id: int) -> str:
    return f"{file_id:016x}{DATA_SUFFIX}"


def journal_name(file_id: int) -> str:
    return f"{file_id:016x}{JOURNAL_SUFFIX}"


def file_id_of(name: str) -> int | None:
    """The id in a data file's or journal's name; `None` for any other name."""
    stem, _, suffix = name.partition(".")
    if len(stem) != 16 or f".{suffix}" not in {DATA_SUFFIX, JOURNAL_SUFFIX}:
        return None
    try:
        return int(stem, 16)
    except ValueError:
        return None
