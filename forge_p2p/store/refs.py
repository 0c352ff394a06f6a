"""`refs.lmdb`: the logs of names that this node keeps, as their home or as one who reads them.

    records     network, name, 0, number (big-endian)    checksum, record
    followed    network, name, 0                         the name is followed here: how many versions stay, or nothing

A file of its own: what was signed should not depend on chunks, of which there may be millions. Records are only added,
and only those that a log's home itself has told, or that a restore found undisputed in the node's bucket
(`proto.reassembly`): so the newest that is here is the highest ever seen, whatever anybody shows this node later.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from forge_p2p.content.ref import NOTHING, BadRef, RefFlaw, RefRecord, decode_record
from forge_p2p.errors import Malformed, StoreError
from forge_p2p.ids import NetworkId
from forge_p2p.proto.reflog import Exists, Stored, forked
from forge_p2p.store.environment import Transaction, open_environment
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.tables import get

_TABLES: Final = ("records", "followed")
_SEQ = struct.Struct(">Q")
_CHECK = struct.Struct("<Q")
_KEEP = struct.Struct(">I")
_LAST: Final = (1 << 64) - 1


class RefStore:
    """One open `refs.lmdb`. Calls block; safe from any thread, and several processes may have it open."""

    def __init__(self, path: Path) -> None:
        with disk_errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._environment = open_environment(path, _TABLES)

    def close(self) -> None:
        self._environment.release()

    def log(self, network: NetworkId) -> "StoredLog":
        """The logs of one network's names."""
        return StoredLog(self, network)

    def put(self, record: RefRecord) -> Stored | Exists:
        """See `RefLog.put_if_absent`. One durable transaction."""
        return self._environment.write(lambda transaction: self._put(transaction, record))

    def put_all(self, records: Sequence[RefRecord]) -> None:
        """Adds what comes after the newest record, all of it or nothing. Raises `BadRef`."""

        def work(transaction: Transaction) -> None:
            for record in records:
                if isinstance(self._put(transaction, record), Exists):
                    raise forked(record, record.seq - 1)

        self._environment.write(work)

    def head(self, network: NetworkId, name: str) -> RefRecord | None:
        """The newest record that is here."""
        with self._environment.read() as transaction:
            return self._last(transaction, _prefix(network, name))

    def range(self, network: NetworkId, name: str, from_seq: int, count: int) -> list[RefRecord]:
        """Up to `count` records from a number on. Raises `StoreError` for a damaged one."""
        prefix = _prefix(network, name)
        found: list[RefRecord] = []
        with self._environment.read() as transaction:
            while len(found) < count:
                record = self._read(transaction, prefix + _SEQ.pack(from_seq + len(found)))
                if record is None:
                    break
                found.append(record)
        return found

    def names(self, network: NetworkId, after: str, count: int) -> list[str]:
        """Up to `count` names of a network, after this one."""
        found: list[str] = []
        with self._environment.read() as transaction, transaction.cursor(self._table("records")) as cursor:
            start = network + (after.encode() + b"\1" if after else b"")  # no name has a byte 1: it ends all of `after`
            while len(found) < count and cursor.set_range(start):
                key = bytes(cursor.key())
                if not key.startswith(network):
                    break
                name = key[len(network) : -1 - _SEQ.size]
                found.append(name.decode())
                start = network + name + b"\1"
        return found

    def follow(self, network: NetworkId, name: str, keep: int | None = None) -> bool:
        """Notes that a name is followed here; whether that is news. `keep`: how many of its versions stay, 0 for
        as many as of any name; `None` leaves what was said before."""
        key = _prefix(network, name)
        value = _KEEP.pack(keep) if keep else b""

        def work(transaction: Transaction) -> bool:
            table = self._table("followed")
            is_news = get(transaction, key, table) is None
            transaction.put(key, value, db=table, overwrite=keep is not None)
            return is_news

        return self._environment.write(work)

    def keeps(self, network: NetworkId, name: str) -> int:
        """How many versions of a name that is followed stay; 0: nothing was said."""
        with self._environment.read() as transaction:
            value = get(transaction, _prefix(network, name), self._table("followed"))
        return int(_KEEP.unpack(value)[0]) if value is not None and len(value) == _KEEP.size else 0

    def unfollow(self, network: NetworkId, name: str) -> bool:
        """Takes that back; whether it was followed."""
        key = _prefix(network, name)
        return self._environment.write(lambda transaction: bool(transaction.delete(key, db=self._table("followed"))))

    def followed(self) -> list[tuple[NetworkId, str]]:
        """Everything that is followed here."""
        with self._environment.read() as transaction, transaction.cursor(self._table("followed")) as cursor:
            keys = [bytes(key) for key in cursor.iternext(keys=True, values=False)]
        return [(NetworkId(key[:32]), key[32:-1].decode()) for key in keys]

    def drop(self, network: NetworkId) -> None:
        """Forgets all of a network that was left."""

        def work(transaction: Transaction) -> None:
            for table in _TABLES:
                for key in list(_keys_of(transaction, self._table(table), network)):
                    transaction.delete(key, db=self._table(table))

        self._environment.write(work)

    # Inside

    def _table(self, name: str) -> Any:
        return self._environment.tables[name]

    def _put(self, transaction: Transaction, record: RefRecord) -> Stored | Exists:
        prefix = _prefix(record.network, record.name)
        key = prefix + _SEQ.pack(record.seq)
        before = self._read(transaction, key)
        if before is not None:
            return Stored() if before == record else Exists(before)
        last = self._last(transaction, prefix)
        if record.seq != (last.seq + 1 if last else 1):
            raise BadRef(
                RefFlaw.DOES_NOT_FOLLOW,
                f"record {record.seq} of {record.name!r} leaves a gap after number {last.seq if last else 0}",
            )
        if record.previous != (last.hash if last else NOTHING):
            raise forked(record, record.seq - 1)
        transaction.put(key, _sealed(record), db=self._table("records"))
        return Stored()

    def _read(self, transaction: Transaction, key: bytes) -> RefRecord | None:
        value = get(transaction, key, self._table("records"))
        return None if value is None else _opened(value)

    def _last(self, transaction: Transaction, prefix: bytes) -> RefRecord | None:
        with transaction.cursor(self._table("records")) as cursor:
            found = cursor.set_range(prefix + _SEQ.pack(_LAST))
            if not (cursor.prev() if found else cursor.last()):
                return None
            key = bytes(cursor.key())
        return self._read(transaction, key) if key[: -_SEQ.size] == prefix else None


