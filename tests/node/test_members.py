"""Nodes of one private network: real ones in this process, over QUIC on loopback, found by their token alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from forge_p2p.config import NetConfig, NodeConfig
from forge_p2p.errors import NotFound, PeerError, Refused
from forge_p2p.node.fetch.swarming import FIND_FACTOR
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.operations import explaining, getting, networking, revoking, sharing
from forge_p2p.node.results import GetResult
from forge_p2p.node.sessions.peer import PeerSession
from tests.node.harness import CONFIG, contents, noise, running, small_tree

MEMBER = replace(CONFIG, net=NetConfig(lan=False, dial_timeout=2.0, stall_timeout=2.0, reconnect_timeout=3.0))


@asynccontextmanager
async def founder(home: Path, name: str = "team", config: NodeConfig = MEMBER) -> AsyncIterator[Network]:
    """A node that is up and has made a network."""
    async with running(home, config) as network:
        await trio.to_thread.run_sync(lambda: networking.create(network.node, name=name, report=ignore_progress))
        members = await network.members()
        with trio.fail_after(30):
            while not members.lookups:
                await trio.sleep(0.05)
        yield network


async def token(network: Network, role: str = "reader", expires: float = 0.0) -> str:
    invited = await networking.running_invite(network, role=role, expires=expires, report=ignore_progress)
    return invited.token


@asynccontextmanager
async def member(home: Path, text: str) -> AsyncIterator[Network]:
    """A node that is up and has joined by a token, connected with at least one other."""
    async with running(home, replace(MEMBER, token=text)) as network:
        await connected(network)
        yield network


async def connected(network: Network) -> None:
    members = await network.members()
    with trio.fail_after(30):
        while not any(members.peering.sessions(each) for each in members.peering.networks):
            await trio.sleep(0.02)


async def shared(network: Network, path: Path, name: str = "team") -> str:
    result = await sharing.share(network, path=str(path), in_network=name, report=ignore_progress)
    return result.link


async def fetched(network: Network, link: str, destination: Path) -> GetResult:
    return await getting.get(network, what=link, destination=str(destination), report=ignore_progress)


async def test_a_link_is_all_that_a_member_needs(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        link = await shared(origin, tree)
        result = await fetched(reader, link, tmp_path / "copy")
        assert contents(tmp_path / "copy") == contents(tree)
        assert [source.origin for source in result.sources] == [True]


async def test_a_member_passes_on_what_it_fetched(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as first:
        link = await shared(origin, tree)
        await fetched(first, link, tmp_path / "one")
        async with member(tmp_path / "c", await token(origin)) as second:
            await sharing_ends(origin, link)
            result = await fetched(second, link, tmp_path / "two")
        assert contents(tmp_path / "two") == contents(tree)
        assert [source.node_id for source in result.sources] == [first.node.node_id.hex()]


async def sharing_ends(network: Network, link: str) -> None:
    """Takes a link back at its origin, and waits until the running node has noticed."""
    await trio.to_thread.run_sync(lambda: sharing.unshare(network.node, what=link, report=ignore_progress))
    members = await network.members()
    with trio.fail_after(30):
        while any(members.holdings.of(each) for each in members.peering.networks):
            await trio.sleep(0.05)


async def test_those_who_start_together_give_each_other_what_they_have(tmp_path: Path) -> None:
    content = noise(1, 24_000_000)
    (tmp_path / "large").write_bytes(content)
    async with founder(tmp_path / "a") as origin:
        text = await token(origin)
        async with (
            member(tmp_path / "b", text) as b,
            member(tmp_path / "c", text) as c,
            member(tmp_path / "d", text) as d,
        ):
            link = await shared(origin, tmp_path / "large")
            results: list[GetResult] = []

            async def fetch(network: Network, name: str) -> None:
                results.append(await fetched(network, link, tmp_path / name))

            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for number, network in enumerate((b, c, d)):
                        nursery.start_soon(fetch, network, f"copy{number}")
    for number in range(3):
        assert (tmp_path / f"copy{number}").read_bytes() == content
    by_origin = sum(source.fetched for result in results for source in result.sources if source.origin)
    assert by_origin < 2.5 * len(content), "three copies from the origin would mean that nobody passed anything on"


async def test_what_is_shared_by_ticket_is_not_the_networks(tmp_path: Path) -> None:
    """Content of the store that was not shared into the network is not there for its members."""
    (tmp_path / "secret").write_bytes(noise(2, 300_000))
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        result = await sharing.share(origin, path=str(tmp_path / "secret"), report=ignore_progress)
        with trio.fail_after(40), pytest.raises(NotFound, match="none of the 1 members"):
            await fetched(reader, result.link, tmp_path / "copy")


async def test_who_comes_and_has_nothing_puts_nothing_off(tmp_path: Path) -> None:
    """A search for what nobody has ends in its time, however often somebody says that it has nothing."""
    (tmp_path / "secret").write_bytes(noise(2, 300_000))
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        result = await sharing.share(origin, path=str(tmp_path / "secret"), report=ignore_progress)
        members = await reader.members()

        async def call_again() -> None:
            while True:
                await trio.sleep(FIND_FACTOR * MEMBER.net.dial_timeout / 4)
                for swarming in list(members.fetching.values()):
                    swarming.followed_by(next(iter(reader.sessions)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call_again)
            with trio.fail_after(40), pytest.raises(NotFound, match="none of the 1 members"):
                await fetched(reader, result.link, tmp_path / "copy")
            nursery.cancel_scope.cancel()


async def test_two_networks_of_one_node_do_not_leak(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as origin:
        await trio.to_thread.run_sync(lambda: networking.create(origin.node, name="other", report=ignore_progress))
        members = await origin.members()
        with trio.fail_after(30):
            while len(members.lookups) < 2:
                await trio.sleep(0.05)
        invited = await networking.running_invite(origin, in_network="other", report=ignore_progress)
        link = await shared(origin, tree)
        async with member(tmp_path / "b", invited.token) as stranger:
            with trio.fail_after(40), pytest.raises(NotFound):
                await fetched(stranger, link, tmp_path / "copy")


async def test_who_is_revoked_is_out_at_once(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as origin:
        text = await token(origin)
        async with member(tmp_path / "b", text) as reader:
            link = await shared(origin, tree)
            await fetched(reader, link, tmp_path / "before")
            session = next(iter(origin.sessions))
            await trio.to_thread.run_sync(lambda: revoking.revoke(origin.node, who=text, report=ignore_progress))
            with trio.fail_after(30):
                await session.ended.wait()
            assert isinstance(session.reason, Refused)
            (tmp_path / "news").write_bytes(noise(3, 1000))
            fresh = await shared(origin, tmp_path / "news")
            with trio.fail_after(40), pytest.raises((PeerError, NotFound)):
                await fetched(reader, fresh, tmp_path / "after")


async def test_a_membership_runs_out_on_an_open_session(tmp_path: Path) -> None:
    """Either end may notice first: the session is over for both, and no new one begins."""
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin, expires=6.0)) as reader:
        session = next(iter(origin.sessions))
        with trio.fail_after(30):
            await session.ended.wait()
        await trio.sleep(1.5)
        for network in (origin, reader):
            members = await network.members()
            assert not any(members.peering.sessions(each) for each in members.peering.networks)


async def test_a_reader_may_not_share(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        with pytest.raises(Refused, match="is a reader in network 'team'"):
            await shared(reader, tmp_path / "file")


async def test_a_writer_may(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"ours")
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin, "writer")) as writer:
        link = await shared(writer, tmp_path / "file")
        await fetched(origin, link, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"ours"


async def test_why_says_who_has_it(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        link = await shared(origin, tree)
        before = await explaining.why(reader, what=link, report=ignore_progress)
        assert before.here == "no"
        assert [(each.complete, each.origin, each.problem) for each in before.holders] == [(True, True, "")]
        await fetched(reader, link, tmp_path / "copy")
        after = await explaining.why(reader, what=link, report=ignore_progress)
        assert after.here == "all of it"
        assert after.last is not None
        assert after.last.sources[0].fetched > 0


async def test_peers_are_shown_with_their_names(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        shown = await explaining.running_peers(origin, report=ignore_progress)
        assert [(each.node_id, each.role, each.network) for each in shown.members] == [
            (reader.node.node_id.hex(), "reader", "team")
        ]
        assert shown.members[0].connected > 0


async def test_the_dht_names_who_has_it(tmp_path: Path) -> None:
    """A node that knows one member, who has nothing, finds another by the link alone."""
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as middle:
        link = await shared(origin, tree)
        invited = await trio.to_thread.run_sync(lambda: networking.invite(origin.node, report=ignore_progress))
        at = middle.reachable_addresses()[0]
        net = replace(MEMBER.net, peers=(f"{middle.node.node_id.hex()}@{at.host}:{at.port}",))
        async with running(tmp_path / "c", replace(MEMBER, token=invited.token, net=net)) as far:
            await connected(far)
            result = await fetched(far, link, tmp_path / "copy")
        assert contents(tmp_path / "copy") == contents(tree)
        assert [source.node_id for source in result.sources] == [origin.node.node_id.hex()]


async def test_nobody_to_reach_is_said(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as origin:
        text = await token(origin)
        link = await shared(origin, small_tree(tmp_path / "tree"))
    async with running(tmp_path / "b", replace(MEMBER, token=text)) as alone:
        with trio.fail_after(40), pytest.raises(PeerError, match="no other member of the network can be reached"):
            await fetched(alone, link, tmp_path / "copy")


async def test_a_command_that_fails_says_goodbye(tmp_path: Path) -> None:
    """Else its peers ask it for things until the idle timeout."""
    async with founder(tmp_path / "a") as home:
        text = await token(home)
        seen: list[PeerSession] = []

        async def command() -> None:
            async with member(tmp_path / "b", text):
                seen.extend(home.sessions)
                raise NotFound("there is none")

        with pytest.raises(NotFound, match="there is none"):
            await command()
        (session,) = seen
        await session.ended.wait()
        assert session.reason is not None
        assert "shutting down" in session.reason.message
