"""Reading tables without trusting them: a damaged page may claim a value of gigabytes, so none is copied unseen."""

from collections.abc import Iterator
from typing import Any, Final

from forge_p2p.ids import HASH_SIZE, Hash
from forge_p2p.store.environment import Transaction

RECORD_MAX: Final = 68 << 10
"""Bytes of the largest record: an inline chunk and its header. Of anything longer only as much is looked at."""


def get(transaction: Transaction, key: bytes, table: Any) -> bytes | None:
    """A copy of the record, which outlives the transaction."""
    value = transaction.get(key, None, table)
    return None if value is None else bytes(value[:RECORD_MAX])


def rows(transaction: Transaction, table: Any) -> Iterator[tuple[bytes, bytes]]:
    """Copies of all keys and records."""
    with transaction.cursor(table) as cursor:
        for key, value in cursor:
            yield bytes(key), bytes(value[:RECORD_MAX])


def hashes(transaction: Transaction, table: Any) -> list[Hash]:
    """All keys that are hashes."""
    with transaction.cursor(table) as cursor:
        return [Hash(bytes(key)) for key in cursor.iternext(keys=True, values=False) if len(key) == HASH_SIZE]
