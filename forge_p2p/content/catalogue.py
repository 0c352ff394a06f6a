"""The catalogue of a bucket: which bundles there are, what is kept, and what nobody may rely on any more.

It is a log, like that of a name: its only write is put-if-absent of record `seq+1`. The state is what all records say
one after the other; a checkpoint is the state as of one record, so that a reader need not begin at the first.
Everything that has to be decided between several who write, push and collect, is decided by who gets the next record:
whoever loses reads what the other has written and thinks again. No clock, lease or lock takes part in that.

A record is one JSON object (UTF-8). Hashes are hex, sizes are bytes, times are Unix seconds by the clock of who wrote
it and decide nothing but for how long courtesies last. `dropped` are blobs (bundles, indexes, summaries) that nobody
may rely on from this record on; some while later they are deleted, and a record says so in `swept`."""

from collections.abc import Iterable
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from forge_p2p.content.ref import RECORD_BYTES_MAX
from forge_p2p.errors import Malformed

FORMAT: Final = 1

RECORD_MAX: Final = 64 << 20
"""Bytes of a record or checkpoint; more is malformed."""

Blob = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A blob's hash in hex. Whoever may write into a bucket chooses what stands in its records, and this becomes the key of
an object that is read or deleted, in a folder a path: so it is nothing else."""

Count = Annotated[int, Meta(ge=0, le=10**16 - 1)]
"""As many digits as a key has for the number of a record."""

Line = Annotated[str, Meta(max_length=1024, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")]
"""Text that is shown to people: nothing in it that a terminal would obey."""


class BlobName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A blob of the bucket: its hash in hex and its size in bytes."""

    blob: Blob
    size: Count


class IndexEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An index blob, how many rows it has and which bundles it is about. `summary`: a Bloom summary of its chunks;
    small indexes have none, for they are as quickly read themselves."""

    index: BlobName
    rows: Count
    bundles: list[BlobName]
    summary: BlobName | None = None


class PinEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is kept: all that the link `root` reaches, under a name: the link itself, or `NETWORK/NAME/SEQ`. `record`:
    of a name the record that says so, signed by its author (`content.ref`); in JSON as base64."""

    name: Line
    root: Line
    time: float
    record: Annotated[bytes, Meta(max_length=RECORD_BYTES_MAX)] = b""


class CatalogueRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step. `by`: who wrote it, for people."""

    format: int
    seq: Count
    time: float
    by: Line
    indexes: list[IndexEntry] = []
    pins: list[PinEntry] = []
    unpins: list[Line] = []
    dropped: list[Blob] = []
    swept: list[Blob] = []


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state after record `seq`. `dropped`: with the time at which that was said."""

    format: int
    seq: Count
    indexes: list[IndexEntry]
    pins: list[PinEntry]
    dropped: dict[Blob, float]


class State:
    """What the records up to `seq` say together."""

    def __init__(self) -> None:
        self.seq = 0
        self.indexes: dict[str, IndexEntry] = {}
        self.pins: dict[str, PinEntry] = {}
        self.dropped: dict[str, float] = {}
        self.ever_dropped: set[str] = set()
        """Also what was swept since: a blob of one's own that is in here is gone, or soon will be."""

    def apply(self, record: CatalogueRecord) -> None:
        """The next record. Raises `Malformed` if it is not."""
        if record.seq != self.seq + 1:
            raise Malformed(f"record {record.seq} of a bucket's catalogue cannot follow record {self.seq}")
        self.seq = record.seq
        for entry in record.indexes:
            self.indexes[entry.index.blob] = entry
        for pin in record.pins:
            self.pins[pin.name] = pin
        for name in record.unpins:
            self.pins.pop(name, None)
        for blob in record.dropped:
            self.dropped[blob] = record.time
            self.ever_dropped.add(blob)
            self.indexes.pop(blob, None)
        for blob in record.swept:
            self.dropped.pop(blob, None)

    def checkpoint(self) -> Checkpoint:
        """The state, to be written."""
        return Checkpoint(FORMAT, self.seq, list(self.indexes.values()), list(self.pins.values()), dict(self.dropped))

    @staticmethod
    def resumed(checkpoint: Checkpoint) -> "State":
        """The state that a checkpoint says."""
        state = State()
        state.seq = checkpoint.seq
        state.indexes = {entry.index.blob: entry for entry in checkpoint.indexes}
        state.pins = {pin.name: pin for pin in checkpoint.pins}
        state.dropped = dict(checkpoint.dropped)
        state.ever_dropped = set(checkpoint.dropped)
        return state

    @property
    def bundles(self) -> dict[str, int]:
        """The bundles that may be relied on, with their sizes."""
        return {
            each.blob: each.size
            for entry in self.indexes.values()
            for each in entry.bundles
            if each.blob not in self.dropped
        }

    def blobs(self) -> set[str]:
        """Every blob that is needed, or that is already said to go."""
        found = set(self.bundles) | set(self.dropped)
        for entry in self.indexes.values():
            found.add(entry.index.blob)
            if entry.summary is not None:
                found.add(entry.summary.blob)
        return found


def blobs_of(entries: Iterable[IndexEntry]) -> list[str]:
    """Index and summary of each: what goes when others take their place."""
    return [name.blob for entry in entries for name in (entry.index, entry.summary) if name is not None]


def encode(step: CatalogueRecord | Checkpoint) -> bytes:
    """As it is in the bucket."""
    return msgspec.json.encode(step)


def decode_step(data: bytes, seq: int) -> CatalogueRecord:
    """Record `seq`. Raises `Malformed`."""
    record = _decoded(data, CatalogueRecord)
    if record.seq != seq:
        raise Malformed(f"what should be record {seq} of a bucket's catalogue says that it is {record.seq}")
    return record


def decode_checkpoint(data: bytes) -> Checkpoint:
    """A checkpoint. Raises `Malformed`."""
    return _decoded(data, Checkpoint)


T = TypeVar("T", CatalogueRecord, Checkpoint)


def _decoded(data: bytes, kind: type[T]) -> T:
    if len(data) > RECORD_MAX:
        raise Malformed(f"a bucket's catalogue has a record of {len(data)} bytes")
    try:
        found = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Malformed(f"a record of a bucket's catalogue cannot be read: {error}") from error
    if found.format != FORMAT:
        raise Malformed(f"the bucket's catalogue has format {found.format}; this version knows {FORMAT}")
    return found
