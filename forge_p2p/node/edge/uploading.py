"""A root's content to the bucket: what it lacks, in bundles, and one record of the catalogue that says so.

    reach -> what the bucket lacks -> bundles, a few at once -> index -> record put if absent

Until the record is there nothing of it counts. A push that was cut finds its bundles again by notes in the cache. What
others drop meanwhile is noticed by whoever writes the next record, and is uploaded again: see `content.catalogue`.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from forge_p2p.bucket.base import blob_key
from forge_p2p.content.bundle import (
    NONCE_SIZE,
    Bundle,
    BundleBuilder,
    Held,
    decode_index,
    encode_index,
    hashes_of,
)
from forge_p2p.content.catalogue import BlobName, CatalogueRecord, IndexEntry, PinEntry, State
from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.summary import CAPACITY_MAX, CAPACITY_MIN, Summary
from forge_p2p.content.walk import reach
from forge_p2p.errors import Malformed, NotFound
from forge_p2p.ids import Hash, prefix_of
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.records import newest_first, write_record
from forge_p2p.store.base import Store

AT_ONCE: Final = 3
"""Bundles that are uploaded at the same time; each is in memory meanwhile."""

READ_CHUNKS: Final = 64
"""Chunks read from the store in one call: at most 16 MiB."""

SUMMARY_ROWS: Final = 4096
"""Indexes from this many rows on (200 KB) get a summary, a twentieth of their size."""

RECORD_BUNDLES: Final = 64
"""Bundles after which what is there so far gets a record of its own: 1.5 GB, of which no interruption takes
anything."""

Tell = Callable[[int, int], None]
"""Called with the chunks that are done and how many there are."""


@dataclass(slots=True)
class Uploaded:
    """What an upload did: chunks in all, and those that were not there; the number of the record that says so."""

    chunks: int = 0
    new_chunks: int = 0
    new_bytes: int = 0
    """Stored bytes."""
    bundles: int = 0
    seq: int = 0
    unchanged: bool = False


@dataclass(slots=True)
class Uploader:
    """One upload of `root`, which is in `store`, kept in the bucket under the pin `name`; `unpins` go with it."""

    edge: Edge
    store: Store
    root: Root
    name: str
    unpins: Callable[[State], list[str]] = lambda _: []
    tell: Tell = lambda done, total: None
    record: bytes = b""
    """Of a name the record that `root` is the target of."""
    again: bool = False
    """Although it is pinned already, for something of it may have been lost."""
    done: Uploaded = field(default_factory=Uploaded)
    _held: dict[str, Held] = field(default_factory=dict)
    """Bundles of ours that no record names yet."""
    _own: dict[Hash, str] = field(default_factory=dict)
    """The chunks in them."""

    def run(self) -> Uploaded:
        """Returns when everything is in the bucket and a record says so. Raises `NotFound` if the content is not here,
        `BucketError`, `BucketRefused`, `DiskFull`, `Malformed`."""
        catalogue = self.edge.catalogue
        if not self.again and self._is_pinned(catalogue.state) and self._is_pinned(catalogue.refresh()):
            self.done.unchanged = True
            self.done.seq = catalogue.state.seq
            return self.done
        needed = list(dict.fromkeys(reach(self.root, self.store.read)))
        self.done.chunks = len(needed)
        self._recover()
        while True:
            missing = self._missing(catalogue.state, needed)
            self._upload(missing)
            index = self._write_index()
            record = catalogue.commit(lambda state, index=index: self._step(state, needed, index))  # type: ignore[misc]
            if record is not None:
                break
        self.done.seq = record.seq
        self._forget(list(self._held))
        return self.done

    def _is_pinned(self, state: State) -> bool:
        pin = state.pins.get(self.name)
        return pin is not None and (pin.root, pin.record) == (format_link(self.root), self.record)

    def _missing(self, state: State, needed: Sequence[Hash]) -> list[Hash]:
        """What is neither in the bucket nor in a bundle of ours that is still good."""
        gone = [blob for blob in self._held if blob in state.ever_dropped]
        for blob in gone:
            del self._held[blob]
        self._own = {chunk: blob for chunk, blob in self._own.items() if blob in self._held}
        there = self.edge.catalogue.locate(chunk for chunk in needed if chunk not in self._own)
        return [chunk for chunk in needed if chunk not in self._own and chunk not in there]

    def _step(self, state: State, needed: Sequence[Hash], index: list[IndexEntry]) -> CatalogueRecord | None:
        """The record that says that all is there; `None` if others have dropped some of it meanwhile."""
        if self._missing(state, needed) or any(each.index.blob in state.ever_dropped for each in index):
            return None
        pin = PinEntry(self.name, format_link(self.root), time.time(), self.record)
        unpins: list[object] = list(self.unpins(state))
        return self.edge.catalogue.record(state, indexes=[*index], pins=[pin], unpins=unpins)

    # Bundles

    def _upload(self, missing: Sequence[Hash]) -> None:
        waiting: set[Future[Bundle]] = set()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for builder in self._bundles(missing):
                    if len(waiting) >= AT_ONCE:
                        waiting = self._landed(waiting)
                    waiting.add(pool.submit(self._put_bundle, builder))
                while waiting:
                    waiting = self._landed(waiting)
            finally:
                for each in waiting:
                    each.cancel()

    def _bundles(self, missing: Sequence[Hash]) -> Iterator[BundleBuilder]:
        builder = BundleBuilder(os.urandom(NONCE_SIZE))
        for start in range(0, len(missing), READ_CHUNKS):
            part = missing[start : start + READ_CHUNKS]
            for name, chunk in zip(part, self.store.read_encoded(part), strict=True):
                if chunk is None:
                    raise NotFound(
                        f"chunk {name.hex()[:16]} of the content is not in the store, or damaged there",
                        hint="get it first: forge get LINK DEST",
                    )
                builder.add(chunk)
                self.done.new_bytes += len(chunk.data)
                if builder.full:
                    yield builder
                    builder = BundleBuilder(os.urandom(NONCE_SIZE))
        if not builder.empty:
            yield builder

    def _put_bundle(self, builder: BundleBuilder) -> Bundle:
        bundle = builder.finish()
        self.edge.bucket.put_if_absent(blob_key(bundle.name), bundle.data)
        return bundle

    def _landed(self, waiting: set[Future[Bundle]]) -> set[Future[Bundle]]:
        """Takes in what has been uploaded; what is left. Raises what the uploads did."""
        landed, left = wait(waiting, return_when=FIRST_COMPLETED)
        for each in landed:
            bundle = each.result()
            held = Held(bundle.name, len(bundle.data), bundle.rows)
            self._note(held)
            self._take(held)
            self.done.bundles += 1
            self.done.new_chunks += bundle.count
            self.tell(self.done.new_chunks, self.done.chunks)
        if len(self._held) >= RECORD_BUNDLES:
            self._record_so_far()
        return left

    def _take(self, held: Held) -> None:
        self._held[held.name.hex()] = held
        self._own.update((chunk, held.name.hex()) for chunk in hashes_of(held.rows))

    # Indexes

    def _record_so_far(self) -> None:
        """A record of what has been uploaded. Nothing keeps it yet; if it is collected, it is uploaded again."""
        index = self._write_index()
        blobs = set(self._held)

        def step(state: State) -> CatalogueRecord | None:
            if blobs & state.ever_dropped or any(each.index.blob in state.ever_dropped for each in index):
                return None
            return self.edge.catalogue.record(state, indexes=[*index])

        if self.edge.catalogue.commit(step) is not None:
            self._forget(list(blobs))
            self._held.clear()
            self._own.clear()

    def _write_index(self) -> list[IndexEntry]:
        return [write_index(self.edge, list(self._held.values()))] if self._held else []

    # Notes of what was uploaded and is in no record yet

    @property
    def _notes(self) -> Path | None:
        return self.edge.cache / "pending" if self.edge.cache is not None else None

    def _note(self, held: Held) -> None:
        if self._notes is not None:
            try:
                write_record(self._notes / held.name.hex(), encode_index([held], bytes(NONCE_SIZE)), durable=False)
            except OSError:
                return  # it would only save uploading it again

    def _forget(self, blobs: Sequence[str]) -> None:
        for blob in blobs:
            if self._notes is not None:
                (self._notes / blob).unlink(missing_ok=True)

    def _recover(self) -> None:
        """Takes in the bundles of a push that was cut and that are still there."""
        if self._notes is None or not self._notes.is_dir():
            return
        state = self.edge.catalogue.state
        for file in newest_first(self._notes):
            try:
                (held,) = decode_index(file.read_bytes())
            except (OSError, Malformed, ValueError):
                held = None
            if held is not None and file.name not in state.ever_dropped and file.name not in state.bundles:
                found = self.edge.bucket.head(blob_key(file.name))
                if found is not None and found.size == held.size:
                    self._take(held)
                    continue
            self._forget([file.name])


def write_index(edge: Edge, bundles: Sequence[Held]) -> IndexEntry:
    """Uploads an index of bundles, and its summary if it is large."""
    data = encode_index(bundles, os.urandom(NONCE_SIZE))
    rows = sum(each.count for each in bundles)
    summary = None
    if rows >= SUMMARY_ROWS:
        bits = Summary(int.from_bytes(os.urandom(8)), min(max(rows, CAPACITY_MIN), CAPACITY_MAX))
        for each in bundles:
            bits.add(map(prefix_of, hashes_of(each.rows)))
        summary = edge.catalogue.put_blob(bits.encode())
    return IndexEntry(
        edge.catalogue.put_blob(data), rows, [BlobName(each.name.hex(), each.size) for each in bundles], summary
    )
