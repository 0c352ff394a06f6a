"""How much a store takes, and how much is left."""

import os
from typing import Final

from forge_p2p.store.context import Context
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.records import INLINE_HEADER, JOURNAL_ROW

INDEX_ROW: Final = 128
"""Bytes a chunk costs in the databases, about."""


def used_bytes(context: Context) -> int:
    """Bytes that committed content takes; free pages inside the databases do not count, they are used again."""
    with context.index.environment.read() as transaction:
        files = context.index.file_bytes(transaction)
        sliced = context.index.tally(transaction).chunks
    with context.claims.environment.read() as transaction:
        inline = context.claims.tally(transaction)
    return files + sliced * (JOURNAL_ROW + INDEX_ROW) + inline.stored + inline.chunks * (INLINE_HEADER + INDEX_ROW)


def free_bytes(context: Context) -> int:
    """Of the file system, for this user."""
    with disk_errors(context.layout.root):
        state = os.statvfs(context.layout.root)
    return state.f_bavail * state.f_frsize
