"""Names that are followed, and content that outlives its publisher: real nodes over QUIC on loopback."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from forge_p2p.content.linktext import parse_link
from forge_p2p.errors import NotFound, PeerError, UsageError
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.operations import upkeep
from forge_p2p.node.refs import following
from forge_p2p.node.refs.results import PublishResult
from forge_p2p.node.refs.retention import RETAINED, pin_target, pinned_numbers, sweep_all
from forge_p2p.node.results import StoreGc
from tests.node.harness import contents, noise, running, small_tree
from tests.node.names import PATIENCE, brief_founder, network_id, publish, pull
from tests.node.test_deltas import text, wire
from tests.node.test_members import MEMBER, founder, member, token


class Told:
    """What `forge follow` would print."""

    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []
        self.more = trio.Event()

    async def emit(self, line: bytes) -> None:
        self.changes.append(json.loads(line))
        self.more.set()

    async def until(self, seq: int) -> dict[str, Any]:
        """The line about a record."""
        with trio.fail_after(PATIENCE):
            while not self.changes or self.changes[-1]["seq"] < seq:
                self.more = trio.Event()
                await self.more.wait()
        return self.changes[-1]


@asynccontextmanager
async def follows(network: Network, name: str) -> AsyncIterator[Told]:
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: following.follow(network, name=name, emit=told.emit, report=ignore_progress))
        yield told
        nursery.cancel_scope.cancel()


def collect(network: Network) -> StoreGc:
    """Everything that nothing keeps goes, however young, and what adding keeps for an hour."""
    for pin in network.node.store.pins():
        if pin.name.startswith("interim/"):
            network.node.store.unpin(pin.name)
    network.node.store.collect(0.0)
    network.node.store.collect(0.0)
    return upkeep.store_gc(network.node, report=ignore_progress)


def has(network: Network, made: PublishResult) -> bool:
    return network.node.store.has(parse_link(made.link).link.hash)


async def test_a_follower_fetches_only_what_changed(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    lines = text(1, 30_000)
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        for seq in (1, 2, 3):
            lines.insert(7000 * seq, b"one more line\n")
            (tree / "text").write_bytes(b"".join(lines))
            await publish(home, "nightly", tree)
            before = wire(home, reader)
            if seq == 1:
                async with follows(reader, "nightly") as told:
                    await told.until(1)
                continue
            async with follows(reader, "nightly") as told:
                assert (await told.until(seq))["complete"]
            assert wire(home, reader) - before < 12_000
        await pull(reader, "nightly", tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(tree)


async def test_a_follower_has_it_before_it_asks(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        first = await publish(home, "nightly", tree)
        async with follows(reader, "nightly") as told:
            assert (await told.until(1))["link"] == first.link
            (tree / "new").write_bytes(noise(5, 700_000))
            second = await publish(home, "nightly", tree)
            change = await told.until(2)
            assert (change["link"], change["complete"], change["ref"]) == (second.link, True, "team/nightly@2")
        collect(reader)
        result = await pull(reader, "nightly", tmp_path / "copy")
        assert result.fetched_bytes == 0
        assert contents(tmp_path / "copy") == contents(tree)


async def test_following_goes_on_after_a_restart_and_ends_when_told(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as home:
        text = await token(home)
        (tmp_path / "file").write_bytes(noise(1, 5000))
        async with member(tmp_path / "b", text) as reader:
            await following.follow(reader, name="nightly", watch=False, emit=Told().emit, report=ignore_progress)
        made = await publish(home, "nightly", tmp_path / "file")
        async with member(tmp_path / "b", text) as reader:
            with trio.fail_after(PATIENCE):
                while not has(reader, made):
                    await trio.sleep(0.02)
            (each,) = following.listed(reader.node, report=ignore_progress).followed
            assert (each.network, each.name, each.link) == ("team", "nightly", made.link)
            with trio.fail_after(PATIENCE):
                while pinned_numbers(reader.node, await network_id(reader), "nightly") != {1}:
                    await trio.sleep(0.02)
            await following.running_stop(reader, name="nightly", report=ignore_progress)
            assert following.listed(reader.node, report=ignore_progress).followed == []
            assert pinned_numbers(reader.node, await network_id(reader), "nightly") == set()
            with pytest.raises(NotFound, match="is not followed here"):
                await following.running_stop(reader, name="nightly", report=ignore_progress)


async def test_a_command_follows_nothing(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as home:
        config = replace(MEMBER, token=await token(home))
        async with running(tmp_path / "b", config, serve=False) as command:
            with pytest.raises(PeerError, match="followed by a node that is up"):
                await following.follow(command, name="nightly", emit=Told().emit, report=ignore_progress)


async def test_what_a_command_publishes_outlives_it(tmp_path: Path) -> None:
    """The home fetches it before the command ends."""
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home:
        config = replace(MEMBER, token=await token(home, "writer"))
        async with running(tmp_path / "b", config, serve=False) as command:
            made = await publish(command, "nightly", tree)
            assert made.held
            assert made.notes == []
        collect(home)
        async with member(tmp_path / "c", await token(home)) as reader:
            await pull(reader, "nightly", tmp_path / "copy")
        assert contents(tmp_path / "copy") == contents(tree)


async def test_what_was_not_handed_over_is_so_by_publishing_again(tmp_path: Path) -> None:
    """The record is at the home, and its author has gone; the home has not the content, as if it had been too slow."""
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home:
        text = await token(home, "writer")
        async with member(tmp_path / "b", text) as writer, follows(home, "nightly") as told:
            made = await publish(writer, "nightly", tree)
            await told.until(1)
        with trio.fail_after(PATIENCE):
            while home.sessions:
                await trio.sleep(0.02)
        members = await home.members()
        for holding in members.holdings.of(await network_id(home)):
            await trio.to_thread.run_sync(members.holdings.forget, holding)
        for pin in home.node.store.pins():
            home.node.store.unpin(pin.name)
        collect(home)
        members.keeper.follow(await network_id(home), "nightly")
        assert not has(home, made)
        async with running(tmp_path / "b", replace(MEMBER, token=text), serve=False) as command:
            again = await publish(command, "nightly", tree)
            assert (again.unchanged, again.held) == (True, True)
        assert has(home, made)


async def test_who_hears_of_a_name_by_others_follows_it(tmp_path: Path) -> None:
    """Heads are passed on: the follower is connected with the publisher, and asks the home when it hears."""
    (tmp_path / "file").write_bytes(noise(1, 5000))
    async with founder(tmp_path / "a") as home:
        text = await token(home, "writer")
        async with member(tmp_path / "b", text) as writer, member(tmp_path / "c", text) as reader:
            async with follows(reader, "nightly") as told:
                made = await publish(writer, "nightly", tmp_path / "file")
                assert (await told.until(1))["author"] == writer.node.node_id.hex()
            assert has(home, made)


async def test_the_newest_versions_stay_and_older_ones_go(tmp_path: Path) -> None:
    made = []
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        for number in range(RETAINED + 2):
            (tmp_path / "file").write_bytes(noise(number, 70_000))
            made.append(await publish(home, "nightly", tmp_path / "file"))
        await trio.to_thread.run_sync(collect, home)
        assert [has(home, each) for each in made] == [False] * 2 + [True] * RETAINED
        assert pinned_numbers(home.node, await network_id(home), "nightly") == set(range(3, RETAINED + 3))
        assert (await pull(reader, f"nightly@{RETAINED}", tmp_path / "old")).seq == RETAINED
        members = await home.members()
        held = members.holdings.of(await network_id(home))
        assert {each.held.link for each in held if each.held} == {each.link for each in made[2:]}


async def test_a_name_keeps_as_many_versions_as_was_said(tmp_path: Path) -> None:
    """Where it was said: at the home, which follows it, too, four stay."""
    many = RETAINED + 2
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        network = await network_id(home)

        async def follow(keep: int | None) -> None:
            await following.follow(
                reader, name="nightly", watch=False, keep=keep, emit=Told().emit, report=ignore_progress
            )

        async def pinned(numbers: set[int]) -> None:
            with trio.fail_after(PATIENCE):
                while pinned_numbers(reader.node, network, "nightly") != numbers:
                    await trio.sleep(0.02)

        await follow(many)
        made = []
        for number in range(1, many + 2):
            (tmp_path / "file").write_bytes(noise(number, 70_000))
            made.append(await publish(home, "nightly", tmp_path / "file"))
            await pinned(set(range(max(1, number - many + 1), number + 1)))
        assert pinned_numbers(home.node, network, "nightly") == set(range(many - RETAINED + 2, many + 2))
        await trio.to_thread.run_sync(collect, reader)
        assert [has(reader, each) for each in made] == [False] + [True] * many
        await follow(None)
        assert following.listed(reader.node, report=ignore_progress).followed[0].keep == many
        await follow(2)
        await pinned({many, many + 1})
        await trio.to_thread.run_sync(collect, reader)
        assert [has(reader, each) for each in made] == [False] * (many - 1) + [True] * 2
        for wrong in (-1, 1001):
            with pytest.raises(UsageError, match="cannot be kept"):
                await follow(wrong)


async def test_a_pin_without_its_record_goes_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a publication leaves it that was killed before its record was put."""
    (tmp_path / "file").write_bytes(noise(1, 5000))
    async with founder(tmp_path / "a") as home:
        made = await publish(home, "nightly", tmp_path / "file")
        network = await network_id(home)
        pin_target(home.node, network, "nightly", 2, parse_link(made.link))
        pin_target(home.node, network, "nightly", 9, parse_link(made.link))
        (tmp_path / "file").write_bytes(noise(2, 5000))
        await publish(home, "nightly", tmp_path / "file")
        assert pinned_numbers(home.node, network, "nightly") == {1, 2, 9}
        monkeypatch.setattr("forge_p2p.node.refs.retention.STRAY", -1.0)
        (tmp_path / "file").write_bytes(noise(3, 5000))
        await publish(home, "nightly", tmp_path / "file")
        assert pinned_numbers(home.node, network, "nightly") == {1, 2, 3}


