"""The catalogue of one bucket: read, kept in a cache, added to; and where each chunk is.

A reader that was here before asks for the records since then: one request. What it finds out is kept in a folder of its
own, from which only what verifies is believed.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from forge_p2p.bucket.base import CHECKPOINTS, INDEX, Bucket, blob_key, seq_of, step_key
from forge_p2p.content.bundle import Slice, decode_index, hashes_of, slice_at
from forge_p2p.content.catalogue import (
    FORMAT,
    BlobName,
    CatalogueRecord,
    Checkpoint,
    IndexEntry,
    State,
    decode_checkpoint,
    decode_step,
    encode,
)
from forge_p2p.content.link import hash_bytes
from forge_p2p.content.summary import Summary, decode_summary
from forge_p2p.errors import BucketError, CorruptChunk, Malformed, NoSuchObject
from forge_p2p.ids import Hash, prefix_of

AT_ONCE: Final = 16
"""Records or indexes that are read at the same time."""

CHECKPOINT_AFTER: Final = 64
"""Records after which whoever writes the next writes a checkpoint, too."""

TRIES: Final = 64
"""Records that may come first, one after the other."""

Build = Callable[[State], CatalogueRecord | None]
"""From the newest state to the record that is to follow; `None`: nothing is to be written after all."""


class Index:
    """An index blob, looked into."""

    def __init__(self, data: bytes) -> None:
        self.bundles = decode_index(data)
        self._at: dict[Hash, tuple[int, int]] = {}
        for number, bundle in enumerate(self.bundles):
            self._at.update((chunk, (number, row)) for row, chunk in enumerate(hashes_of(bundle.rows)))

    def find(self, chunk: Hash) -> Slice | None:
        """Where it is. Raises `Malformed`."""
        at = self._at.get(chunk)
        if at is None:
            return None
        bundle = self.bundles[at[0]]
        return slice_at(bundle.name, bundle.size, bundle.rows, at[1])

    @property
    def chunks(self) -> Iterable[Hash]:
        return self._at


class Catalogue:
    """`origin` is asked for records, `reads` for blobs. `cache`: a folder, or `None`. `by`: who writes, for people."""

    def __init__(self, origin: Bucket, reads: Bucket, cache: Path | None, by: str = "") -> None:
        self._origin = origin
        self._reads = reads
        self._cache = cache
        self._by = by
        self._lock = threading.RLock()
        self._state: State | None = None
        self._checkpoint_seq = 0
        self._indexes: dict[str, Index] = {}
        self._summaries: dict[str, Summary] = {}

    # The state

    @property
    def state(self) -> State:
        """As it was last seen."""
        with self._lock:
            if self._state is None:
                self._state = self._cached() or self._from_checkpoint()
            return self._state

    def refresh(self) -> State:
        """Reads the records that have come since. Raises `BucketError`, `Malformed`."""
        with self._lock:
            state = self.state
            known = step_key(INDEX, state.seq) if state.seq else ""
            found = [seq_of(meta.key) for meta in self._origin.list(INDEX, known)]
            self._read_steps(state, [seq for seq in found if seq > state.seq])
            return state

    def commit(self, build: Build) -> CatalogueRecord | None:
        """Adds a record: asks `build`, and asks again on top of what others wrote meanwhile. Raises what `build`
        does."""
        with self._lock:
            for _ in range(TRIES):
                record = build(self.state)
                if record is None:
                    return None
                if self._origin.put_if_absent(step_key(INDEX, record.seq), encode(record)):
                    self.state.apply(record)
                    self._wrote(self.state)
                    return record
                self.refresh()
        raise BucketError(
            f"{TRIES} others wrote into the catalogue of {self._origin.where} first, one after the other",
            hint="try again in a moment; what was uploaded is used then",
        )

    def record(self, state: State, **what: list[object]) -> CatalogueRecord:
        """The next record after `state`, by this node, now."""
        return CatalogueRecord(FORMAT, state.seq + 1, time.time(), self._by, **what)  # type: ignore[arg-type]

    def write_checkpoint(self) -> Checkpoint:
        """Writes the present state, so that readers begin here."""
        with self._lock:
            checkpoint = self.state.checkpoint()
            if self._checkpoint_seq != checkpoint.seq:
                self._origin.put_if_absent(step_key(CHECKPOINTS, checkpoint.seq), encode(checkpoint))
                self._checkpoint_seq = checkpoint.seq
            return checkpoint

    def _wrote(self, state: State) -> None:
        self._save(state)
        if state.seq % CHECKPOINT_AFTER == 0:
            self.write_checkpoint()

    def _from_checkpoint(self) -> State:
        """The newest checkpoint, or nothing: records are read from there on."""
        newest = max((seq_of(meta.key) for meta in self._origin.list(CHECKPOINTS)), default=0)
        if newest:
            try:
                checkpoint = decode_checkpoint(self._origin.get(step_key(CHECKPOINTS, newest)))
            except (NoSuchObject, Malformed):
                return State()  # deleted just now, or damaged: the records themselves are there
            if checkpoint.seq == newest:
                self._checkpoint_seq = newest
                return State.resumed(checkpoint)
        return State()

    def _read_steps(self, state: State, seqs: Sequence[int]) -> None:
        if seqs != list(range(state.seq + 1, state.seq + 1 + len(seqs))):
            raise BucketError(
                f"the catalogue of {self._origin.where} has a gap after record {state.seq}",
                hint="objects of index/ were deleted: bring them back, or push to another prefix",
            )
        with ThreadPoolExecutor(AT_ONCE) as pool:
            keys = [step_key(INDEX, seq) for seq in seqs]
            for seq, data in zip(seqs, pool.map(self._origin.get, keys), strict=True):
                state.apply(decode_step(data, seq))
        if seqs:
            self._save(state)

    # Chunks

    def locate(self, chunks: Iterable[Hash]) -> dict[Hash, Slice]:
        """Where chunks are; those that are nowhere are left out. Raises `BucketError`."""
        wanted = set(chunks)
        found: dict[Hash, Slice] = {}
        with self._lock:
            state = self.state
            entries = sorted(state.indexes.values(), key=self._loaded, reverse=True)
            for entry in entries:
                asked = self._perhaps(entry, wanted)
                if not asked:
                    continue
                index = self.index(entry)
                for chunk in asked:
                    at = index.find(chunk)
                    if at is not None and at.bundle.hex() not in state.dropped:
                        found[chunk] = at
                        wanted.discard(chunk)
                if not wanted:
                    break
        return found

    def lacks(self, chunks: Iterable[Hash]) -> list[Hash]:
        """Those that are certainly not there. Costs no request once the summaries are here."""
        left = list(dict.fromkeys(chunks))
        with self._lock:
            for entry in self.state.indexes.values():
                there = set(self._perhaps(entry, left))
                left = [chunk for chunk in left if chunk not in there]
                if not left:
                    break
        return left

    def _loaded(self, entry: IndexEntry) -> bool:
        return entry.index.blob in self._indexes

    def _perhaps(self, entry: IndexEntry, chunks: Iterable[Hash]) -> list[Hash]:
        """Those of `chunks` that may be in an index; asks its summary, if it has one and is not here itself."""
        wanted = list(chunks)
        if self._loaded(entry) or entry.summary is None:
            index = self.index(entry)
            return [chunk for chunk in wanted if index.find(chunk) is not None]
        summary = self._summaries.get(entry.index.blob)
        if summary is None:
            summary = self._summaries[entry.index.blob] = decode_summary(self.blob(entry.summary))
        likely = set(summary.among(map(prefix_of, wanted)))
        return [chunk for chunk in wanted if prefix_of(chunk) in likely]

    def index(self, entry: IndexEntry) -> Index:
        """An index, read on first use."""
        with self._lock:
            index = self._indexes.get(entry.index.blob)
            if index is None:
                index = self._indexes[entry.index.blob] = Index(self.blob(entry.index))
            return index

    def every_index(self) -> dict[str, Index]:
        """All indexes, by the hex of their hash."""
        with self._lock:
            return {blob: self.index(entry) for blob, entry in self.state.indexes.items()}

    def blob(self, name: BlobName) -> bytes:
        """A blob, verified; from the cache, the CDN or the bucket. Raises `BucketError`, `CorruptChunk`."""
        kept = self._cache / name.blob if self._cache is not None else None
        if kept is not None and kept.is_file():
            data = kept.read_bytes()
            if hash_bytes(data).hex() == name.blob:
                return data
        for bucket in (self._reads, self._origin):
            data = bucket.get(blob_key(name.blob))
            if hash_bytes(data).hex() == name.blob:
                self._keep(name.blob, data)
                return data
        raise CorruptChunk(
            f"{blob_key(name.blob)} in {self._origin.where} is damaged: its content does not match its name",
            hint="forge edge check --repair puts it right from what is here",
        )

    def put_blob(self, data: bytes) -> BlobName:
        """Writes a blob under its hash."""
        name = hash_bytes(data).hex()
        self._origin.put_if_absent(blob_key(name), data)
        self._keep(name, data)
        return BlobName(name, len(data))

    # The cache: whatever goes wrong with it costs a request

    def _cached(self) -> State | None:
        if self._cache is None:
            return None
        try:
            return State.resumed(decode_checkpoint((self._cache / "state").read_bytes()))
        except (OSError, Malformed):
            return None

    def _save(self, state: State) -> None:
        self._keep("state", encode(state.checkpoint()))

    def _keep(self, name: str, data: bytes) -> None:
        if self._cache is None:
            return
        try:
            self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self._cache / f".{name}.{threading.get_ident()}.{time.monotonic_ns()}"
            temporary.write_bytes(data)
            temporary.replace(self._cache / name)
        except OSError:
            return

    def forget(self) -> None:
        """Reads everything anew from the bucket."""
        with self._lock:
            self._state = self._from_checkpoint()
            self._indexes.clear()
            self._summaries.clear()
