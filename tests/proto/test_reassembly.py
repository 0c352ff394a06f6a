"""A log made again of records that lie in no order among others."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.membership import Role
from forge_p2p.content.ref import RefRecord
from forge_p2p.proto.reassembly import Found, Reassembled, reassembled
from forge_p2p.proto.reflog import Judge
from forge_p2p.proto.revocations import RevocationSet
from tests.content.logs import NAME, log, record, root, writer
from tests.content.networks import DAY, NOW, World

WORLD = World()
WRITER = writer(WORLD)
OTHER = writer(WORLD, 50)
READER = writer(WORLD, 60, Role.READER)
LOG = log(WORLD, WRITER, 6)


def again(records: list[RefRecord], *revoked: tuple[bytes, int]) -> Reassembled:
    known = RevocationSet(WORLD.id)
    for key, time in revoked:
        known.merge(WORLD.revoke(key, time=time))
    found = [Found(f"place{number}", each) for number, each in enumerate(records)]
    return reassembled(Judge(WORLD.id, known), NAME, found, NOW + DAY)


@given(st.randoms(use_true_random=False), st.integers(0, 6))
def test_order_and_repetition_do_not_matter(chance: random.Random, cut: int) -> None:
    records = LOG[:cut] * 2
    chance.shuffle(records)
    assert again(records) == Reassembled(LOG[:cut], [])


def test_what_nobody_with_the_right_wrote_blocks_nothing_and_is_told() -> None:
    elsewhere = World(7)
    wrong = [
        replace(LOG[2], target=root(99)),
        record(WORLD, READER, LOG[3]),
        record(elsewhere, writer(elsewhere)),
        record(WORLD, WRITER, name="other"),
        replace(LOG[5], seq=7, previous=LOG[5].hash),
        replace(LOG[5], seq=1 << 60),
    ]
    found = again([*wrong, *LOG])
    assert found.records == LOG
    assert sorted(each.partition(":")[0] for each in found.refused) == [f"place{number}" for number in range(6)]


def test_a_log_ends_where_it_has_a_gap_or_two_histories() -> None:
    gap = again([*LOG[:3], *LOG[4:]])
    assert (gap.records, len(gap.refused)) == (LOG[:3], 2)
    fork = again([*LOG, record(WORLD, OTHER, LOG[2], target=root(99))])
    assert (fork.records, len(fork.refused)) == (LOG[:3], 4)


def test_a_last_author_who_was_revoked_since_needs_somebody_to_vouch() -> None:
    last = record(WORLD, OTHER, LOG[-1])
    revoked = (OTHER.chain[-1].subject, last.time + 1)
    found = again([*LOG, last], revoked)
    assert (found.records, len(found.refused)) == (LOG, 1)
    vouching = record(WORLD, WRITER, last)
    assert again([*LOG, last, vouching], revoked).records == [*LOG, last, vouching]
