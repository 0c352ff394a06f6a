"""What happens to rotten bytes: out of the index, aside as evidence, and a call for healing.

The record in the table `quarantined` says that the chunk was here and is lost; it goes when the chunk comes back.
"""

import os
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from forge_p2p.errors import ForgeError
from forge_p2p.ids import Hash
from forge_p2p.store.context import Context
from forge_p2p.store.environment import Transaction
from forge_p2p.store.records import Inline, Slice
from forge_p2p.store.tables import get, hashes

EVIDENCE_MAX: Final = 64 << 20
"""Bytes kept in the quarantine folder; further evidence is not kept, the record is."""

_TIME = struct.Struct("<d")

Rotten = tuple[Hash, Slice | Inline, memoryview]
"""A chunk, the place it was read from, and the bytes found there."""


def quarantine(context: Context, rotten: Sequence[Rotten]) -> None:
    """Takes each chunk out of the store, if it is still where it was read, and asks for it to be fetched again."""
    for chunk, _, evidence in rotten:
        with suppress(OSError):  # a full or failing disk must not keep rotten bytes in service
            _keep_evidence(context, chunk, evidence)
    with suppress(ForgeError):
        _forget(context, rotten)
    if context.heal is not None:
        context.heal([chunk for chunk, _, _ in rotten])


def lost(context: Context) -> list[Hash]:
    """Chunks that were quarantined and have not come back."""
    with context.claims.environment.read() as transaction:
        return hashes(transaction, context.claims.quarantined)


def _forget(context: Context, rotten: Iterable[Rotten]) -> None:
    """Drops what is still as it was read; a chunk that has been put again meanwhile stays."""
    claims, index = context.claims, context.index
    sliced = {chunk: where for chunk, where, _ in rotten if isinstance(where, Slice)}
    inline = {chunk: where for chunk, where, _ in rotten if isinstance(where, Inline)}
    record = _TIME.pack(time.time())

    def forget_slices(transaction: Transaction) -> list[Hash]:
        now = zip(sliced, index.find_in(transaction, list(sliced)), strict=True)
        return [chunk for chunk, _ in index.drop(transaction, [c for c, where in now if where == sliced[c]])]

    def work(transaction: Transaction) -> None:
        gone = index.environment.write(forget_slices) if sliced else []
        now = {chunk: get(transaction, chunk, claims.inline) for chunk in inline}
        same = [chunk for chunk, value in now.items() if value and value.endswith(inline[chunk].data)]
        claims.drop_inline(transaction, same)
        for chunk in [*gone, *same]:
            transaction.put(chunk, record, db=claims.quarantined)

    claims.environment.write(work)


def _keep_evidence(context: Context, chunk: Hash, evidence: memoryview) -> None:
    folder = context.layout.quarantine
    used = sum(entry.stat().st_size for entry in os.scandir(folder))
    if evidence and used + len(evidence) <= EVIDENCE_MAX:
        (folder / f"{chunk.hex()}-{time.time_ns()}").write_bytes(evidence)
