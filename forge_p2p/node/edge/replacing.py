"""Other bundles and indexes in place of some: what a collector and a repair have in common.

Nothing is changed in place. The chunks that stay are written anew, indexes that name what goes are written anew without
it, and one record of the catalogue says all of it at once.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from forge_p2p.bucket.base import blob_key
from forge_p2p.content.bundle import NONCE_SIZE, BundleBuilder, Held, Slice
from forge_p2p.content.catalogue import IndexEntry, State, blobs_of
from forge_p2p.content.codec import EncodedChunk
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.edge.uploading import write_index

INDEX_ROWS: Final = 256 << 10
"""Rows of an index that is written anew: 14 MB, chunks of some 16 GB."""


@dataclass(slots=True)
class Replacement:
    """What a record is to say: new indexes, and the blobs that these replace."""

    indexes: list[IndexEntry] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def repacked(edge: Edge, chunks: Iterable[EncodedChunk]) -> list[Held]:
    """New bundles of these chunks, uploaded."""
    return [_put(edge, builder) for builder in _filled(chunks)]


def _filled(chunks: Iterable[EncodedChunk]) -> Iterator[BundleBuilder]:
    builder = BundleBuilder(os.urandom(NONCE_SIZE))
    for chunk in chunks:
        builder.add(chunk)
        if builder.full:
            yield builder
            builder = BundleBuilder(os.urandom(NONCE_SIZE))
    if not builder.empty:
        yield builder


def _put(edge: Edge, builder: BundleBuilder) -> Held:
    bundle = builder.finish()
    edge.bucket.put_if_absent(blob_key(bundle.name), bundle.data)
    return Held(bundle.name, len(bundle.data), bundle.rows)


def read_slices(edge: Edge, slices: Sequence[Slice]) -> Iterator[EncodedChunk]:
    """The chunks that are there, read in ranges. Raises as `Reader.span`."""
    for part in edge.reader.chunks(slices):
        yield from part


def replaced(
    edge: Edge,
    state: State,
    gone: Collection[str],
    fresh: Sequence[Held],
    held: dict[str, Sequence[Held]],
    merged: Collection[str] = (),
) -> Replacement:
    """Writes indexes without the bundles in `gone` and with `fresh`. `held`: what each index has, by the hex of its
    hash; `merged`: indexes that are to be written anew although nothing of theirs goes."""
    touched = [
        entry
        for blob, entry in state.indexes.items()
        if blob in merged or any(bundle.blob in gone for bundle in entry.bundles)
    ]
    kept = {each.name: each for entry in touched for each in held[entry.index.blob] if each.name.hex() not in gone}
    indexes = [write_index(edge, part) for part in _parts([*kept.values(), *fresh])]
    return Replacement(indexes, [*gone, *blobs_of(touched)])


def _parts(bundles: Sequence[Held]) -> Iterator[list[Held]]:
    part: list[Held] = []
    rows = 0
    for each in bundles:
        if part and rows + each.count > INDEX_ROWS:
            yield part
            part, rows = [], 0
        part.append(each)
        rows += each.count
    if part:
        yield part
