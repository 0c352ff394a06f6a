"""What a store is: the interface that every backend and every wrapper has.

All calls block and are safe from any thread; async code calls them in a worker thread, a batch at a time (a thread hop
per chunk would cost more than the chunk). Errors: `CorruptChunk`, `DiskError`, `DiskFull`, `StoreError`; a chunk that
is not here is `None` or `NotFound`, as the call says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.link import Root
from forge_p2p.ids import Hash

Heal = Callable[[Sequence[Hash]], None]
"""Called with the hashes that were just quarantined; must not block (it queues a refetch)."""


LAYOUT_MAX: Final = 1 << 30
"""Bytes of the longest content that is laid out as it arrives: it has a data file that is not begun anew when it is
large, and what lies in that is in memory meanwhile."""


class Keep(Enum):
    """How long a pin holds: `KEPT` until it is removed; `CACHED` until the quota needs the room, oldest use first."""

    KEPT = "kept"
    CACHED = "cached"


@dataclass(frozen=True, slots=True)
class Pin:
    """A name that keeps everything under `root` alive in the store. `expires` and `used`: Unix seconds, 0 = never."""

    name: str
    root: Root
    keep: Keep
    expires: float
    used: float


@dataclass(frozen=True, slots=True)
class Tallied:
    """How many chunks, their raw bytes, and the bytes of their stored forms."""

    chunks: int
    raw_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a store holds. Cheap: counters, never a scan."""

    total: Tallied
    codecs: dict[str, Tallied]
    """By codec's name, lower case."""
    inline_chunks: int
    files: int
    """Data files."""
    disk_bytes: int
    """Bytes taken on disk, what is dead or still arriving included; of a memory store, in memory."""
    staging: int
    """Folders of running or interrupted ingests."""
    pins: int
    condemned: int
    quarantined: int
    """Chunks that were found damaged and have not come back."""
    quota: int
    """Bytes; 0 = none."""
    free_bytes: int
    """Of the file system the store lies on."""
    hot_bytes: int = 0
    hot_hits: int = 0
    hot_misses: int = 0


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did. `condemned` chunks wait for a writer to end; `incomplete` pins reach something that is
    not here: until that is healed or the pin removed, nothing is collected."""

    chunks: int
    freed_bytes: int
    condemned: int
    dropped_pins: int
    incomplete: list[str]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a full scan found: chunks and raw bytes that are right, and the chunks that are now in quarantine."""

    chunks: int
    bytes: int
    corrupt: list[Hash]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What an index was rebuilt from: data files, and the chunks and raw bytes that are right, in them and elsewhere.
    `lost` names data files that nothing true is known about and that were set aside; `pins` those that were salvaged
    from a broken database and may be older than what was in it."""

    files: int
    chunks: int
    bytes: int
    lost: list[str]
    pins: list[str]


@dataclass(frozen=True, slots=True)
class Recompressed:
    """Chunks that became smaller, by how many bytes, and whether nothing is left to do."""

    chunks: int
    saved_bytes: int
    done: bool


Progress = Callable[[int, int], None]
"""Called now and then with `(done, total)`: chunks in `verify`, bytes in `rebuild`."""


class Ingest(Protocol):
    """One writer's session: a lease from start to end, so that nothing it has seen or put is collected meanwhile.

    Set the pin that keeps the content before the session ends; after it nothing else holds what was there already.
    """

    def put(self, chunks: Sequence[tuple[Hash, bytes | memoryview]], group: int | None = None) -> None:
        """Stores raw content whose hash the caller computed. Chunks of one large content share a `group`, and with it
        a data file; `None` leaves the choice to the store."""

    def put_encoded(
        self, chunks: Sequence[EncodedChunk], group: int | None = None, places: Mapping[Hash, int] | None = None
    ) -> list[bytes | memoryview]:
        """Stores chunks as a peer sent them and returns their raw bytes. Verifies each against its hash first; on the
        first that fails nothing of this call is stored and `CorruptChunk` names it. `places`: the offset of each in the
        content that is the group, of at most `LAYOUT_MAX` bytes; they are laid out as they lie there, so that
        `link_into` finds the content when all of it was put like this. No two may overlap, by their raw sizes."""

    def missing(self, hashes: Iterable[Hash]) -> list[Hash]:
        """Which of these are neither stored nor already put here, in order, once each. What is present stays so until
        this ingest ends."""

    def held(self) -> list[Hash]:
        """What was received and is not committed yet: at first, what an interrupted session of the same key left."""

    def commit(self, pin: Pin | None = None) -> None:
        """Makes durable all that was put, and with it `pin`, in one step. Until then a crash may lose it, never corrupt
        it. More may be put and committed afterwards. If it fails, what it reports as dropped has to be put again."""

    def statistics(self) -> Tallied:
        """What this session has added: chunks that were in the store already do not count."""


class Store(Protocol):
    """A content-addressed chunk store. Every read is verified before it is returned."""

    def has(self, chunk: Hash) -> bool: ...

    def missing(self, hashes: Iterable[Hash]) -> list[Hash]:
        """Those not stored, in order, once each. A hint: another process may collect at any time; see `Ingest`."""

    def read(self, chunk: Hash) -> bytes:
        """Raw content. Raises `NotFound`, or `CorruptChunk` after quarantining what is rotten."""

    def read_many(self, hashes: Sequence[Hash]) -> list[bytes | memoryview]:
        """As `read`, for a batch that the caller bounds: much cheaper than one by one."""

    def read_encoded(self, hashes: Sequence[Hash]) -> list[EncodedChunk | None]:
        """Chunks in the form they are stored in, checked by XXH3, never decompressed. `None`: not here, or rotten and
        now in quarantine. The caller bounds the batch."""

    def copy_into(self, fd: int, chunks: Sequence[tuple[Hash, int]]) -> None:
        """Writes each chunk's raw content at its offset of an open file, verified, by the kernel where the form and
        the file system allow it. Raises as `read`, naming the chunk."""

    def link_into(self, path: bytes, chunks: Sequence[tuple[Hash, int]]) -> bool:
        """Makes `path`, where nothing is, a read-only file of these chunks, given with their sizes, one after the
        other, without copying any: if they lie like that in one file of the store. Whether it did. What lies there is
        not verified, but where a chunk comes again, and all of it where somebody has written to the file since: whoever
        needs more reads the file."""

    def adopt_file(self, path: bytes, chunks: Sequence[tuple[Hash, int]]) -> bool:
        """Takes a file that holds exactly these chunks for the place where the store has them, so that `link_into` will
        find them there. Verified first. Makes the file read-only and shares it; whether it did. Chunks that the store
        does not have stay unknown to it."""

    def ingest(self, key: Hash | None = None) -> AbstractContextManager[Ingest]:
        """Opens a writer's session. With a `key` (the root being fetched), what an interrupted session of the same key
        had received is found again, verified, and counts as present."""

    def pin(self, name: str, root: Root, keep: Keep = Keep.KEPT, expires: float = 0.0) -> None: ...

    def unpin(self, name: str) -> bool: ...

    def touch(self, name: str) -> bool:
        """Marks a pin as used now; whether there is one."""

    def pins(self) -> list[Pin]:
        """All that have not expired."""

    def statistics(self) -> Statistics: ...

    def epoch(self) -> int:
        """A number that changes before anything is collected, by whatever process: as long as it is the same, nothing
        has gone but what is rotten."""

    def collect(self, grace: float | None = None) -> Collected:
        """Removes expired pins, then what no pin reaches, no ingest uses and is older than `grace` seconds (`None`:
        as configured). Writers go on meanwhile."""

    def verify(self, progress: Progress | None = None) -> Verified:
        """Reads and verifies everything; quarantines what is rotten."""

    def rebuild(self, progress: Progress | None = None) -> Rebuilt:
        """Makes what is derived anew from what is not, believing only what verifies."""

    def recompress(self, older_than: float, seconds: float) -> Recompressed:
        """Compresses harder what is older than this many seconds; stops after about `seconds`."""

    def close(self) -> None: ...
