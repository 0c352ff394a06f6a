"""A store in memory alone, bounded in bytes: for a node that keeps nothing, and for tests of all that uses a store.

It keeps chunks in stored form, and makes room as the disk store does: garbage first, then cached pins by oldest use.
Nothing survives the process; an interrupted session with a key leaves what it has received to the next one.
"""

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.codec import Codec, EncodedChunk, decode, encode
from forge_p2p.content.link import Root
from forge_p2p.errors import CorruptChunk, DiskFull, NotFound, StoreError
from forge_p2p.ids import Hash
from forge_p2p.store.base import Collected, Keep, Pin, Progress, Rebuilt, Recompressed, Statistics, Tallied, Verified
from forge_p2p.store.marking import Marks, mark
from forge_p2p.store.targets import write_chunks

CHUNK_COST: Final = 400
"""Bytes a chunk costs beside its stored form: objects and the dictionary's entry."""


def _cost(chunk: EncodedChunk) -> int:
    return len(chunk.data) + CHUNK_COST


class MemoryIngest:
    """One writer's session of a `MemoryStore`."""

    def __init__(self, store: "MemoryStore", found: dict[Hash, EncodedChunk]) -> None:
        self.own = found
        self.seen: set[Hash] = set()
        self.closed = False
        self._store = store
        self._added: list[EncodedChunk] = []

    def put(self, chunks: Sequence[tuple[Hash, bytes | memoryview]], group: int | None = None) -> None:
        absent = set(self.missing(chunk for chunk, _ in chunks))
        self._take([encode(chunk, raw) for chunk, raw in dict(chunks).items() if chunk in absent])

    def put_encoded(
        self, chunks: Sequence[EncodedChunk], group: int | None = None, places: Mapping[Hash, int] | None = None
    ) -> list[bytes | memoryview]:
        raws = [decode(chunk) for chunk in chunks]
        absent = set(self.missing(chunk.hash for chunk in chunks))
        self._take([chunk for chunk in {chunk.hash: chunk for chunk in chunks}.values() if chunk.hash in absent])
        return raws

    def missing(self, hashes: Iterable[Hash]) -> list[Hash]:
        with self._store.lock:
            self._require_open()
            unique = list(dict.fromkeys(hashes))
            absent = [chunk for chunk in unique if chunk not in self.own and chunk not in self._store.chunks]
            self.seen.update(unique)
            return absent

    def held(self) -> list[Hash]:
        with self._store.lock:
            return list(self.own)

    def commit(self, pin: Pin | None = None) -> None:
        with self._store.lock:
            self._require_open()
            self.seen.update(self.own)
            self._store.adopt(self.own)
            self.own.clear()
            if pin is not None:
                self._store.pin(pin.name, pin.root, pin.keep, pin.expires)

    def statistics(self) -> Tallied:
        return _tally(self._added)

    def _take(self, chunks: list[EncodedChunk]) -> None:
        """Keeps copies: what the caller handed over may be views of its buffers."""
        with self._store.lock:
            self._require_open()
            self._store.take(sum(map(_cost, chunks)))
            for chunk in chunks:
                data = chunk.data if isinstance(chunk.data, bytes) else bytes(chunk.data)
                owned = EncodedChunk(chunk.hash, chunk.codec, chunk.size, data)
                self.own[chunk.hash] = owned
                self._added.append(owned)

    def _require_open(self) -> None:
        if self.closed:
            raise StoreError("this ingest has ended", hint="open another one")


