"""`store.lmdb`: what only this file knows. Inline chunks, pins, and what the collector has condemned.

Writers that touch both databases begin the transaction here first and that of the index inside it; so whoever holds
this one alone decides what is live.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, Final

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.ids import Hash
from forge_p2p.store.database import Database
from forge_p2p.store.environment import Transaction
from forge_p2p.store.index import Entry
from forge_p2p.store.pinrecords import pin_at
from forge_p2p.store.records import Inline, broken_inline, pack_inline, unpack_inline
from forge_p2p.store.tables import get, hashes, rows
from forge_p2p.store.tally import Tally

_TABLES: Final = ("meta", "inline", "pins", "condemned", "quarantined")

_IDENTITY_KEY: Final = b"identity"
_TALLY_KEY: Final = b"tally"
_EPOCH_KEY: Final = b"epoch"
_PINS_KEY: Final = b"pins changed"

_NUMBER = Struct("<Q")
_CONDEMNED = Struct("<Qd")


class Claims(Database):
    """One open `store.lmdb`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES)

    @property
    def inline(self) -> Any:
        return self.environment.tables["inline"]

    @property
    def pins(self) -> Any:
        return self.environment.tables["pins"]

    @property
    def condemned(self) -> Any:
        return self.environment.tables["condemned"]

    @property
    def quarantined(self) -> Any:
        return self.environment.tables["quarantined"]

    def identity(self) -> bytes | None:
        """16 random bytes made with the store; `None` before `found`."""
        with self.environment.read() as transaction:
            return get(transaction, _IDENTITY_KEY, self.meta)

    def found(self, identity: bytes) -> bytes:
        """Makes this a store, once, and returns its identity, which may be another process's choice."""

        def work(transaction: Transaction) -> bytes:
            transaction.put(_IDENTITY_KEY, identity, db=self.meta, overwrite=False)
            transaction.put(_EPOCH_KEY, _NUMBER.pack(1), db=self.meta, overwrite=False)
            return get(transaction, _IDENTITY_KEY, self.meta) or identity

        return self.environment.write(work)

    def mend(self, identity: bytes) -> list[str]:
        """Sets right what can be derived, and removes pins that cannot be read; returns these pins' names."""

        def work(transaction: Transaction) -> list[str]:
            tally = Tally()
            for _, value in rows(transaction, self.inline):
                record = unpack_inline(value)
                if record is not None:
                    tally.add(record.codec, record.size, len(record.data))
            transaction.put(_TALLY_KEY, tally.pack(), db=self.meta)
            transaction.put(_IDENTITY_KEY, identity, db=self.meta)
            transaction.drop(self.condemned, delete=False)
            bad = [key for key, value in rows(transaction, self.pins) if pin_at(value, 0) is None]
            for key in bad:
                transaction.delete(key, db=self.pins)
            return [key.decode(errors="replace") for key in bad]

        return self.environment.write(work)

    def find(self, chunks: Sequence[Hash]) -> dict[Hash, Inline]:
        """Those that are inline, their bytes unchecked."""
        found = {}
        with self.environment.read() as transaction:
            for chunk in chunks:
                value = get(transaction, chunk, self.inline)
                if value is not None:
                    found[chunk] = unpack_inline(value) or broken_inline(value)
        return found

    def absent(self, chunks: Sequence[Hash]) -> list[Hash]:
        """Those that are not inline, in order."""
        with self.environment.read() as transaction:
            if not transaction.stat(self.inline)["entries"]:
                return list(chunks)
            has = transaction.cursor(self.inline).set_key
            return [chunk for chunk in chunks if not has(chunk)]

    def not_inline(self, transaction: Transaction, entries: Sequence[Entry]) -> list[Entry]:
        """Those of a new file's entries that are not stored inline: no chunk is kept twice."""
        if not transaction.stat(self.inline)["entries"]:
            return list(entries)
        has = transaction.cursor(self.inline).set_key
        return [entry for entry in entries if not has(entry[0])]

    def put_inline(self, transaction: Transaction, chunks: Iterable[EncodedChunk]) -> None:
        """Adds what is not there yet; in order of the hashes, since that touches each page once."""
        added = int(time.time())
        tally = Tally(get(transaction, _TALLY_KEY, self.meta))
        for chunk in sorted(chunks, key=lambda chunk: chunk.hash):
            if transaction.put(chunk.hash, pack_inline(chunk, added), db=self.inline, overwrite=False):
                tally.add(chunk.codec, chunk.size, len(chunk.data))
        transaction.put(_TALLY_KEY, tally.pack(), db=self.meta)

    def replace_inline(
        self, tried: Sequence[tuple[EncodedChunk, EncodedChunk | None]], transaction: Transaction
    ) -> None:
        """Puts smaller forms in the place of older ones, and marks all as tried; their age stays."""
        tally = self.tally(transaction)
        for old, smaller in tried:
            record = unpack_inline(get(transaction, old.hash, self.inline) or b"")
            if record is None or record.data != old.data:
                continue
            new = smaller or old
            transaction.put(new.hash, pack_inline(new, record.added, cold=True), db=self.inline)
            tally.add(old.codec, old.size, len(old.data), chunks=-1)
            tally.add(new.codec, new.size, len(new.data))
        transaction.put(_TALLY_KEY, tally.pack(), db=self.meta)

    def drop_inline(self, transaction: Transaction, chunks: Iterable[Hash]) -> list[bytes]:
        """Removes and returns the records that were there."""
        tally = Tally(get(transaction, _TALLY_KEY, self.meta))
        dropped = []
        for chunk in chunks:
            value = get(transaction, chunk, self.inline)
            if value is not None:
                transaction.delete(chunk, db=self.inline)
                dropped.append(value)
                record = unpack_inline(value) or broken_inline(value)
                tally.add(record.codec, record.size, len(record.data), chunks=-1)
        transaction.put(_TALLY_KEY, tally.pack(), db=self.meta)
        return dropped

    def tally(self, transaction: Transaction) -> Tally:
        return Tally(get(transaction, _TALLY_KEY, self.meta))

    def absolve(self, transaction: Transaction, chunks: Iterable[Hash]) -> None:
        """What is stored now is neither condemned nor lost any more."""
        for table in (self.condemned, self.quarantined):
            if transaction.stat(table)["entries"]:
                for chunk in chunks:
                    transaction.delete(chunk, db=table)

    def condemned_among(self, chunks: Sequence[Hash]) -> list[Hash]:
        with self.environment.read() as transaction:
            if not transaction.stat(self.condemned)["entries"]:
                return []
            has = transaction.cursor(self.condemned).set_key
            return [chunk for chunk in chunks if has(chunk)]

    def epoch(self) -> int:
        with self.environment.read() as transaction:
            return self.epoch_in(transaction)

    def epoch_in(self, transaction: Transaction) -> int:
        return self._number(transaction, _EPOCH_KEY)

    def _number(self, transaction: Transaction, key: bytes) -> int:
        value = get(transaction, key, self.meta)
        return int(_NUMBER.unpack(value)[0]) if value else 0

    def next_epoch(self, transaction: Transaction) -> int:
        """Ends the current epoch and returns its number."""
        epoch = self.epoch_in(transaction)
        transaction.put(_EPOCH_KEY, _NUMBER.pack(epoch + 1), db=self.meta)
        return epoch

    def pins_changed(self, transaction: Transaction) -> int:
        """A number that grows with every pin added."""
        return self._number(transaction, _PINS_KEY)

    def count_pin_change(self, transaction: Transaction) -> None:
        transaction.put(_PINS_KEY, _NUMBER.pack(self.pins_changed(transaction) + 1), db=self.meta)

    def condemn(self, transaction: Transaction, chunks: Iterable[Hash], epoch: int, now: float) -> None:
        record = _CONDEMNED.pack(epoch, now)
        for chunk in chunks:
            transaction.put(chunk, record, db=self.condemned, overwrite=False)

    def all_condemned(self, transaction: Transaction) -> list[Hash]:
        return hashes(transaction, self.condemned)

    def condemned_before(self, transaction: Transaction, epoch: int) -> list[Hash]:
        """What was condemned in an epoch before this one."""
        condemned = rows(transaction, self.condemned)
        return [Hash(chunk) for chunk, record in condemned if _CONDEMNED.unpack(record)[0] < epoch]
