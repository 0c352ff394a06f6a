"""Chunks out of bundles: in ranges that hold many, several at once."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from forge_p2p.bucket.base import Bucket, Data, blob_key
from forge_p2p.content.bundle import Slice
from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import CorruptChunk

GAP: Final = 64 << 10
"""Bytes between two chunks that are read along: at 50 MB/s they take a millisecond, and a request takes more."""

RANGE: Final = 4 << 20
"""Bytes of the longest range: several are read at once."""

AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Span:
    """One range to read, and the chunks in it."""

    bundle: str
    start: int
    length: int
    slices: tuple[Slice, ...]


def spans(slices: Iterable[Slice]) -> list[Span]:
    """The fewest ranges that hold all of `slices`: neighbours are joined, also over small gaps."""
    ordered = sorted(slices, key=lambda each: (each.bundle, each.offset))
    found: list[Span] = []
    group: list[Slice] = []
    for each in ordered:
        if group and not _joins(group, each):
            found.append(_span(group))
            group = []
        group.append(each)
    if group:
        found.append(_span(group))
    return found


def _joins(group: Sequence[Slice], each: Slice) -> bool:
    first, last = group[0], group[-1]
    near = each.bundle == last.bundle and each.offset - (last.offset + last.length) <= GAP
    return near and each.offset + each.length - first.offset <= RANGE


def _span(group: Sequence[Slice]) -> Span:
    start = group[0].offset
    end = max(each.offset + each.length for each in group)
    return Span(group[0].bundle.hex(), start, end - start, tuple(group))


class Reader:
    """`reads` may be a CDN; what comes damaged through it is asked of `origin`."""

    def __init__(self, reads: Bucket, origin: Bucket) -> None:
        self._reads = reads
        self._origin = origin

    def span(self, span: Span) -> list[EncodedChunk]:
        """The chunks of one range, their stored forms checked; their hashes are the store's to verify. Raises
        `BucketError`, `CorruptChunk`."""
        try:
            return _cut(span, self._read(self._reads, span))
        except CorruptChunk:
            if self._reads is self._origin:
                raise
            return _cut(span, self._read(self._origin, span))

    def chunks(self, slices: Iterable[Slice]) -> Iterator[list[EncodedChunk]]:
        """All of `slices`, range by range, `AT_ONCE` read at the same time and no more of them in memory."""
        wanted = spans(slices)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, len(wanted), AT_ONCE):
                yield from pool.map(self.span, wanted[start : start + AT_ONCE])

    def _read(self, bucket: Bucket, span: Span) -> Data:
        if not span.length:
            return b""
        return bucket.get_range(blob_key(span.bundle), span.start, span.length)


def _cut(span: Span, data: Data) -> list[EncodedChunk]:
    view = memoryview(data)
    return [each.chunk(view[each.offset - span.start :][: each.length]) for each in span.slices]
