"""The messages about names: their records are opaque to this layer (`content.ref` has their bytes)."""

from typing import Annotated

from msgspec import Meta

from forge_p2p.wire import limits
from forge_p2p.wire.fields import Body, FrameType, OneHash

Seq = Annotated[int, Meta(ge=0, le=limits.SEQ_MAX)]
Name = Annotated[str, Meta(max_length=limits.REF_NAME_CHARS)]
Record = Annotated[bytes, Meta(max_length=limits.REF_RECORD_MAX)]


class RefPut(Body, frozen=True):
    """Asks the home of a name to add a record, unless its number is taken."""

    TYPE = FrameType.REF_PUT
    record: Annotated[bytes, Meta(min_length=1, max_length=limits.REF_RECORD_MAX)]


class RefVerdict(Body, frozen=True):
    """What became of it."""

    TYPE = FrameType.REF_VERDICT
    existing: Record
    """The record that has the number; empty: the one that was sent is in."""


class RefRead(Body, frozen=True):
    """Asks for the records of a name from a number on."""

    TYPE = FrameType.REF_READ
    name: Name
    from_seq: Seq
    count: Annotated[int, Meta(ge=0, le=limits.REF_RECORDS_COUNT)]


class RefRecords(Body, frozen=True):
    """Those that are here, in order, as many as fit; and where the log ends here."""

    TYPE = FrameType.REF_RECORDS
    tip_seq: Seq
    """Number of the newest; 0: nothing is known of the name."""
    tip_hash: OneHash
    """Its hash; zeros for number 0."""
    records: Annotated[tuple[Record, ...], Meta(max_length=limits.REF_RECORDS_COUNT)]

    def __post_init__(self) -> None:
        if sum(map(len, self.records)) > limits.REF_RECORDS_BYTES:
            raise ValueError(f"records of more than {limits.REF_RECORDS_BYTES} bytes")


class RefList(Body, frozen=True):
    """Asks for the names that come after one, in the order of their bytes."""

    TYPE = FrameType.REF_LIST
    after: Name
    count: Annotated[int, Meta(ge=0, le=limits.REF_NAMES_COUNT)]


class RefNames(Body, frozen=True):
    """The names whose logs are here."""

    TYPE = FrameType.REF_NAMES
    names: Annotated[tuple[Name, ...], Meta(max_length=limits.REF_NAMES_COUNT)]
