"""Logs of names: what one is to whoever keeps it, and which records that others bring are believed.

A record is believed if its author's right to write holds, and it follows what is known here; and further, if its author
was revoked since, only when somebody whose word is good stands behind it: a later record by an author in good standing,
which follows it and so names its hash, or the log's home, which took it in while the author still had the right.
Otherwise who was revoked could write records under an old date for ever, and a single member could pass them off as
the newest.

What is known here is never given up for what somebody says: a log that ends earlier than it did was rolled back, one
that says something else under a number was forked, and both are refused with evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from forge_p2p.content.membership import CLOCK_SKEW, Chain
from forge_p2p.content.moment import date_of
from forge_p2p.content.ref import BadRef, RefFlaw, RefRecord, verify_record, verify_step
from forge_p2p.ids import Hash, NetworkId
from forge_p2p.proto.revocations import RevocationSet

CHAINS_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)
class Stored:
    """The record was put; it is the head now."""


@dataclass(frozen=True, slots=True)
class Exists:
    """There is another record under its number."""

    record: RefRecord


class RefLog(Protocol):
    """The logs of one network's names at one place. The one write is `put_if_absent`. Calls may block.

    Errors: `BadRef` for a record that does not follow, `StoreError`, `DiskError`; of a place elsewhere `PeerError` or
    `Refused`.
    """

    def put_if_absent(self, record: RefRecord) -> Stored | Exists:
        """Adds the record if nothing has its number; durable when it returns. The same record again is `Stored`."""

    def head(self, name: str) -> RefRecord | None:
        """The newest record of a name."""

    def range(self, name: str, from_seq: int, count: int) -> list[RefRecord]:
        """Up to `count` records from this number on, in order."""

    def names(self, after: str, count: int) -> list[str]:
        """Up to `count` names that come after this one, in the order of their bytes."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of a log: the newest number and that record's hash. Number 0: there is no record."""

    seq: int
    hash: Hash


@dataclass(slots=True)
class Judge:
    """Who decides what is believed in one network."""

    network: NetworkId
    revocations: RevocationSet
    _checked: dict[Chain, None] = field(default_factory=dict)
    """Chains whose signatures hold."""

    def verify_run(
        self, name: str, records: Sequence[RefRecord], known: RefRecord | None, *, vouched: bool, now: float
    ) -> None:
        """Whether `records` are what comes after `known`, each by somebody with the right. `vouched`: the log's home
        itself says so. Raises `BadRef`."""
        previous = known
        for record in records:
            self.verify_one(name, record, now)
            if previous is not None and record.seq == previous.seq + 1 and record.previous != previous.hash:
                raise forked(record, previous.seq)
            verify_step(record, previous)
            previous = record
        if records and not vouched:
            self._require_standing(records[-1])

    def verify_one(self, name: str, record: RefRecord, now: float) -> None:
        """One record by itself: signature, right, time. Raises `BadRef`."""
        member = verify_record(record, self.network, name, self._checked)
        if len(self._checked) >= CHAINS_REMEMBERED:
            self._checked.clear()
        self._checked[record.chain] = None
        if record.time > now + CLOCK_SKEW:
            raise BadRef(
                RefFlaw.WRONG_TIME,
                f"record {record.seq} of {name!r} says that it was written at {date_of(record.time)}, which is yet to "
                "come",
                hint="the clock of one of the two machines is wrong",
            )
        since = self.revocations.since(member.keys)
        if since is not None and record.time > since:
            raise BadRef(
                RefFlaw.REVOKED,
                f"record {record.seq} of {name!r} is by node {record.author.hex()[:16]}, who was revoked before it",
            )

    def verify_alone(self, name: str, record: RefRecord, now: float) -> None:
        """One record by itself that nobody vouches for. Raises `BadRef`."""
        self.verify_one(name, record, now)
        self._require_standing(record)

    def _require_standing(self, record: RefRecord) -> None:
        if any(certificate.subject in self.revocations for certificate in record.chain):
            raise BadRef(
                RefFlaw.REVOKED,
                f"record {record.seq} of {record.name!r} is by node {record.author.hex()[:16]}, who was revoked since, "
                "and nobody vouches for it",
                hint="the home of the name can: is its node up?",
            )


def check_tip(name: str, known: RefRecord | None, told: Tip) -> None:
    """Whether the end of a log, as somebody tells it, can be true beside what is known here. Raises `BadRef`."""
    if known is None or told.seq > known.seq:
        return
    if told.seq < known.seq:
        raise BadRef(
            RefFlaw.ROLLED_BACK,
            f"{name!r} ends with record {told.seq} there, and here with {known.seq}, of {date_of(known.time)}",
            hint="who says so lost data or lies; forge log shows what is known here",
        )
    if told.hash != known.hash:
        raise forked(known, known.seq - 1)


def forked(record: RefRecord, after: int) -> BadRef:
    """Two histories of one name."""
    return BadRef(
        RefFlaw.FORKED,
        f"{record.name!r} has two histories after record {after}: one is known here, another was brought",
        hint="its home let two writers in at once or lies; ask an admin of the network",
    )