class MemoryStore:
    """Implements `Store` within `limit` bytes of memory."""

    def __init__(self, limit: int, grace: float = 3600.0) -> None:
        self.lock = threading.RLock()
        self.chunks: dict[Hash, EncodedChunk] = {}
        self._added: dict[Hash, float] = {}
        self._limit = limit
        self._size = 0
        self._grace = grace
        self._pins: dict[str, Pin] = {}
        self._sessions: list[MemoryIngest] = []
        self._interrupted: dict[Hash, dict[Hash, EncodedChunk]] = {}
        self._epoch = 0

    def has(self, chunk: Hash) -> bool:
        return self._get(chunk) is not None

    def missing(self, hashes: Iterable[Hash]) -> list[Hash]:
        with self.lock:
            return [chunk for chunk in dict.fromkeys(hashes) if self._get(chunk) is None]

    def read(self, chunk: Hash) -> bytes:
        raw = self.read_many([chunk])[0]
        return raw if isinstance(raw, bytes) else bytes(raw)

    def read_many(self, hashes: Sequence[Hash]) -> list[bytes | memoryview]:
        raws = []
        for chunk, encoded in zip(hashes, self.read_encoded(hashes), strict=True):
            if encoded is None:
                raise NotFound(f"chunk {chunk.hex()[:16]} is not in the store", hint="fetch it from a peer")
            raws.append(decode(encoded))
        return raws

    def read_encoded(self, hashes: Sequence[Hash]) -> list[EncodedChunk | None]:
        with self.lock:
            return [self._get(chunk) for chunk in hashes]

    def copy_into(self, fd: int, chunks: Sequence[tuple[Hash, int]]) -> None:
        for chunk, offset in chunks:
            if chunk != ZERO_CHUNK:
                write_chunks(fd, [(offset, self.read(chunk))])

    def link_into(self, path: bytes, chunks: Sequence[tuple[Hash, int]]) -> bool:
        return False

    def adopt_file(self, path: bytes, chunks: Sequence[tuple[Hash, int]]) -> bool:
        return False

    @contextmanager
    def ingest(self, key: Hash | None = None) -> Iterator[MemoryIngest]:
        with self.lock:
            session = MemoryIngest(self, self._interrupted.pop(key, {}) if key else {})
            self._sessions.append(session)
        try:
            yield session
        finally:
            with self.lock:
                session.closed = True
                self._sessions.remove(session)
                self._leave(key, session.own)

    def pin(self, name: str, root: Root, keep: Keep = Keep.KEPT, expires: float = 0.0) -> None:
        with self.lock:
            self._pins[name] = Pin(name, root, keep, expires, time.time())

    def unpin(self, name: str) -> bool:
        with self.lock:
            return self._pins.pop(name, None) is not None

    def touch(self, name: str) -> bool:
        with self.lock:
            pin = self._pins.get(name)
            if pin is not None:
                self._pins[name] = replace(pin, used=time.time())
            return pin is not None

    def pins(self) -> list[Pin]:
        with self.lock:
            now = time.time()
            return sorted((pin for pin in self._pins.values() if not 0 < pin.expires <= now), key=lambda pin: pin.name)

    def statistics(self) -> Statistics:
        with self.lock:
            chunks = list(self.chunks.values())
            size = self._size
            return Statistics(
                total=_tally(chunks),
                codecs={codec.name.lower(): _tally([c for c in chunks if c.codec is codec]) for codec in Codec},
                inline_chunks=len(chunks),
                files=0,
                disk_bytes=size,
                staging=len(self._sessions) + len(self._interrupted),
                pins=len(self._pins),
                condemned=0,
                quarantined=0,
                quota=self._limit,
                free_bytes=max(0, self._limit - size),
            )

    def epoch(self) -> int:
        return self._epoch

    def collect(self, grace: float | None = None) -> Collected:
        return self._collect(self._grace if grace is None else grace)

    def _collect(self, grace: float, regardless: Collection[Hash] = frozenset()) -> Collected:
        """`regardless`: goes whatever its age."""
        with self.lock:
            kept = {pin.name: pin for pin in self.pins()}
            dropped, self._pins = len(self._pins) - len(kept), kept
            marks = Marks()
            mark(marks, kept.values(), self.read)
            if marks.incomplete:
                incomplete = [f"{name}: {reason}" for name, reason in sorted(marks.incomplete.items())]
                return Collected(0, 0, 0, dropped, incomplete)
            held = marks.reached.union(*(session.seen for session in self._sessions))
            before = time.time() - grace
            old = (chunk for chunk, added in self._added.items() if added <= before or chunk in regardless)
            doomed = [chunk for chunk in old if chunk not in held]
            self._epoch += bool(doomed)
            freed = sum(_cost(self._drop(chunk)) for chunk in doomed)
            return Collected(len(doomed), freed, 0, dropped, [])

    def verify(self, progress: Progress | None = None) -> Verified:
        with self.lock:
            chunks = list(self.chunks.values())
        corrupt = []
        for done, chunk in enumerate(chunks, 1):
            try:
                decode(chunk)
            except CorruptChunk:
                corrupt.append(chunk.hash)
            if progress is not None:
                progress(done, len(chunks))
        return Verified(len(chunks) - len(corrupt), sum(chunk.size for chunk in chunks), corrupt)

    def rebuild(self, progress: Progress | None = None) -> Rebuilt:
        """Nothing is derived here; only verifies."""
        verified = self.verify(progress)
        return Rebuilt(0, verified.chunks, verified.bytes, [], [])

    def recompress(self, older_than: float, seconds: float) -> Recompressed:
        """Memory is for what is hot: nothing to do."""
        return Recompressed(0, 0, done=True)

    def close(self) -> None:
        """Nothing to close; what is stored goes with the object."""

    def adopt(self, chunks: dict[Hash, EncodedChunk]) -> None:
        """What a session commits. The caller holds the lock."""
        now = time.time()
        for chunk, encoded in chunks.items():
            if self.chunks.setdefault(chunk, encoded) is not encoded:
                self._size -= _cost(encoded)
            self._added.setdefault(chunk, now)

    def take(self, size: int) -> None:
        """Counts `size` bytes that come in; raises `DiskFull` if there is no room. The caller holds the lock."""
        if self._size + size > self._limit:
            self._make_room(size)
        self._size += size

    def _make_room(self, size: int) -> None:
        self._collect(self._grace)
        cached = sorted((pin for pin in self._pins.values() if pin.keep is Keep.CACHED), key=lambda pin: pin.used)
        for pin in cached:
            if self._size + size <= self._limit:
                return
            marks = Marks()
            mark(marks, [pin], self.read)
            self.unpin(pin.name)
            self._collect(self._grace, marks.reached)
        if self._size + size > self._limit:
            pinned = ", ".join(sorted(self._pins)[:3]) or "nothing"
            raise DiskFull(
                f"the store in memory is full: {self._size} of {self._limit} bytes, {size} more are needed; "
                f"pinned: {pinned}",
                hint="remove pins or allow it more memory",
            )

    def _get(self, chunk: Hash) -> EncodedChunk | None:
        found = self.chunks.get(chunk)
        if found is None:
            for session in self._sessions:
                found = found or session.own.get(chunk)
        return found

    def _drop(self, chunk: Hash) -> EncodedChunk:
        del self._added[chunk]
        dropped = self.chunks.pop(chunk)
        self._size -= _cost(dropped)
        return dropped

    def _leave(self, key: Hash | None, own: dict[Hash, EncodedChunk]) -> None:
        """What a session has not committed is kept for the next one of its key, or goes."""
        kept = self._interrupted.setdefault(key, {}) if key and own else {}
        for chunk, encoded in own.items():
            if not key or chunk in kept:
                self._size -= _cost(encoded)
            kept.setdefault(chunk, encoded)


def _tally(chunks: list[EncodedChunk]) -> Tallied:
    return Tallied(len(chunks), sum(chunk.size for chunk in chunks), sum(len(chunk.data) for chunk in chunks))
