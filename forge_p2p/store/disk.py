"""The store on disk: what `Store` promises, put together from its parts. Bytes and reasons: `docs/storage.md`."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.link import Root
from forge_p2p.ids import Hash
from forge_p2p.store import reading
from forge_p2p.store.base import Collected, Keep, Pin, Progress, Rebuilt, Recompressed, Statistics, Verified
from forge_p2p.store.context import Context
from forge_p2p.store.locks import Lock
from forge_p2p.store.pins import list_pins, remove_pins, set_pin, touch_pin

if TYPE_CHECKING:
    from forge_p2p.store.ingest import DiskIngest


class DiskStore:
    """One open store. Made by `opening.open_disk_store`; implements `Store`. Imports late what few commands need, so
    that `forge status` starts fast."""

    def __init__(self, context: Context, lock: Lock) -> None:
        self.context = context
        self._lock = lock
        self._closed = False

    def has(self, chunk: Hash) -> bool:
        return not self.context.absent([chunk], self.context.sessions)

    def missing(self, hashes: Iterable[Hash]) -> list[Hash]:
        return self.context.absent(list(dict.fromkeys(hashes)), self.context.sessions)

    def read(self, chunk: Hash) -> bytes:
        return reading.read(self.context, chunk)

    def read_many(self, hashes: Sequence[Hash]) -> list[bytes | memoryview]:
        return reading.read_many(self.context, hashes)

    def read_encoded(self, hashes: Sequence[Hash]) -> list[EncodedChunk | None]:
        return reading.read_encoded(self.context, hashes)

    def copy_into(self, fd: int, chunks: Sequence[tuple[Hash, int]]) -> None:
        reading.copy_into(self.context, fd, chunks)

    def link_into(self, path: bytes, chunks: Sequence[tuple[Hash, int]]) -> bool:
        from forge_p2p.store.whole import link_into

        return link_into(self.context, path, chunks)

    def adopt_file(self, path: bytes, chunks: Sequence[tuple[Hash, int]]) -> bool:
        from forge_p2p.store.whole import adopt

        return adopt(self.context, path, chunks)

    @contextmanager
    def ingest(self, key: Hash | None = None) -> "Iterator[DiskIngest]":
        from forge_p2p.store.ingest import DiskIngest

        session = DiskIngest(self.context, key)
        try:
            yield session
        finally:
            session.close()

    def pin(self, name: str, root: Root, keep: Keep = Keep.KEPT, expires: float = 0.0) -> None:
        set_pin(self.context.claims, Pin(name, root, keep, expires, time.time()))

    def unpin(self, name: str) -> bool:
        return remove_pins(self.context.claims, [name]) > 0

    def touch(self, name: str) -> bool:
        return touch_pin(self.context.claims, name, time.time())

    def pins(self) -> list[Pin]:
        return list_pins(self.context.claims)

    def statistics(self) -> Statistics:
        from forge_p2p.store.statistics import statistics

        return statistics(self.context)

    def epoch(self) -> int:
        return self.context.claims.epoch()

    def collect(self, grace: float | None = None) -> Collected:
        from forge_p2p.store.gc import collect

        return collect(self.context, grace)

    def verify(self, progress: Progress | None = None) -> Verified:
        from forge_p2p.store.verify import verify

        return verify(self.context, progress)

    def rebuild(self, progress: Progress | None = None) -> Rebuilt:
        from forge_p2p.store.rebuild import rebuild

        return rebuild(self.context, progress)

    def recompress(self, older_than: float, seconds: float) -> Recompressed:
        from forge_p2p.store.recompression import recompress

        return recompress(self.context, older_than, seconds)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.context.encoders.close()
        self.context.files.close()
        self.context.index.close()
        self.context.claims.close()
        self._lock.release()
