"""The serving side of deltas: a chunk against the base that the asker named, when that is less than the chunk.

Runs in worker threads, a turn at a time. An asker may learn nothing from bases: one outside its scope is as unknown as
one that is not here, and that was decided before anyone looked.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from forge_p2p.content.codec import EncodedChunk, decode
from forge_p2p.content.delta import DeltaChunk, from_base, from_signature
from forge_p2p.errors import CorruptChunk, Malformed, NotFound
from forge_p2p.ids import Hash
from forge_p2p.proto.hints import Answer, Hints, Lacking
from forge_p2p.store.base import Store

WORTH = 0.75
"""Of its stored form a delta may be no more: else the chunk travels as it is stored, and nobody has to compute."""

SIGNED_LEAST = 4096
"""Stored bytes of a chunk worth another round trip and a signature."""


def read_hinted(store: Store, indexes: Sequence[int], hashes: Sequence[Hash], hints: Hints) -> list[Answer]:
    """What `Store.read_encoded` reads, as deltas where they pay. Raises as it does."""
    chunks = store.read_encoded(hashes)
    return [
        _hinted(store, index, chunk, hints) if chunk is not None and index in hints else chunk
        for index, chunk in zip(indexes, chunks, strict=True)
    ]


def computed(answers: Sequence[Answer]) -> int:
    """What deltas count for beside what is sent, in bytes: to make one takes as long as to send the chunk."""
    return sum([answer.size for answer in answers if isinstance(answer, DeltaChunk)])


def _hinted(store: Store, index: int, chunk: EncodedChunk, hints: Hints) -> Answer:
    with suppress(CorruptChunk, Malformed):  # of the store: it heals itself; of the asker: it gets the whole chunk
        for delta in _deltas(store, index, chunk, hints):
            return delta if len(delta.data) <= WORTH * len(chunk.data) else chunk
        if hints.signs and index in hints.bases and len(chunk.data) >= SIGNED_LEAST:
            return Lacking.BASE
    return chunk


def _deltas(store: Store, index: int, chunk: EncodedChunk, hints: Hints) -> Iterator[DeltaChunk]:
    """The delta, if there can be one."""
    signature, base = hints.signatures.get(index), hints.bases.get(index)
    if signature is not None:
        yield from_signature(chunk.hash, decode(chunk), signature)
    elif base is not None:
        with suppress(NotFound):
            known = store.read(base)
            yield from_base(chunk.hash, decode(chunk), known)
