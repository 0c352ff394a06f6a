"""What every home of names has to do, wherever it is: this node's store, another node over QUIC, a bucket."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from forge_p2p.bucket.reflog import BucketLog
from forge_p2p.content.link import Kind, Link, Root, hash_bytes
from forge_p2p.content.ref import NOTHING, RefRecord, sign_record
from forge_p2p.errors import ForgeError
from forge_p2p.ids import NodeId
from forge_p2p.node.edge.managing import set_bucket
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.membership.networks import Joined
from forge_p2p.node.refs.homes import BucketHome, LocalHome, RefHome, RemoteHome
from forge_p2p.proto.reflog import Exists, Stored, Tip
from forge_p2p.wire.limits import REF_RECORDS_COUNT
from tests.node.names import joined
from tests.node.test_members import founder, member, token


@dataclass
class Case:
    """A home without any names, and somebody with the right to write there."""

    home: RefHome
    author: Joined
    sign: Callable[[RefRecord], RefRecord]
    home_id: NodeId

    def record(self, name: str, previous: RefRecord | None = None, number: int = 0) -> RefRecord:
        return self.sign(
            RefRecord(
                network=self.author.network,
                name=name,
                seq=previous.seq + 1 if previous else 1,
                previous=previous.hash if previous else NOTHING,
                target=Root(Kind.BLOB, Link(hash_bytes(b"%d" % number), number, 0)),
                time=int(time.time()),
                expires=0,
                protected=False,
                home=self.home_id,
                chain=self.author.chain,
                signature=b"",
            )
        )

    async def log(self, name: str, count: int) -> list[RefRecord]:
        """A log of so many records, put."""
        records: list[RefRecord] = []
        for number in range(count):
            records.append(self.record(name, records[-1] if records else None, number))
            assert await self.home.put_if_absent(records[-1]) == Stored()
        return records


Open = Callable[[Path], AbstractAsyncContextManager[Case]]


@asynccontextmanager
async def local(path: Path) -> AsyncIterator[Case]:
    async with founder(path / "a") as node:
        network = await joined(node)
        log = node.node.refs.log(network.network)
        yield Case(LocalHome(log), network, lambda unsigned: sign_record(node.node.key, unsigned), node.node.node_id)


@asynccontextmanager
async def remote(path: Path) -> AsyncIterator[Case]:
    async with founder(path / "a") as node, member(path / "b", await token(node, "writer")) as writer:
        network = await joined(writer)
        session = (await writer.members()).peering.connected(network.network, node.node.node_id)
        assert session is not None
        home = RemoteHome(session)
        yield Case(home, network, lambda unsigned: sign_record(writer.node.key, unsigned), node.node.node_id)


@asynccontextmanager
async def bucket(path: Path) -> AsyncIterator[Case]:
    async with founder(path / "a") as node:
        network = await joined(node)
        await trio.to_thread.run_sync(
            lambda: set_bucket(node.node, url=f"file://{path}/bucket", report=ignore_progress)
        )
        edge = node.node.edge
        home = BucketHome(BucketLog(edge.bucket, network.network))
        yield Case(home, network, lambda unsigned: sign_record(node.node.key, unsigned), edge.node_id)


@pytest.fixture(params=[local, remote, bucket], ids=["local", "remote", "bucket"])
async def case(request: Any, tmp_path: Path) -> AsyncIterator[Case]:
    async with request.param(tmp_path) as opened:
        yield opened


async def test_nothing_is_there_at_first(case: Case) -> None:
    assert await case.home.head("nightly") is None
    assert await case.home.names() == []
    since = await case.home.since("nightly", 1)
    assert (since.tip, since.records) == (Tip(0, NOTHING), [])


async def test_what_was_put_is_read_back(case: Case) -> None:
    records = await case.log("nightly", 4)
    assert await case.home.head("nightly") == records[-1]
    for start in range(6):
        since = await case.home.since("nightly", start)
        assert since.tip == Tip(4, records[-1].hash)
        assert since.records == records[max(start - 1, 0) :]
    assert (await case.home.since("nightly", 2, 2)).records == records[1:3]
    assert (await case.home.since("nightly", 1, 0)).records == []
    assert await case.home.names() == ["nightly"]


async def test_a_number_is_given_once(case: Case) -> None:
    first, second = await case.log("nightly", 2)
    for taken, number in ((first, 10), (second, 11)):
        rival = case.record("nightly", first if taken is second else None, number)
        assert await case.home.put_if_absent(rival) == Exists(taken)
        assert await case.home.put_if_absent(taken) == Stored(), "the same record again"
    assert await case.home.head("nightly") == second


async def test_gaps_and_forks_are_refused(case: Case) -> None:
    first, second = await case.log("nightly", 2)
    third = case.record("nightly", second)
    for wrong in (case.record("nightly", third), case.record("nightly", case.record("nightly", first, 50))):
        with pytest.raises(ForgeError):
            await case.home.put_if_absent(wrong)
    assert await case.home.head("nightly") == second
    assert await case.home.put_if_absent(third) == Stored()


async def test_names_are_listed_in_order_and_in_parts(case: Case) -> None:
    names = ["a", "a/b", "ab", "ß"]
    for name in reversed(names):
        await case.log(name, 1)
    assert await case.home.names() == names
    assert await case.home.names("a", 2) == ["a/b", "ab"]
    assert await case.home.names("ß") == []


async def test_a_long_log_comes_in_parts(case: Case) -> None:
    """More than one answer holds: as many as fit, and where the end is."""
    records = await case.log("nightly", REF_RECORDS_COUNT + 6)
    found: list[RefRecord] = []
    while len(found) < len(records):
        since = await case.home.since("nightly", len(found) + 1)
        assert since.tip.seq == len(records)
        assert 0 < len(since.records) <= REF_RECORDS_COUNT
        found += since.records
    assert found == records


async def test_who_races_for_a_number_wins_alone(case: Case) -> None:
    import trio

    rivals = [case.record("nightly", None, number) for number in range(12)]
    answers: list[Stored | Exists] = []

    async def put(record: RefRecord) -> None:
        answers.append(await case.home.put_if_absent(record))

    async with trio.open_nursery() as nursery:
        for rival in rivals:
            nursery.start_soon(put, rival)
    winner = await case.home.head("nightly")
    assert answers.count(Stored()) == 1
    assert all(answer == Exists(winner) for answer in answers if isinstance(answer, Exists) and winner)
