"""What members are told of a root that a node has a part of, and fetches in several goes: real nodes over QUIC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from forge_p2p.content.contact import Contact
from forge_p2p.content.linktext import parse_link
from forge_p2p.ids import Hash, NodeId, unpack_prefixes
from forge_p2p.node.fetch.expanding import listing
from forge_p2p.node.fetch.fetching import fetching
from forge_p2p.node.fetch.receiving import Receiver
from forge_p2p.node.fetch.swarming import Swarming
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.membership.holdings import LINGER
from forge_p2p.node.membership.members import Members
from forge_p2p.node.network import Network
from forge_p2p.node.operations import looking
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.node.target import Target
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from tests.node.harness import contents, small_tree
from tests.node.names import PATIENCE, network_id
from tests.node.test_members import fetched, founder, member, shared, token


class Ear:
    """Hears what one node says that it has of a root."""

    def __init__(self) -> None:
        self.chunks: set[int] = set()
        self.complete = False
        self.over = False
        self._more = trio.Event()

    def told(self, session: PeerSession, message: messages.Told) -> None:
        if isinstance(message, messages.Holdings):
            self.chunks.update(unpack_prefixes(message.prefixes))
            self.complete = self.complete or message.complete
            self._news()

    def unfollowed(self, session: PeerSession, code: Code) -> None:
        self.over = True
        self._news()

    async def next(self) -> None:
        with trio.fail_after(PATIENCE):
            await self._more.wait()

    def _news(self) -> None:
        self._more.set()
        self._more = trio.Event()


@asynccontextmanager
async def follows(network: Network, other: Network, link: str) -> AsyncIterator[Ear]:
    """`network` follows a root at `other` until it leaves; then `other` has noticed."""
    members, ear = await network.members(), Ear()
    at = await other.members()
    where = Contact(other.node.node_id, at.addresses())
    session = await members.peering.session(await network_id(network), where)
    root = parse_link(link).link.hash
    number = await session.follow(messages.Follow.of(root, (), follow_back=False), ear)
    yield ear
    await session.unfollow(number)
    with trio.fail_after(PATIENCE):
        while any(each.users for each in at.holdings.of(await network_id(other))):
            await trio.sleep(0.02)


async def listed(network: Network, link: str) -> None:
    """Fetches a tree's listing and nothing else of it."""
    root = parse_link(link)

    async def produce(receiver: Receiver) -> None:
        await listing(receiver, root.link)

    async with fetching(network, Target(root, None, (), "")) as fetch:
        await fetch.run(produce, lambda counts: None)
        await fetch.commit()


def expire(members: Members) -> None:
    """As when no fetch has ended for a while."""
    members.holdings.expire(trio.current_time() + LINGER)


@asynccontextmanager
async def shared_to_two(folder: Path) -> AsyncIterator[tuple[Network, Network, str]]:
    """Two members of one network, and a small tree that a third shares with them."""
    tree = small_tree(folder / "tree")
    async with founder(folder / "a") as origin:
        text = await token(origin)
        async with member(folder / "b", text) as b, member(folder / "c", text) as c:
            yield b, c, await shared(origin, tree)


async def test_a_follower_of_one_fetch_hears_of_the_next(tmp_path: Path) -> None:
    """So does git: it asks what a repository is, and then for its packs. Of eight that cloned together, some heard
    nothing of what others had, and all of it came from the origin once more."""
    async with shared_to_two(tmp_path) as (b, c, link):
        await listed(b, link)
        async with follows(c, b, link) as ear:
            while not ear.chunks:
                await ear.next()
            expire(await b.members())
            await fetched(b, link, tmp_path / "copy")
            while not ear.complete:
                await ear.next()
            assert not ear.over
    assert contents(tmp_path / "copy") == contents(tmp_path / "tree")


async def test_what_one_fetch_brought_is_there_while_another_goes_on(tmp_path: Path) -> None:
    """Two commands of one node fetch the same; the one that ends first takes nothing away from who comes then."""
    async with shared_to_two(tmp_path) as (b, c, link):
        holdings = (await b.members()).holdings
        other = holdings.begin(await network_id(b), parse_link(link))
        await listed(b, link)
        expire(await b.members())
        async with follows(c, b, link) as ear:
            while not ear.chunks:
                await ear.next()
            holdings.leave(other)


async def test_a_part_is_offered_for_a_moment_after_its_fetch(tmp_path: Path) -> None:
    async with shared_to_two(tmp_path) as (b, c, link):
        holdings = (await b.members()).holdings
        await listed(b, link)
        async with follows(c, b, link) as ear:
            while not ear.chunks:
                await ear.next()
        holdings.expire(trio.current_time())
        assert [each.root for each in holdings.of(await network_id(b))] == [parse_link(link)]
        expire(await b.members())
        assert holdings.of(await network_id(b)) == []
        async with follows(c, b, link) as ear:
            while not ear.over:
                await ear.next()
            assert not ear.chunks


async def test_what_was_only_looked_at_is_not_offered(tmp_path: Path) -> None:
    """It is not in the store any more."""
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as b:
        await looking.ls(b, what=await shared(origin, tree), report=ignore_progress)
        assert (await b.members()).holdings.of(await network_id(b)) == []


async def test_who_follows_as_a_fetch_ends_comes_too_late(tmp_path: Path) -> None:
    """It was followed back in a nursery that was closed, and the node ended with that."""
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as b:
        root = parse_link(await shared(origin, tree))
        members = await b.members()
        swarmings: list[Swarming] = []

        async def produce(receiver: Receiver) -> None:
            await listing(receiver, root.link)
            swarmings.append(members.fetching[root.link.hash])

        async with fetching(b, Target(root, None, (), "")) as fetch:
            await fetch.run(produce, lambda counts: None)
        (session,) = members.peering.sessions(await network_id(b))
        swarmings[0].followed_by(session)
        swarmings[0].meet(session, Contact(NodeId(bytes(32)), ()))
        assert root.link.hash not in members.fetching


async def test_a_follow_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as b:
        (session,) = (await b.members()).peering.sessions(await network_id(b))
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.follow(messages.Follow.of(Hash(bytes(32)), (), follow_back=False), Ear())
        assert scope.cancelled_caught
        assert not session._follows
        await fetched(b, await shared(origin, small_tree(tmp_path / "tree")), tmp_path / "copy")
