"""A log made again of records that lie somewhere, in no order, among others that nobody with the right has written.

There is nobody who says which were put at the log's home. So what is undisputed counts: from the first record on the
one that follows, as long as exactly one does. Where two do, both signed by who may write, the log ends before them;
its home can tell the rest. The same for a last author who was revoked since: nobody vouches for the date.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from forge_p2p.content.ref import BadRef, RefRecord
from forge_p2p.proto.reflog import Judge


@dataclass(frozen=True, slots=True)
class Found:
    """A record, unverified, and where it lies."""

    where: str
    record: RefRecord


@dataclass(slots=True)
class Reassembled:
    """`records` are the log from number 1 on. `refused`: what else was found, and why it does not count."""

    records: list[RefRecord] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def reassembled(judge: Judge, name: str, found: Sequence[Found], now: float) -> Reassembled:
    """What is undisputed of a name's log. `now`: Unix seconds."""
    log = Reassembled()
    places: dict[RefRecord, str] = {each.record: each.where for each in found}
    by_seq: dict[int, list[RefRecord]] = defaultdict(list)
    for record in places:
        by_seq[record.seq].append(record)
    while candidates := by_seq.pop(len(log.records) + 1, []):
        right = _right(judge, name, candidates, log, places, now)
        if len(right) != 1:
            log.refused += [f"{places[each]}: another of the same number is as good" for each in right]
            break
        log.records += right
    _drop_unvouched(judge, name, log, places, now)
    log.refused += [
        f"{places[record]}: follows nothing that is there and holds" for rest in by_seq.values() for record in rest
    ]
    return log


def _right(
    judge: Judge, name: str, candidates: list[RefRecord], log: Reassembled, places: dict[RefRecord, str], now: float
) -> list[RefRecord]:
    """Those of one number that follow."""
    right = []
    for record in candidates:
        try:
            judge.verify_run(name, [record], log.records[-1] if log.records else None, vouched=True, now=now)
        except BadRef as error:
            log.refused.append(f"{places[record]}: {error.message}")
        else:
            right.append(record)
    return right


def _drop_unvouched(judge: Judge, name: str, log: Reassembled, places: dict[RefRecord, str], now: float) -> None:
    """Takes off the end what only a later record or the home could vouch for."""
    while log.records:
        last, before = log.records[-1], log.records[-2] if len(log.records) > 1 else None
        try:
            judge.verify_run(name, [last], before, vouched=False, now=now)
        except BadRef as error:
            log.refused.append(f"{places[last]}: {error.message}")
            log.records.pop()
        else:
            return
