"""Two who both have most of a large root: they tell each other what they differ in, and not all of it."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.reconcile import MARK, Answer
from forge_p2p.content.walk import reach
from forge_p2p.ids import Hash, prefix_of
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.membership.reconciling import difference, set_of
from forge_p2p.node.network import Network
from forge_p2p.node.operations import adding
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.wire import messages, sets
from forge_p2p.wire.limits import WITHHELD_LEAST
from tests.node.harness import contents, noise
from tests.node.names import network_id
from tests.node.test_members import fetched, founder, member, token

FILES = 5000
assert FILES > WITHHELD_LEAST


@dataclass
class Two:
    """`here` has all of the root in its store, and is taken to be still fetching it; `there` knows `here`."""

    here: Network
    there: Network
    tree: Path
    root: Root
    link: str
    chunks: list[Hash]

    async def session(self) -> PeerSession:
        members = await self.there.members()
        found = members.peering.connected(await network_id(self.there), self.here.node.node_id)
        assert found is not None
        return found

    async def received_before(self, chunks: list[Hash]) -> None:
        """A fetch of `there` that was killed had received these."""
        store, key = self.there.node.store, self.root.link.hash

        def interrupt() -> None:
            with store.ingest(key) as ingest:
                ingest.put([(chunk, self.here.node.store.read(chunk)) for chunk in chunks])

        await trio.to_thread.run_sync(interrupt)


@asynccontextmanager
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(FILES):
        (tree / f"{number:04}").write_bytes(noise(number, 40))
    async with founder(tmp_path / "a") as here, member(tmp_path / "b", await token(here)) as there:
        added = await trio.to_thread.run_sync(lambda: adding.add(here.node, path=str(tree), report=ignore_progress))
        root = parse_link(added.link)
        chunks = list(dict.fromkeys(reach(root, here.node.store.read)))
        members = await here.members()
        members.holdings.begin(await network_id(here), root).arrive(chunks)
        yield Two(here, there, tree, root, added.link, chunks)


def asked(network: Network) -> list[type]:
    """The kinds of questions that a node is asked from now on."""
    kinds: list[type] = []
    members = network.member_side
    assert members is not None
    before = members.asked

    def ask(session: PeerSession, query: object) -> None:
        kinds.append(type(query.message))  # type: ignore[attr-defined]
        before(session, query)  # type: ignore[arg-type]

    members.asked = ask  # type: ignore[method-assign]
    return kinds


async def test_who_comes_back_asks_for_the_difference(tmp_path: Path) -> None:
    async with two(tmp_path) as scene:
        lacking = set(random.Random(1).sample(scene.chunks[100:], 20))
        await scene.received_before([chunk for chunk in scene.chunks if chunk not in lacking])
        session = await scene.session()
        kinds = asked(scene.here)
        before = session.connection.statistics()
        result = await fetched(scene.there, scene.link, tmp_path / "copy")
        after = session.connection.statistics()
        assert contents(tmp_path / "copy") == contents(scene.tree)
        assert result.fetched_bytes == 20 * 40
        assert sets.Reconcile in kinds
        assert after.bytes_received - before.bytes_received < 8 * FILES * 3 // 4, "a list has 8 bytes a chunk"


async def test_who_has_nothing_is_told_all_of_it(tmp_path: Path) -> None:
    async with two(tmp_path) as scene:
        kinds = asked(scene.here)
        await fetched(scene.there, scene.link, tmp_path / "copy")
        assert contents(tmp_path / "copy") == contents(scene.tree)
        assert sets.Reconcile not in kinds


async def test_who_has_other_parts_is_told_all_of_it(tmp_path: Path) -> None:
    """A difference that costs more than a list."""
    async with two(tmp_path) as scene:
        await scene.received_before(scene.chunks[: FILES * 6 // 10])
        await fetched(scene.there, scene.link, tmp_path / "copy")
        assert contents(tmp_path / "copy") == contents(scene.tree)


async def test_a_member_that_answers_nonsense_costs_a_question(tmp_path: Path) -> None:
    async with two(tmp_path) as scene:
        await scene.received_before(scene.chunks[:-20])
        members = await scene.here.members()

        async def lie(session: PeerSession, request_id: int, query: sets.Reconcile) -> None:
            told = Answer(tuple([b"\x01" + b"\xff" * MARK] * len(query.question.prefixes)), b"")
            session.session.reply(request_id, sets.Reconciled(told), trio.current_time())
            await session.flush()

        members._reconciler.asked = lie  # type: ignore[method-assign]
        await fetched(scene.there, scene.link, tmp_path / "copy")
        assert contents(tmp_path / "copy") == contents(scene.tree)


class Deaf:
    """A follower that is told and does nothing."""

    def told(self, session: PeerSession, message: messages.Told) -> None: ...

    def unfollowed(self, session: PeerSession, code: object) -> None: ...


async def test_exactly_what_differs_and_only_of_what_is_followed(tmp_path: Path) -> None:
    async with two(tmp_path) as scene:
        chance = random.Random(2)
        theirs = {prefix_of(chunk) for chunk in scene.chunks}
        gone, own = set(chance.sample(sorted(theirs), 30)), {chance.getrandbits(64) for _ in range(30)}
        here = set_of(theirs - gone | own)
        session = await scene.session()
        root = scene.root.link.hash
        assert await difference(session, root, here) is None, "not followed yet"
        await session.follow(messages.Follow.of(root, (), False, withhold=True), Deaf())
        with trio.fail_after(30):
            while (found := await difference(session, root, here)) is None:
                await trio.sleep(0.05)
        assert (found.missing, found.extra) == (gone, own)
        assert await difference(session, root, here, most=100) is None, "more than it is worth"