async def test_who_came_second_takes_no_pin_away(tmp_path: Path) -> None:
    """Two publish at once: both pin for the same number, and the later pin may be that of who came second."""
    (tmp_path / "file").write_bytes(noise(1, 5000))
    (tmp_path / "other").write_bytes(noise(2, 5000))
    async with founder(tmp_path / "a") as home:
        members, network = await home.members(), await network_id(home)
        first = parse_link((await publish(home, "nightly", tmp_path / "file")).link)
        second = parse_link((await publish(home, "other", tmp_path / "other")).link)
        await trio.to_thread.run_sync(pin_target, home.node, network, "nightly", 1, second)
        await trio.to_thread.run_sync(sweep_all, home.node, members.holdings, [network])
        assert pinned_numbers(home.node, network, "nightly") == {1}
        assert {pin.root for pin in home.node.store.pins() if "/nightly/" in pin.name} == {first}


async def test_a_name_takes_no_pin_of_one_that_begins_like_a_pin_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(noise(1, 5000))
    (tmp_path / "other").write_bytes(noise(2, 5000))
    async with founder(tmp_path / "a") as home:
        members, network = await home.members(), await network_id(home)
        other = parse_link((await publish(home, "nightly/1~other", tmp_path / "other")).link)
        await publish(home, "nightly", tmp_path / "file")
        await trio.to_thread.run_sync(sweep_all, home.node, members.holdings, [network])
        assert pinned_numbers(home.node, network, "nightly/1~other") == {1}
        assert other in {pin.root for pin in home.node.store.pins() if pin.name.startswith("ref/")}


async def test_an_expired_name_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(noise(1, 5000))
    async with founder(tmp_path / "a") as home:
        members = await home.members()
        network = await network_id(home)
        for name, seconds in (("preview", 1.0), ("nightly", 0.0)):
            await publish(home, name, tmp_path / "file", expires=seconds)
        await trio.sleep(2.1)
        await trio.to_thread.run_sync(sweep_all, home.node, members.holdings, [network])
        assert pinned_numbers(home.node, network, "preview") == set()
        assert pinned_numbers(home.node, network, "nightly") == {1}


async def test_a_home_comes_back(tmp_path: Path) -> None:
    """Its log and what its names stand for are as they were."""
    tree = small_tree(tmp_path / "tree")
    async with trio.open_nursery() as nursery:
        first = await nursery.start(brief_founder, tmp_path / "a")
        made = await publish(first.network, "nightly", tree)
        await first.stop()
    async with running(tmp_path / "a", MEMBER) as again:
        members = await again.members()
        assert [each.name for each in members.memberships.joined()] == ["team"]
        async with member(tmp_path / "b", await token(again)) as reader:
            assert (await pull(reader, "nightly", tmp_path / "copy")).link == made.link
    assert contents(tmp_path / "copy") == contents(tree)
