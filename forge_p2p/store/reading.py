"""Reads: located, read in runs, and checked before anything is returned.

A chunk may move between being located and being read (a data file was rewritten and deleted); it is then located again.
What fails its check is quarantined and is as good as absent.
"""

from collections.abc import Sequence
from typing import Final

from forge_p2p.content.codec import EncodedChunk, decode
from forge_p2p.errors import CorruptChunk, NotFound
from forge_p2p.ids import Hash
from forge_p2p.store.context import Context
from forge_p2p.store.datafiles import runs
from forge_p2p.store.quarantine import Rotten, quarantine
from forge_p2p.store.records import CODECS, Inline, Slice, checksum
from forge_p2p.store.session import Found
from forge_p2p.store.targets import write_chunks

_TRIES: Final = 3
"""How often a chunk may move away while it is being read."""

_BATCH: Final = 64
"""Chunks copied at a time; at most 16 MiB."""


def read_encoded(context: Context, hashes: Sequence[Hash]) -> list[EncodedChunk | None]:
    """As `Store.read_encoded`."""
    found, rotten = read_checked(context, hashes)
    if rotten:
        quarantine(context, rotten)
    return found


def read(context: Context, chunk: Hash) -> bytes:
    """As `Store.read`."""
    raw = read_many(context, [chunk])[0]
    return raw if isinstance(raw, bytes) else bytes(raw)


def copy_into(context: Context, fd: int, chunks: Sequence[tuple[Hash, int]]) -> None:
    """As `Store.copy_into`. Chunks of zeros are left out: the file was made of holes, at its full size."""
    from forge_p2p.content.chunking import ZERO_CHUNK

    chunks = [item for item in chunks if item[0] != ZERO_CHUNK]
    for first in range(0, len(chunks), _BATCH):
        batch = chunks[first : first + _BATCH]
        raws = read_many(context, [chunk for chunk, _ in batch])
        write_chunks(fd, zip((offset for _, offset in batch), raws, strict=True))


def read_many(context: Context, hashes: Sequence[Hash]) -> list[bytes | memoryview]:
    """As `Store.read_many`: of every chunk, or `NotFound` or `CorruptChunk` naming the first that is not to be had."""
    found, rotten = read_checked(context, hashes)
    raws: list[bytes | memoryview] = []
    for encoded in found:
        if encoded is None:
            break
        try:
            raws.append(decode(encoded))
        except CorruptChunk:
            rotten += placed(context, encoded)
            break
    if rotten:
        quarantine(context, rotten)
    if len(raws) < len(hashes):
        raise _unreadable(hashes[len(raws)], rotten)
    return raws


def placed(context: Context, encoded: EncodedChunk) -> list[Rotten]:
    """A chunk whose stored form is as it was written and yet wrong."""
    where = context.locate([encoded.hash])[0]
    return [(encoded.hash, where, memoryview(encoded.data))] if isinstance(where, Slice | Inline) else []


def _unreadable(chunk: Hash, rotten: Sequence[Rotten]) -> CorruptChunk | NotFound:
    name = chunk.hex()[:16]
    if any(chunk == other for other, _, _ in rotten):
        return CorruptChunk(f"chunk {name} was damaged on disk and is now in quarantine", hint="fetch it again")
    return NotFound(f"chunk {name} is not in the store", hint="fetch it from a peer")


def read_checked(context: Context, hashes: Sequence[Hash]) -> tuple[list[EncodedChunk | None], list[Rotten]]:
    """Chunks in stored form, and those that fail their check, which the caller has to quarantine."""
    result: list[EncodedChunk | None] = [None] * len(hashes)
    rotten: list[Rotten] = []
    wanted = list(range(len(hashes)))
    located: dict[int, Found | None] = {}
    for _ in range(_TRIES):
        located = dict(zip(wanted, context.locate([hashes[at] for at in wanted]), strict=True))
        wanted = _fill(context, hashes, located, result, rotten)
        if not wanted:
            return result, rotten
    for at in wanted:
        where = located[at]
        if isinstance(where, Slice):  # a file that the index knows is not there
            rotten.append((hashes[at], where, memoryview(b"")))
    return result, rotten


def _fill(
    context: Context,
    hashes: Sequence[Hash],
    located: dict[int, Found | None],
    result: list[EncodedChunk | None],
    rotten: list[Rotten],
) -> list[int]:
    """Reads what was located into `result`; returns the positions of those whose file has gone."""
    gone: list[int] = []
    slices: list[tuple[int, Slice]] = []
    for at, where in located.items():
        if isinstance(where, Slice):
            slices.append((at, where))
        elif isinstance(where, Inline):
            result[at] = _checked(hashes[at], where, where.data, rotten)
        else:
            result[at] = where
    for run in runs(slices):
        pieces = context.files.read_run([where for _, where in run])
        if pieces is None:
            gone += [at for at, _ in run]
            continue
        for (at, where), piece in zip(run, pieces, strict=True):
            result[at] = _checked(hashes[at], where, piece, rotten)
    return gone


def _checked(chunk: Hash, where: Slice | Inline, data: memoryview, rotten: list[Rotten]) -> EncodedChunk | None:
    if checksum(chunk, where.codec, where.size, data) != where.check:
        rotten.append((chunk, where, data))
        return None
    return EncodedChunk(chunk, CODECS[where.codec], where.size, data)
