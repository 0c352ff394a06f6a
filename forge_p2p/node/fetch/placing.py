"""Where a chunk goes when it arrives: into the store, and from the same buffer into every file that waits for it.

Everything here blocks and runs in worker threads, a batch at a time. A chunk is verified once, by the store as it takes
it in; what is written to the destination is what the store verified.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import CorruptChunk, Malformed, NotFound
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.fetch.bases import Bases
from forge_p2p.store.base import Ingest, Store

if TYPE_CHECKING:
    from forge_p2p.workspace.replaced import ReplacedFile

Raw = bytes | memoryview

BATCH_BYTES = 4 * 1024 * 1024
"""Read from the store at once."""


class LargeFile(Protocol):
    """A file at the destination that is written in pieces."""

    def write_at(self, offset: int, buffers: Sequence[Raw]) -> None: ...

    def fileno(self) -> int: ...

    @property
    def failed(self) -> bool: ...

    def finish(self) -> None: ...


class Destination(Protocol):
    """Where files are restored to; see `workspace.restore`."""

    def write_batch(self, files: Sequence[tuple[Entry, Raw]]) -> None: ...

    def open_large(self, entry: Entry) -> LargeFile: ...


@dataclass(slots=True)
class NodeTarget:
    """A list node or a piece of a listing that the fetch itself reads: kept in memory until taken."""

    content: Raw | None = None


class SmallTarget(msgspec.Struct, frozen=True):
    """A file of one chunk."""

    entry: Entry


@dataclass(slots=True)
class LargeTarget:
    """A file of many chunks, `remaining` bytes of it still to be placed. `group` keeps them together in the store.
    `replaced`: where those that the store has are looked for first."""

    entry: Entry
    group: int
    remaining: int
    replaced: "ReplacedFile | None" = None
    file: LargeFile | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class KeptTarget:
    """Content that is wanted in the store and nowhere else. `group` as that of a large file. `laid_out`: so that the
    store can give it out as a file."""

    group: int | None = None
    laid_out: bool = False


class Slot(msgspec.Struct, frozen=True):
    """Where in a target a chunk belongs; `offset` is 0 but for large files. `size`: what the list that names the chunk
    says of it, 0 where none says."""

    target: NodeTarget | SmallTarget | LargeTarget | KeptTarget
    offset: int = 0
    size: int = 0


class Arrival(msgspec.Struct, frozen=True):
    """A chunk from a peer, the group that the store keeps it with, and its place in that if it is laid out."""

    chunk: EncodedChunk
    group: int | None = None
    place: int | None = None


Stored = tuple[Hash, int, Slot]
"""A chunk that the store has, its raw size, and where it is wanted."""


class Placer:
    """Takes arrivals in, and puts what was there already in place. Safe from several threads. `destination` is set
    before the first file is wanted. `poisoners`: those whose deltas are not trusted; more may be added."""

    def __init__(self, store: Store, ingest: Ingest, poisoners: set[NodeId] | None = None) -> None:
        self.destination: Destination | None = None
        self._store = store
        self._ingest = ingest
        self._poisoners = set() if poisoners is None else poisoners

    def bases(self) -> Bases:
        """What is here already and may be like what is to come."""
        return Bases(self._store, self._poisoners)

    def store(self, arrivals: Sequence[Arrival]) -> list[Raw]:
        """Verifies and stores chunks from a peer; returns their content. From here on a kill does not lose them. Raises
        `CorruptChunk`, `DiskError`."""
        by_group: dict[tuple[int | None, bool], list[int]] = defaultdict(list)
        for at, arrival in enumerate(arrivals):
            by_group[arrival.group, arrival.place is not None].append(at)
        found: dict[int, Raw] = {}
        for (group, _), members in by_group.items():
            some = [arrivals[at] for at in members]
            places = {each.chunk.hash: each.place for each in some if each.place is not None}
            contents = self._ingest.put_encoded([each.chunk for each in some], group, places or None)
            found.update(zip(members, contents, strict=True))
        return [found[at] for at in range(len(arrivals))]

    def place(self, contents: Sequence[tuple[Slot, Raw]]) -> None:
        """Puts stored content where it is waited for. Raises `DiskError`."""
        small: list[tuple[Entry, Raw]] = []
        runs: dict[int, list[tuple[Slot, Raw]]] = defaultdict(list)
        for slot, content in contents:
            if isinstance(slot.target, SmallTarget):
                small.append((slot.target.entry, content))
            elif isinstance(slot.target, LargeTarget):
                runs[id(slot.target)].append((slot, content))
            elif isinstance(slot.target, NodeTarget):
                slot.target.content = content
        if small and self.destination is not None:
            self.destination.write_batch(small)
        for parts in runs.values():
            self._write_large(parts)

    def place_stored(self, chunks: Sequence[Stored]) -> list[Stored]:
        """Places chunks that the store has already; large files are filled by the kernel where it can. Returns those
        that turned out to be damaged or gone, unplaced."""
        by_file: dict[int, list[Stored]] = defaultdict(list)
        whole: list[Stored] = []
        for chunk in chunks:
            if isinstance(chunk[2].target, LargeTarget):
                by_file[id(chunk[2].target)].append(chunk)
            elif not isinstance(chunk[2].target, KeptTarget):
                whole.append(chunk)
        lost = self._read(whole)
        for parts in by_file.values():
            if not self._copy(parts):
                lost += [part for part in parts if not self._copy([part])]
        return lost

    def _read(self, chunks: Sequence[Stored]) -> list[Stored]:
        """Places whole contents, about `BATCH_BYTES` at a time. Returns those that are damaged or gone."""
        lost: list[Stored] = []
        batch: list[Stored] = []
        size = 0
        for chunk in (*chunks, None):
            if chunk is not None:
                batch.append(chunk)
                size += chunk[1]
            if batch and (chunk is None or size >= BATCH_BYTES):
                if not self._read_batch(batch):
                    lost += [single for single in batch if not self._read_batch([single])]
                batch, size = [], 0
        return lost

    def _read_batch(self, batch: Sequence[Stored]) -> bool:
        """Places a batch; whether all of it was good. If not, none of it is placed."""
        try:
            contents = self._store.read_many([chunk for chunk, _, _ in batch])
        except (CorruptChunk, NotFound):
            return False
        self.place([(slot, content) for (_, _, slot), content in zip(batch, contents, strict=True)])
        return True

    def _copy(self, parts: Sequence[Stored]) -> bool:
        """Fills parts of one large file from the store; whether all of them were good."""
        target = parts[0][2].target
        if not isinstance(target, LargeTarget):
            raise TypeError(target)
        file = self._open(target)
        places = [(chunk, size, slot.offset) for chunk, size, slot in parts]
        try:
            if target.replaced is not None and not file.failed:
                places = target.replaced.copy_into(file, places)
            if not file.failed:
                self._store.copy_into(file.fileno(), [(chunk, offset) for chunk, _, offset in places])
        except (CorruptChunk, NotFound):
            return False
        self._count(target, sum(size for _, size, _ in parts))
        return True

    def _write_large(self, parts: list[tuple[Slot, Raw]]) -> None:
        """Writes chunks of one file, adjacent ones in one call."""
        parts.sort(key=lambda part: part[0].offset)
        target = parts[0][0].target
        if not isinstance(target, LargeTarget):
            return
        file = self._open(target)
        buffers: list[Raw] = []
        start = end = parts[0][0].offset
        for slot, content in parts:
            if slot.offset != end:
                file.write_at(start, buffers)
                start, buffers = slot.offset, []
            buffers.append(content)
            end = slot.offset + len(content)
        file.write_at(start, buffers)
        self._count(target, sum(len(content) for _, content in parts))

    def _open(self, target: LargeTarget) -> LargeFile:
        with target.lock:
            if target.file is None:
                if self.destination is None:
                    raise ValueError("a large file needs a destination")
                target.file = self.destination.open_large(target.entry)
            return target.file

    def _count(self, target: LargeTarget, size: int) -> None:
        with target.lock:
            target.remaining -= size
            done = target.remaining == 0
        if done and target.file is not None:
            target.file.finish()


def check_size(chunk: EncodedChunk, slot: Slot) -> None:
    """Raises `Malformed` for a chunk that is right and has another size than the list says that names it."""
    if slot.size and slot.size != chunk.size:
        raise Malformed(
            f"chunk {chunk.hash.hex()[:16]} has {chunk.size} bytes, its list says {slot.size}",
            hint="ask for a new ticket",
        )


def arrival(chunk: EncodedChunk, slots: Sequence[Slot]) -> Arrival:
    """A chunk that `slots` wait for; with the large file among them, if there is one."""
    for slot in slots:
        target = slot.target
        if isinstance(target, KeptTarget) and target.laid_out:
            # What is longer than its list says would reach into others.
            return Arrival(chunk, target.group, slot.offset) if slot.size == chunk.size else Arrival(chunk)
        if isinstance(target, LargeTarget | KeptTarget):
            return Arrival(chunk, target.group)
    return Arrival(chunk)
