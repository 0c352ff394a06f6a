"""What the tests of the store put into it: chunks of many shapes, roots of every depth, a small tree."""

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from forge_p2p.config import StoreConfig
from forge_p2p.content.codec import EncodedChunk, encode
from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root, hash_bytes
from forge_p2p.content.snapshot import Entry, EntryKind, encode_pages
from forge_p2p.content.tree import TreeBuilder
from forge_p2p.ids import Hash
from forge_p2p.store import open_store
from forge_p2p.store.base import Ingest, Store
from forge_p2p.store.disk import DiskStore
from forge_p2p.store.opening import open_disk_store

Item = tuple[Hash, bytes]

SIZES = (0, 1, 2, 1000, 16383, 65535, 65536, 65537, CHUNK_MAX - 1, CHUNK_MAX)
"""Around every boundary a chunk can have."""

BARE = StoreConfig(reserve=0, grace=0.0, hot_bytes=0)
"""No hot tier, no grace, nothing left to the file system."""


def named(raw: bytes) -> Item:
    return hash_bytes(raw), raw


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def text(seed: int, size: int) -> bytes:
    words = random.Random(seed).choices([b"forge", b"link", b"chunk", b"lease", b"pin", b"%d" % seed], k=size // 4 + 1)
    return b" ".join(words)[:size]


def items(count: int, size: int = 3000, seed: int = 0) -> list[Item]:
    """Distinct chunks, every other one compressible."""
    make = (noise, text)
    return [named(b"%8d" % n + make[n % 2](seed * 100_000 + n, size)) for n in range(count)]


def big(seed: int, size: int) -> list[Item]:
    """A content that does not compress, cut evenly."""
    content = noise(seed, size)
    return [named(content[at : at + CHUNK_MAX]) for at in range(0, size, CHUNK_MAX)]


def encoded(chunks: Iterable[Item]) -> list[EncodedChunk]:
    return [encode(chunk, raw) for chunk, raw in chunks]


def hashes(chunks: Iterable[tuple[Hash, object]]) -> list[Hash]:
    return [chunk for chunk, _ in chunks]


def fill(store: Store, chunks: Sequence[Item], key: Hash | None = None, group: int | None = None) -> None:
    with store.ingest(key) as ingest:
        ingest.put(chunks, group)
        ingest.commit()


def lay_out(ingest: Ingest, chunks: Sequence[Item], group: int, among: Sequence[Item] | None = None) -> None:
    """Puts chunks of a content as they arrive from many: in no order, each where `among`, the whole, first has it."""
    whole = among or chunks
    ends = list(accumulate(len(raw) for _, raw in whole))
    places = {chunk: end - len(raw) for (chunk, raw), end in reversed(list(zip(whole, ends, strict=True)))}
    shuffled = random.Random(len(whole)).sample(list(chunks), len(chunks))
    for first in range(0, len(shuffled), 8):
        ingest.put_encoded(encoded(shuffled[first : first + 8]), group, places)


def blob(item: Item) -> Root:
    """The root of a content of one chunk."""
    return Root(Kind.BLOB, Link(item[0], len(item[1]), 0))


def put_blob(ingest: Ingest, chunks: Sequence[Item], group: int | None = None) -> Root:
    """Puts a content of many chunks with its nodes."""
    builder = TreeBuilder()
    builder.add_all((chunk, len(raw)) for chunk, raw in chunks)
    ingest.put(chunks, group)
    link = builder.finish()
    ingest.put(builder.take_nodes())
    return Root(Kind.BLOB, link)


def put_tree(ingest: Ingest, files: Mapping[bytes, Sequence[Item]]) -> Root:
    """Puts a tree of files by name, each given as its chunks."""
    entries = []
    for path, chunks in sorted(files.items()):
        link = put_blob(ingest, chunks).link
        entries.append(Entry(path, EntryKind.FILE, 0o644, 0, link.size, link.level, link.hash))
    listing = b"".join(encode_pages(entries))
    return Root(Kind.TREE, put_blob(ingest, [named(listing)]).link)


def open_bare(path: Path, config: StoreConfig = BARE) -> DiskStore:
    return open_disk_store(path, config)


def open_hot(path: Path) -> Store:
    return open_store(path, StoreConfig(reserve=0, grace=0.0, hot_bytes=1 << 20))