class StoredLog:
    """The logs of one network in a `RefStore`: a `RefLog`."""

    def __init__(self, store: RefStore, network: NetworkId) -> None:
        self._store = store
        self._network = network

    def put_if_absent(self, record: RefRecord) -> Stored | Exists:
        return self._store.put(record)

    def head(self, name: str) -> RefRecord | None:
        return self._store.head(self._network, name)

    def range(self, name: str, from_seq: int, count: int) -> list[RefRecord]:
        return self._store.range(self._network, name, from_seq, count)

    def names(self, after: str, count: int) -> list[str]:
        return self._store.names(self._network, after, count)


def _prefix(network: NetworkId, name: str) -> bytes:
    return network + name.encode() + b"\0"


def _keys_of(transaction: Transaction, table: Any, network: NetworkId) -> Iterator[bytes]:
    with transaction.cursor(table) as cursor:
        if cursor.set_range(network):
            for key in cursor.iternext(keys=True, values=False):
                if bytes(key[:32]) != network:
                    return
                yield bytes(key)


def _sealed(record: RefRecord) -> bytes:
    data = record.encode()
    return _CHECK.pack(xxh3_64_intdigest(data)) + data


def _opened(value: bytes) -> RefRecord:
    data = value[_CHECK.size :]
    try:
        (check,) = _CHECK.unpack_from(value)
        if check != xxh3_64_intdigest(data):
            raise Malformed("its checksum does not match")
        return decode_record(data)
    except (Malformed, struct.error) as error:
        raise StoreError(
            f"a record in refs.lmdb is damaged: {error}", hint="remove the file; logs come back from their homes"
        ) from error
