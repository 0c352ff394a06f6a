"""The hot tier: raw content in memory above any store, least recently used out first, counted in bytes.

Only `read` fills it. What is served in stored form or copied by the kernel passes by, for it is read once; list nodes,
listings and files that are looked at come again. What it holds was verified when it came in.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.link import Root
from forge_p2p.ids import Hash
from forge_p2p.store.base import (
    Collected,
    Ingest,
    Keep,
    Pin,
    Progress,
    Rebuilt,
    Recompressed,
    Statistics,
    Store,
    Verified,
)

_OVERHEAD: Final = 256
"""Bytes an entry costs beside its content: key, objects, two links of the order."""


class HotStore:
    """A store that remembers what was read from the one below it, up to `limit` bytes."""

    def __init__(self, below: Store, limit: int) -> None:
        self.below = below
        self._limit = limit
        self._lock = threading.Lock()
        self._content: OrderedDict[Hash, bytes] = OrderedDict()
        self._size = 0
        self._hits = 0
        self._misses = 0
        self._generation = 0

    def read(self, chunk: Hash) -> bytes:
        with self._lock:
            raw = self._content.get(chunk)
            if raw is not None:
                self._content.move_to_end(chunk)
                self._hits += 1
                return raw
            self._misses += 1
            generation = self._generation
        raw = self.below.read(chunk)
        self._remember(chunk, raw, generation)
        return raw

    def _remember(self, chunk: Hash, raw: bytes, generation: int) -> None:
        size = len(raw) + _OVERHEAD
        with self._lock:
            if size > self._limit or chunk in self._content or generation != self._generation:
                return
            self._content[chunk] = raw
            self._size += size
            while self._size > self._limit:
                _, old = self._content.popitem(last=False)
                self._size -= len(old) + _OVERHEAD

    def forget(self) -> None:
        """Empties the tier; a read that is under way does not come back into it."""
        with self._lock:
            self._content.clear()
            self._size = 0
            self._generation += 1

    def has(self, chunk: Hash) -> bool:
        return self.below.has(chunk)

    def missing(self, hashes: Iterable[Hash]) -> list[Hash]:
        return self.below.missing(hashes)

    def read_many(self, hashes: Sequence[Hash]) -> list[bytes | memoryview]:
        return self.below.read_many(hashes)

    def read_encoded(self, hashes: Sequence[Hash]) -> list[EncodedChunk | None]:
        return self.below.read_encoded(hashes)

    def copy_into(self, fd: int, chunks: Sequence[tuple[Hash, int]]) -> None:
        self.below.copy_into(fd, chunks)

    def link_into(self, path: bytes, chunks: Sequence[tuple[Hash, int]]) -> bool:
        return self.below.link_into(path, chunks)

    def adopt_file(self, path: bytes, chunks: Sequence[tuple[Hash, int]]) -> bool:
        return self.below.adopt_file(path, chunks)

    def ingest(self, key: Hash | None = None) -> AbstractContextManager[Ingest]:
        return self.below.ingest(key)

    def pin(self, name: str, root: Root, keep: Keep = Keep.KEPT, expires: float = 0.0) -> None:
        self.below.pin(name, root, keep, expires)

    def unpin(self, name: str) -> bool:
        return self.below.unpin(name)

    def touch(self, name: str) -> bool:
        return self.below.touch(name)

    def pins(self) -> list[Pin]:
        return self.below.pins()

    def statistics(self) -> Statistics:
        below = self.below.statistics()
        return replace(below, hot_bytes=self._size, hot_hits=self._hits, hot_misses=self._misses)

    def epoch(self) -> int:
        return self.below.epoch()

    def collect(self, grace: float | None = None) -> Collected:
        collected = self.below.collect(grace)
        self.forget()
        return collected

    def verify(self, progress: Progress | None = None) -> Verified:
        self.forget()
        return self.below.verify(progress)

    def rebuild(self, progress: Progress | None = None) -> Rebuilt:
        self.forget()
        return self.below.rebuild(progress)

    def recompress(self, older_than: float, seconds: float) -> Recompressed:
        return self.below.recompress(older_than, seconds)

    def close(self) -> None:
        self.forget()
        self.below.close()
