"""Which records that others bring are believed."""

from dataclasses import replace

import pytest

from forge_p2p.content.membership import CLOCK_SKEW, Role
from forge_p2p.content.ref import BadRef, RefFlaw, RefRecord
from forge_p2p.proto.reflog import Judge, Tip, check_tip
from forge_p2p.proto.revocations import RevocationSet
from tests.content.logs import NAME, log, record, root, writer
from tests.content.networks import DAY, NOW, World

WORLD = World()
WRITER = writer(WORLD)
OTHER = writer(WORLD, 50)
LOG = log(WORLD, WRITER, 6)


def judge(*revoked: tuple[bytes, int]) -> Judge:
    """Who knows of these revocations."""
    known = RevocationSet(WORLD.id)
    for key, time in revoked:
        known.merge(WORLD.revoke(key, time=time))
    return Judge(WORLD.id, known)


def believe(
    records: list[RefRecord], known: RefRecord | None = None, by: Judge | None = None, *, vouched: bool = True
) -> None:
    (by or judge()).verify_run(NAME, records, known, vouched=vouched, now=NOW + DAY)


def flaw(
    records: list[RefRecord], known: RefRecord | None = None, by: Judge | None = None, *, vouched: bool = True
) -> RefFlaw:
    with pytest.raises(BadRef) as caught:
        believe(records, known, by, vouched=vouched)
    return caught.value.flaw


@pytest.mark.parametrize("vouched", [True, False])
def test_a_good_log_is_believed_in_any_pieces(vouched: bool) -> None:
    for cut in range(len(LOG)):
        believe(LOG[:cut], vouched=vouched)
        believe(LOG[cut:], LOG[cut - 1] if cut else None, vouched=vouched)


def test_nothing_can_be_left_out_exchanged_or_put_in() -> None:
    assert flaw(LOG[1:]) is RefFlaw.DOES_NOT_FOLLOW
    assert flaw(LOG[:2] + LOG[3:]) is RefFlaw.DOES_NOT_FOLLOW
    assert flaw([LOG[0], LOG[2], LOG[1]]) is RefFlaw.DOES_NOT_FOLLOW
    assert flaw([LOG[0], LOG[0]]) is RefFlaw.DOES_NOT_FOLLOW
    assert flaw([*LOG[:2], record(WORLD, OTHER, LOG[1], target=root(99)), LOG[3]]) is RefFlaw.FORKED
    assert flaw([replace(LOG[0], target=root(9))]) is RefFlaw.BROKEN_SIGNATURE
    assert flaw([record(WORLD, WRITER, name="other")]) is RefFlaw.FOREIGN
    assert flaw([record(World(7), writer(World(7)))]) is RefFlaw.FOREIGN


def test_replayed_records_of_another_branch() -> None:
    branch = record(WORLD, OTHER, LOG[0], target=root(77))
    assert flaw([record(WORLD, OTHER, branch)], LOG[1]) is RefFlaw.FORKED


def test_what_is_known_is_not_given_up() -> None:
    known = LOG[3]
    check_tip(NAME, None, Tip(0, known.hash))
    check_tip(NAME, known, Tip(4, known.hash))
    check_tip(NAME, known, Tip(9, LOG[0].hash))
    for tip, expected in [
        (Tip(3, LOG[2].hash), RefFlaw.ROLLED_BACK),
        (Tip(0, LOG[2].hash), RefFlaw.ROLLED_BACK),
        (Tip(4, LOG[2].hash), RefFlaw.FORKED),
    ]:
        with pytest.raises(BadRef) as caught:
            check_tip(NAME, known, tip)
        assert caught.value.flaw is expected


def test_a_date_in_the_future() -> None:
    early = judge()
    early.verify_one(NAME, record(WORLD, WRITER, time=NOW + CLOCK_SKEW), NOW)
    with pytest.raises(BadRef, match="yet to come"):
        early.verify_one(NAME, record(WORLD, WRITER, time=NOW + CLOCK_SKEW + 1), NOW)


def test_what_was_written_after_the_revocation_is_never_believed() -> None:
    after = judge((WRITER.node_id, LOG[2].time - 1))
    for vouched in (True, False):
        assert flaw(LOG, by=after, vouched=vouched) is RefFlaw.REVOKED
    believe(LOG[:2], by=after)
    token = WRITER.chain[0].subject
    assert flaw(LOG, by=judge((token, LOG[2].time - 1))) is RefFlaw.REVOKED, "with the token that the author came by"


def test_an_old_date_does_not_help_who_is_revoked() -> None:
    """Only somebody in good standing, or the home, makes that such a record was there in time."""
    later = judge((WRITER.node_id, NOW + DAY))
    believe(LOG, by=later, vouched=True)
    assert flaw(LOG, by=later, vouched=False) is RefFlaw.REVOKED
    believe([*LOG, record(WORLD, OTHER, LOG[-1])], by=later, vouched=False)
    believe([], LOG[-1], by=later, vouched=False)


def test_who_was_never_allowed_is_found_out_in_the_middle() -> None:
    reader = writer(WORLD, 60, Role.READER)
    bad = record(WORLD, reader, LOG[0])
    assert flaw([LOG[0], bad, record(WORLD, WRITER, bad)]) is RefFlaw.NOT_A_WRITER
