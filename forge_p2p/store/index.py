"""`index.lmdb`: which slice of which data file a chunk is. Derived from the journals, never the only copy of anything.

It belongs to the store whose identity it carries and is whole only when it says so; anything else is rebuilt.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from forge_p2p.ids import Hash
from forge_p2p.store.database import Database
from forge_p2p.store.environment import Transaction
from forge_p2p.store.records import (
    FileRow,
    Slice,
    pack_file_key,
    pack_file_row,
    pack_slice,
    unpack_file_key,
    unpack_file_row,
    unpack_slice,
)
from forge_p2p.store.tables import get, rows
from forge_p2p.store.tally import Tally

_TABLES: Final = ("meta", "slices", "files")

_WHOLE_KEY: Final = b"whole"
_TALLY_KEY: Final = b"tally"
_BYTES_KEY: Final = b"bytes"

Entry = tuple[Hash, Slice]


class Index(Database):
    """One open `index.lmdb`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES)

    @property
    def slices(self) -> Any:
        return self.environment.tables["slices"]

    @property
    def files(self) -> Any:
        return self.environment.tables["files"]

    def whole_for(self, identity: bytes) -> bool:
        """Whether it was completed, for the store of this identity."""
        with self.environment.read() as transaction:
            return get(transaction, _WHOLE_KEY, self.meta) == identity

    def set_whole(self, transaction: Transaction, identity: bytes) -> None:
        transaction.put(_WHOLE_KEY, identity, db=self.meta)

    def clear(self, transaction: Transaction) -> None:
        for table in (self.meta, self.slices, self.files):
            transaction.drop(table, delete=False)

    def find(self, hashes: Sequence[Hash]) -> list[Slice | None]:
        with self.environment.read() as transaction:
            return self.find_in(transaction, hashes)

    def find_in(self, transaction: Transaction, hashes: Sequence[Hash]) -> list[Slice | None]:
        slices = self.slices
        values = [transaction.get(chunk, None, slices) for chunk in hashes]
        return [None if value is None else unpack_slice(value) for value in values]

    def absent(self, hashes: Sequence[Hash]) -> list[Hash]:
        """Those that are in no data file, in order."""
        with self.environment.read() as transaction:
            if not transaction.stat(self.slices)["entries"]:
                return list(hashes)
            get, slices = transaction.get, self.slices
            return [chunk for chunk in hashes if get(chunk, None, slices) is None]

    def publish(self, transaction: Transaction, file_id: int, size: int, entries: Iterable[Entry], now: float) -> None:
        """Adds a data file of `size` bytes and those of its chunks that are in no other; nothing if it is known."""
        if self.file(transaction, file_id) is not None:
            return
        tally, live, live_bytes, count = self.tally(transaction), 0, 0, 0
        for chunk, where in sorted(entries):
            count += 1
            if transaction.put(chunk, pack_slice(where), db=self.slices, overwrite=False):
                live += 1
                live_bytes += where.stored
                tally.add(where.codec, where.size, where.stored)
        row = FileRow(size, count, live, live_bytes, now, cold=False)
        transaction.put(pack_file_key(file_id), pack_file_row(row), db=self.files)
        self._count_bytes(transaction, size)
        transaction.put(_TALLY_KEY, tally.pack(), db=self.meta)

    def drop(self, transaction: Transaction, hashes: Iterable[Hash]) -> list[Entry]:
        """Removes chunks and returns what was there; their files keep the bytes until rewritten or empty."""
        tally = self.tally(transaction)
        dropped: list[Entry] = []
        rows: dict[int, FileRow] = {}
        for chunk in hashes:
            value = get(transaction, chunk, self.slices)
            if value is None:
                continue
            transaction.delete(chunk, db=self.slices)
            where = unpack_slice(value)
            dropped.append((chunk, where))
            tally.add(where.codec, where.size, where.stored, chunks=-1)
            row = rows.get(where.file_id) or self.file(transaction, where.file_id)
            if row is not None:
                rows[where.file_id] = row.without(where.stored)
        for file_id, row in rows.items():
            transaction.put(pack_file_key(file_id), pack_file_row(row), db=self.files)
        transaction.put(_TALLY_KEY, tally.pack(), db=self.meta)
        return dropped

    def move(
        self, transaction: Transaction, file_id: int, size: int, moves: Sequence[tuple[Entry, Entry]], *, cold: bool
    ) -> None:
        """Adds a data file to which chunks were copied, and refers to it where the old place still holds."""
        tally, rows = self.tally(transaction), self.all_files(transaction)
        now = self.find_in(transaction, [chunk for (chunk, _), _ in moves])
        live = live_bytes = 0
        created = 0.0
        for ((chunk, was), (_, where)), current in zip(moves, now, strict=True):
            if current != was:
                continue
            transaction.put(chunk, pack_slice(where), db=self.slices)
            tally.add(was.codec, was.size, was.stored, chunks=-1)
            tally.add(where.codec, where.size, where.stored)
            live, live_bytes = live + 1, live_bytes + where.stored
            row = rows.get(was.file_id)
            if row is not None:
                created = max(created, row.created)
                rows[was.file_id] = row.without(was.stored)
        for old in {was.file_id for (_, was), _ in moves} & rows.keys():
            transaction.put(pack_file_key(old), pack_file_row(rows[old]), db=self.files)
        row = FileRow(size, len(moves), live, live_bytes, created, cold)
        transaction.put(pack_file_key(file_id), pack_file_row(row), db=self.files)
        self._count_bytes(transaction, size)
        transaction.put(_TALLY_KEY, tally.pack(), db=self.meta)

    def mark_cold(self, file_id: int, transaction: Transaction) -> None:
        """What of this file can be compressed further has been."""
        row = self.file(transaction, file_id)
        if row is not None:
            transaction.put(pack_file_key(file_id), pack_file_row(row._replace(cold=True)), db=self.files)

    def file(self, transaction: Transaction, file_id: int) -> FileRow | None:
        value = get(transaction, pack_file_key(file_id), self.files)
        return None if value is None else unpack_file_row(value)

    def slices_of(self, transaction: Transaction, file_ids: Collection[int]) -> dict[int, list[Entry]]:
        """The chunks that lie in these files, by a scan of the whole table."""
        found: dict[int, list[Entry]] = {file_id: [] for file_id in file_ids}
        for chunk, value in rows(transaction, self.slices):
            where = unpack_slice(value)
            if where.file_id in found:
                found[where.file_id].append((Hash(chunk), where))
        return found

    def all_places(self, transaction: Transaction) -> list[tuple[int, int, Hash]]:
        """File, offset and hash of every chunk."""
        return [(*unpack_slice(value)[:2], Hash(chunk)) for chunk, value in rows(transaction, self.slices)]

    def all_files(self, transaction: Transaction) -> dict[int, FileRow]:
        return {unpack_file_key(key): unpack_file_row(value) for key, value in rows(transaction, self.files)}

    def drop_file(self, transaction: Transaction, file_id: int) -> None:
        row = self.file(transaction, file_id)
        if row is not None:
            transaction.delete(pack_file_key(file_id), db=self.files)
            self._count_bytes(transaction, -row.size)

    def tally(self, transaction: Transaction) -> Tally:
        return Tally(get(transaction, _TALLY_KEY, self.meta))

    def file_bytes(self, transaction: Transaction) -> int:
        """Bytes of all data files, dead slices included."""
        return int.from_bytes(get(transaction, _BYTES_KEY, self.meta) or b"", "little")

    def _count_bytes(self, transaction: Transaction, change: int) -> None:
        total = max(0, self.file_bytes(transaction) + change)
        transaction.put(_BYTES_KEY, total.to_bytes(8, "little"), db=self.meta)
