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
    with (
        context.claims.environment.read() as transaction,
        transaction.cursor(context.claims.quarantined) as cursor,
    ):
        return [Hash(chunk) for chunk in cursor.iternext(keys=True, values=False)]


def _forget(context: Context, rotten: Iterable[Rotten]) -> None:
    claims, index = context.claims, context.index
    places = {chunk: where for chunk, where, _ in rotten}
    sliced = [chunk for chunk, where in places.items() if isinstance(where, Slice)]
    inline = [chunk for chunk, where in places.items() if isinstance(where, Inline)]
    record = _TIME.pack(time.time())

    def forget_slices(transaction: Transaction) -> None:
        now = zip(sliced, index.find_in(transaction, sliced), strict=True)
        index.drop(transaction, [chunk for chunk, where in now if where == places[chunk]])

    def work(transaction: Transaction) -> None:
        if sliced:
            index.environment.write(forget_slices)
        if inline:
            claims.drop_inline(transaction, inline)
        for chunk in places:
            transaction.put(chunk, record, db=claims.quarantined)

    claims.environment.write(work)


def _keep_evidence(context: Context, chunk: Hash, evidence: memoryview) -> None:
    folder = context.layout.quarantine
    used = sum(entry.stat().st_size for entry in os.scandir(folder))
    if evidence and used + len(evidence) <= EVIDENCE_MAX:
        (folder / f"{chunk.hex()}-{time.time_ns()}").write_bytes(evidence)
