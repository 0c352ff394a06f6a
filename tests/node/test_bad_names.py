"""Names on bad days: homes that lie or lost their data, writers without the right, clocks, and hints that are lies."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.membership import Role
from forge_p2p.content.ref import NOTHING, BadRef, RefFlaw, RefRecord, sign_record
from forge_p2p.errors import Refused
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.operations import adding, revoking
from forge_p2p.node.refs.homes import NotHome, RemoteHome
from forge_p2p.proto.membership import encode_head
from tests.content.networks import Member, World
from tests.node.harness import noise
from tests.node.names import PATIENCE, joined, links, network_id, publish, pull
from tests.node.test_members import founder, member, token


@dataclass
class Stage:
    """A home that has two records of "nightly", a writer, and a folder with two files."""

    home: Network
    writer: Network
    path: Path

    async def record(self, by: Network, previous: RefRecord | None, **changes: Any) -> RefRecord:
        """What a node could sign that is not this program."""
        network = await joined(by)
        unsigned = RefRecord(
            network=network.network,
            name="nightly",
            seq=previous.seq + 1 if previous else 1,
            previous=previous.hash if previous else NOTHING,
            target=self.root(0),
            time=int(time.time()),
            expires=0,
            protected=False,
            home=self.home.node.node_id,
            chain=network.chain,
            signature=b"",
        )
        return sign_record(by.node.key, replace(unsigned, **changes))

    def root(self, number: int) -> Root:
        added = adding.add(self.home.node, path=str(self.path / f"file{number}"), report=ignore_progress)
        return parse_link(added.link)

    async def head(self) -> RefRecord:
        head = self.home.node.refs.head(await network_id(self.home), "nightly")
        assert head is not None
        return head

    async def at_home(self) -> RemoteHome:
        """The home, asked by the writer."""
        members = await self.writer.members()
        session = members.peering.connected(await network_id(self.writer), self.home.node.node_id)
        assert session is not None
        return RemoteHome(session)


@asynccontextmanager
async def stage(path: Path) -> AsyncIterator[Stage]:
    for number in range(4):
        (path / f"file{number}").write_bytes(noise(number, 3000))
    async with founder(path / "a") as home, member(path / "b", await token(home, "writer")) as writer:
        await publish(home, "nightly", path / "file1")
        await publish(writer, "nightly", path / "file2")
        yield Stage(home, writer, path)


async def flaw_of_pull(network: Network, path: Path) -> RefFlaw:
    with pytest.raises(BadRef) as caught:
        await pull(network, "nightly", path)
    assert caught.value.exit_code == 13
    return caught.value.flaw


@pytest.mark.parametrize("kept", [0, 1])
async def test_a_home_that_lost_records_is_found_out(tmp_path: Path, kept: int) -> None:
    """Rolled back to a backup, or made anew: whoever has seen more holds against it."""
    async with stage(tmp_path) as on:
        refs, network = on.home.node.refs, await network_id(on.home)
        records = refs.range(network, "nightly", 1, 2)
        refs.drop(network)
        for record in records[:kept]:
            refs.put(record)
        assert await flaw_of_pull(on.writer, tmp_path / "copy") is RefFlaw.ROLLED_BACK
        assert not (tmp_path / "copy").exists()
        with pytest.raises(BadRef):
            await publish(on.writer, "nightly", tmp_path / "file3")


async def test_a_home_with_another_history_is_found_out(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        refs, network = on.home.node.refs, await network_id(on.home)
        first = refs.range(network, "nightly", 1, 1)[0]
        refs.drop(network)
        refs.put(first)
        second = await on.record(on.home, first, target=on.root(3))
        refs.put(second)
        assert await flaw_of_pull(on.writer, tmp_path / "copy") is RefFlaw.FORKED
        refs.put(await on.record(on.home, second))
        assert await flaw_of_pull(on.writer, tmp_path / "copy") is RefFlaw.FORKED


async def test_what_a_home_puts_in_without_right_is_refused(tmp_path: Path) -> None:
    """A home decides about order, not about who may write."""
    async with stage(tmp_path) as on, member(tmp_path / "c", await token(on.home)) as reader:
        head = await on.head()
        good = await on.record(on.writer, head)
        for forged, flaw in [
            (await on.record(reader, head), RefFlaw.NOT_A_WRITER),
            (replace(good, target=on.root(3)), RefFlaw.BROKEN_SIGNATURE),
            (replace(good, chain=(await joined(on.home)).chain), RefFlaw.BROKEN_SIGNATURE),
            (await on.record(on.writer, head, time=int(time.time()) + 3600), RefFlaw.WRONG_TIME),
            (await on.record(on.writer, head, time=head.time - 60), RefFlaw.WRONG_TIME),
            (await on.record(on.writer, head, protected=True), RefFlaw.PROTECTED),
        ]:
            network = await network_id(on.home)
            kept = on.home.node.refs.range(network, "nightly", 1, 2)
            on.home.node.refs.put(forged)
            assert await flaw_of_pull(on.writer, tmp_path / "copy") is flaw
            assert await flaw_of_pull(reader, tmp_path / "copy") is flaw
            on.home.node.refs.drop(network)
            for record in kept:
                on.home.node.refs.put(record)
        assert (await pull(reader, "nightly", tmp_path / "copy")).seq == 2


async def test_what_a_home_does_not_take(tmp_path: Path) -> None:
    """Each refusal has its own reason, and the log stays what it was."""
    async with stage(tmp_path) as on, member(tmp_path / "c", await token(on.home)) as reader:
        at_home, head = await on.at_home(), await on.head()
        good = await on.record(on.writer, head)
        now = int(time.time())
        for bad, reason in [
            (await on.record(reader, head), "a reader, who may not publish"),
            (replace(good, target=on.root(3)), "its signature is wrong"),
            (await on.record(on.writer, head, time=now + 400), "yet to come"),
            (await on.record(on.writer, head, time=now - 400), "not valid before"),
            (await on.record(on.home, None, name="fresh", time=now - 400), "not valid before"),
            (await on.record(on.writer, good), "does not follow"),
            (await on.record(on.writer, head, protected=True), "only admins may write it"),
            (await on.record(on.writer, head, home=reader.node.node_id), "only admins may move"),
            (await on.record(on.writer, None, name="fresh", home=reader.node.node_id), "only admins may choose"),
        ]:
            with pytest.raises(Refused, match=reason):
                await at_home.put_if_absent(bad)
        assert await on.head() == head
        assert (await publish(on.writer, "nightly", tmp_path / "file3")).seq == 3


async def test_somebody_else_than_the_home_takes_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        members = await on.home.members()
        session = members.peering.connected(await network_id(on.home), on.writer.node.node_id)
        assert session is not None
        with pytest.raises(NotHome, match="the home of 'nightly' is another node"):
            await RemoteHome(session).put_if_absent(await on.record(on.home, await on.head()))


async def test_a_record_of_another_network(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        other = World(77, now=int(time.time()))
        stranger: Member = other.member(78, other.token(79, Role.WRITER))
        foreign = sign_record(
            stranger.private, replace(await on.record(on.writer, None), network=other.id, chain=stranger.chain)
        )
        with pytest.raises(Refused, match="of another network"):
            await (await on.at_home()).put_if_absent(foreign)


async def test_who_is_revoked_writes_no_more_and_what_was_written_stays(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, member(tmp_path / "c", await token(on.home)) as reader:
        before = await links(on.home, "nightly")
        late = await on.record(on.writer, await on.head())
        old = await on.record(on.writer, await on.head(), time=(await on.head()).time)
        who = on.writer.node.node_id.hex()
        await trio.to_thread.run_sync(
            lambda: revoking.revoke(on.home.node, who=who, keep_token=True, report=ignore_progress)
        )
        members = await on.home.members()
        with trio.fail_after(PATIENCE):
            while on.writer.node.node_id not in members.memberships.revocations(await network_id(on.home)):
                await trio.sleep(0.05)
        for each in (late, old):
            with pytest.raises(Exception, match="revoked"):
                await members.names.accept(each, None)
        assert await links(reader, "nightly") == before
        assert (await pull(reader, "nightly", tmp_path / "copy")).seq == 2
        assert (await publish(on.home, "nightly", tmp_path / "file3")).seq == 3


async def test_a_name_moves_to_another_home(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, member(tmp_path / "c", await token(on.home, "admin")) as other:
        new = other.node.node_id
        with pytest.raises(BadRef, match="only admins may move"):
            await publish(on.writer, "nightly", tmp_path / "file3", home=new.hex())
        moved = await publish(on.home, "nightly", tmp_path / "file2", home=new.hex())
        assert moved.seq == 3
        with pytest.raises(NotHome):
            await (await on.at_home()).put_if_absent(await on.record(on.writer, await on.head(), home=new))
        await publish(on.writer, "nightly", tmp_path / "file3")
        assert other.node.refs.head(await network_id(other), "nightly") == on.writer.node.refs.head(
            await network_id(other), "nightly"
        )
        assert (await pull(on.home, "nightly", tmp_path / "copy")).seq == 4
        assert len(await links(other, "nightly")) == 4


@pytest.mark.parametrize("lie", ["garbage", "signature", "reader"])
async def test_who_passes_on_a_lie_about_a_name_loses_its_session(tmp_path: Path, lie: str) -> None:
    async with stage(tmp_path) as on:
        good = await on.record(on.writer, await on.head())
        lies = {
            "garbage": b"\1 nonsense",
            "signature": replace(good, target=on.root(3)).encode(),
            "reader": good.encode()[:-64] + bytes(64),
        }
        members = await on.writer.members()
        session = members.peering.connected(await network_id(on.writer), on.home.node.node_id)
        assert session is not None
        members.memberships.tell(await network_id(on.writer), [encode_head(lies[lie])])
        with trio.fail_after(PATIENCE):
            await session.ended.wait()


async def test_a_head_that_the_home_does_not_have_changes_nothing(tmp_path: Path) -> None:
    """A writer that tells of a record it never put: a hint, and no more than that."""
    async with stage(tmp_path) as on, member(tmp_path / "c", await token(on.home)) as reader:
        ahead = await on.record(on.writer, await on.head(), seq=1 << 60, target=on.root(3))
        members = await on.writer.members()
        members.memberships.tell(await network_id(on.writer), [encode_head(ahead.encode())])
        told = (await reader.members()).names.told
        heard = trio.Event()
        told.append(lambda record: heard.set())
        members.memberships.tell(await network_id(on.writer), [encode_head(ahead.encode())])
        assert (await pull(reader, "nightly", tmp_path / "copy")).seq == 2
        assert (await publish(on.home, "nightly", tmp_path / "file3")).seq == 3
        with trio.fail_after(PATIENCE):
            await heard.wait()
        assert (await pull(reader, "nightly", tmp_path / "copy")).seq == 3


async def test_a_next_record_that_the_home_does_not_have_changes_nothing(tmp_path: Path) -> None:
    """It follows the newest one, signature and all; only the home was never given it."""
    async with stage(tmp_path) as on, member(tmp_path / "c", await token(on.home)) as reader:
        network = await network_id(on.writer)
        assert (await pull(reader, "nightly", tmp_path / "copy")).seq == 2
        withheld = await on.record(on.writer, await on.head(), target=on.root(3))
        heard = await _told_of(reader, withheld)
        (await on.writer.members()).memberships.tell(network, [encode_head(withheld.encode())])
        with trio.fail_after(PATIENCE):
            await heard.wait()
        assert (await pull(reader, "nightly", tmp_path / "copy")).seq == 2
        made = await publish(on.home, "nightly", tmp_path / "file0")
        assert (await pull(reader, "nightly", tmp_path / "copy")).link == made.link


async def test_a_record_that_was_told_does_not_come_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, member(tmp_path / "c", await token(on.home)) as reader:
        network = await network_id(on.home)
        names = (await reader.members()).names
        await names.refresh(network, "nightly")
        heard = await _told_of(reader, await on.record(on.home, await on.head(), target=on.root(3)))
        await publish(on.home, "nightly", tmp_path / "file3")
        with trio.fail_after(PATIENCE):
            await heard.wait()
        session = (await reader.members()).peering.connected(network, on.home.node.node_id)
        assert session is not None
        before = session.connection.statistics().bytes_received
        head = await names.refresh(network, "nightly")
        assert head == await on.head()
        assert session.connection.statistics().bytes_received - before < len(head.encode())


async def _told_of(network: Network, record: RefRecord) -> trio.Event:
    """Set once a node hears of a record of that name and number."""
    heard = trio.Event()

    def hear(told: RefRecord) -> None:
        if (told.name, told.seq) == (record.name, record.seq):
            heard.set()

    (await network.members()).names.told.append(hear)
    return heard


@pytest.mark.parametrize("name", ["a b", "\U0001f600" * 200, "x\0y", ".."])
async def test_what_cannot_be_a_name_is_not_looked_for(tmp_path: Path, name: str) -> None:
    async with stage(tmp_path) as on:
        at_home = await on.at_home()
        with pytest.raises(Refused, match="cannot be a name"):
            await at_home.since(name, 1)
        with pytest.raises(Refused, match="cannot be a name"):
            await at_home.names(name)
        assert await at_home.names() == ["nightly"]
