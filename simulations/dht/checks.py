"""What has to hold at every node at any time."""

from collections.abc import Iterable

from forge_p2p.proto.dht.keyspace import KEY_SPACE
from forge_p2p.proto.dht.routing import Bucket
from simulations.dht.member import Member
from simulations.dht.population import Population


class Violated(Exception):
    """The message says what does not hold, and where."""


def check(people: Population, members: Iterable[object]) -> None:
    """Raises `Violated`."""
    for member in members:
        if isinstance(member, Member):
            _check_table(people, member)
            _check_records(people, member)


def check_trials(people: Population, queries: int, seconds: float) -> None:
    """Lookups are bounded."""
    for trial in people.trials:
        over = people.world.now - trial.began > seconds and trial.ended < 0
        if trial.queries > queries or (over and trial.member.alive and not trial.member.asleep):
            raise Violated(f"a lookup of node {trial.member.number} took {trial.queries} queries, ended {trial.ended}")


def _check_table(people: Population, member: Member) -> None:
    table, k = member.dht.table, people.limits.k
    low = 0
    seen = 0
    for bucket in table.buckets:
        if bucket.range[0] != low:
            raise Violated(f"node {member.number}: a bucket begins at {bucket.range[0]:x}, not at {low:x}")
        low = bucket.range[1] + 1
        seen += len(bucket)
        _check_bucket(people, member, bucket, k)
    if low != KEY_SPACE or seen != len(table) or any(table.get(peer.id) is not peer for peer in table):
        raise Violated(f"node {member.number}: the buckets and the index of the table differ")


def _check_bucket(people: Population, member: Member, bucket: Bucket, k: int) -> None:
    if len(bucket.nodes) > k or len(bucket.replacement_nodes) > k:
        raise Violated(f"node {member.number}: {len(bucket)} contacts in a bucket of {k}")
    if bucket.replacement_nodes and len(bucket.nodes) < k:
        raise Violated(f"node {member.number}: a place is empty and {len(bucket.replacement_nodes)} wait for it")
    for peer in [*bucket.nodes.values(), *bucket.replacement_nodes.values()]:
        if peer.id not in people.met or peer.id == member.node_id:
            raise Violated(f"node {member.number}: a contact that nobody is, or it itself: {peer!r}")
        if not bucket.range[0] <= peer.long_id <= bucket.range[1]:
            raise Violated(f"node {member.number}: {peer!r} is in the wrong bucket")


def _check_records(people: Population, member: Member) -> None:
    limits = people.limits.providers
    of_key: dict[bytes, int] = {}
    for key, provider, expires in member.dht.records:
        of_key[key] = of_key.get(key, 0) + 1
        if (key, provider) not in people.said:
            raise Violated(f"node {member.number} has a record that its provider never announced")
        if expires > people.world.now + limits.ttl_max:
            raise Violated(f"node {member.number} keeps a record for more than a day")
    if len(member.dht.records) > limits.total or max(of_key.values(), default=0) > limits.per_key:
        raise Violated(f"node {member.number} keeps {len(member.dht.records)} records")
