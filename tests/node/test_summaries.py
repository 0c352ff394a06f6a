"""What neighbours have who never heard of a root: found by their summaries, fetched from them, within one network."""

import dataclasses
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import zstandard

from forge_p2p.content.linktext import parse_link
from forge_p2p.content.summary import CAPACITY_MIN, HeardSummary, Summary, Update
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.membership import summaries
from forge_p2p.node.network import Network
from forge_p2p.node.network_results import PeerEntry
from forge_p2p.node.operations import explaining, networking
from forge_p2p.node.results import GetResult
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.node.sessions.scope import Closure
from forge_p2p.proto.outputs import RequestReceived
from forge_p2p.wire import messages, sets
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import FrameReader
from tests.node.harness import contents, noise
from tests.node.names import meet, network_id
from tests.node.outsider import outsiders, sealed
from tests.node.scene import Scene, reader_of
from tests.node.test_members import fetched, founder, member, shared, sharing_ends, token

MB = 1 << 20
ROOM = 1 << 30


def first_version(root: Path) -> Path:
    for number in range(8):
        path = root / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number, 2 * MB))
    return root


def next_version(root: Path, older: Path) -> Path:
    """All that the first one has, and one file more; under other names, which nobody has heard of."""
    shutil.copytree(older, root / "moved")
    (root / "new.bin").write_bytes(noise(99, MB))
    return root


async def session_with(one: Network, other: Network) -> PeerSession:
    members = await one.members()
    found = members.peering.connected(await network_id(one), other.node.node_id)
    assert found is not None
    return found


async def summary_of(one: Network, other: Network) -> HeardSummary:
    """What `one` is told by `other`."""
    members = await one.members()
    heard = await members.summaries.of(await session_with(one, other), ROOM)
    assert heard is not None
    return heard


def prefixes(network: Network, link: str) -> list[int]:
    """Of the chunks that a link reaches."""
    return list(Closure(parse_link(link), network.node.store.read).prefixes)


def by_peer(result: GetResult) -> dict[str, int]:
    return {source.node_id: source.fetched for source in result.sources}


@asynccontextmanager
async def three(tmp_path: Path) -> AsyncIterator[tuple[Network, Network, Network, Path]]:
    """An origin; a neighbour that has fetched a first version; somebody else who knows both and has nothing."""
    older = first_version(tmp_path / "older")
    async with founder(tmp_path / "a") as origin:
        text = await token(origin)
        async with member(tmp_path / "b", text) as neighbour, member(tmp_path / "c", text) as third:
            await fetched(neighbour, await shared(origin, older), tmp_path / "copy of older")
            await meet(third, neighbour)
            yield origin, neighbour, third, older


async def test_a_neighbour_with_an_earlier_version_spares_the_origin(tmp_path: Path) -> None:
    async with three(tmp_path) as (origin, neighbour, third, older):
        tree = next_version(tmp_path / "newer", older)
        result = await fetched(third, await shared(origin, tree), tmp_path / "copy")
        assert contents(tmp_path / "copy") == contents(tree)
        brought = by_peer(result)
        assert brought[neighbour.node.node_id.hex()] > 12 * MB
        assert brought[origin.node.node_id.hex()] < 5 * MB
        assert all(not source.failures for source in result.sources)
        shown = {each.node_id: each.chunks for each in await peers_of(third)}
        assert shown[origin.node.node_id.hex()] == 0
        assert shown[neighbour.node.node_id.hex()] > 150


async def peers_of(network: Network) -> list[PeerEntry]:
    return (await explaining.running_peers(network, report=ignore_progress)).members


async def test_a_small_fetch_asks_nobody_for_a_summary(tmp_path: Path) -> None:
    async with three(tmp_path) as (origin, neighbour, third, _):
        (tmp_path / "small").write_bytes(noise(5, 200_000))
        await fetched(third, await shared(origin, tmp_path / "small"), tmp_path / "copy")
        members = await neighbour.members()
        assert not members.summaries._own


async def test_who_only_seems_to_have_it_hears_nothing_of_the_earlier_version(tmp_path: Path) -> None:
    """No bases are named to it, though the reader has many, and the origin is told."""
    async with three(tmp_path) as (origin, neighbour, third, older):
        await fetched(third, await shared(origin, older), tmp_path / "copy")
        (tmp_path / "other").write_bytes(noise(50, 3 * MB))
        await fetched(neighbour, await shared(origin, tmp_path / "other"), tmp_path / "copy of other")
        told_of_bases = hinted(neighbour)
        newer = tmp_path / "newer"
        shutil.copytree(older, newer)
        (newer / "0.bin").write_bytes(noise(0, MB) + b"edited" + noise(0, 2 * MB)[MB:])
        (newer / "other").write_bytes(noise(50, 3 * MB)[: 2 * MB] + b"edited" + noise(50, 3 * MB)[2 * MB :])
        result = await fetched(third, await shared(origin, newer), tmp_path / "copy")
        assert contents(tmp_path / "copy") == contents(newer)
        assert by_peer(result)[neighbour.node.node_id.hex()] > MB
        assert told_of_bases == []


def hinted(network: Network) -> list[int]:
    """The requests to a node, from now on, that name bases."""
    found: list[int] = []
    server = network._server
    assert server is not None
    before = server.requested

    def requested(session: PeerSession, request: RequestReceived) -> None:
        if session.session.hints(request.request_id) is not None:
            found.append(request.request_id)
        before(session, request)

    server.requested = requested  # type: ignore[method-assign]
    return found


async def test_members_of_another_network_are_asked_and_told_nothing(tmp_path: Path) -> None:
    """The reader is in two networks. Who has much of it in the other one is not asked for chunks, and while the fetch
    goes on cannot find out about it."""
    older = first_version(tmp_path / "older")
    async with (
        founder(tmp_path / "a") as origin,
        founder(tmp_path / "x", "other") as other,
        member(tmp_path / "c", await token(origin)) as reader,
    ):
        await trio.to_thread.run_sync(
            partial(networking.join, reader.node, token=await token(other), name="other", report=ignore_progress)
        )
        members = await reader.members()
        with trio.fail_after(30):
            while len([each for each in members.peering.networks if members.peering.sessions(each)]) < 2:
                await trio.sleep(0.05)
        await shared(other, older, "other")
        link = await shared(origin, next_version(tmp_path / "newer", older))
        summaries_of_other = (await other.members()).summaries
        secret = prefixes(origin, link)
        seen: list[int] = []

        async def look() -> None:
            asking = await other.members()
            (team,) = asking.peering.networks
            (session,) = asking.peering.sessions(team)
            heard = await asking.summaries.of(session, ROOM)
            if heard is not None:
                seen.extend(heard.among(secret))

        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                for _ in range(6):
                    await look()
                    await trio.sleep(0.1)

            nursery.start_soon(watch)
            result = await fetched(reader, link, tmp_path / "copy")
        assert by_peer(result).keys() == {origin.node.node_id.hex()}
        assert not summaries_of_other._own, "nobody asked"
        assert len(seen) < 6 * len(secret) / 20


async def test_it_is_told_once_and_then_what_came(tmp_path: Path) -> None:
    async with three(tmp_path) as (origin, neighbour, third, older):
        heard = await summary_of(third, neighbour)
        first = prefixes(origin, await shared(origin, older))
        assert heard.among(first) == first
        generation, position = heard.generation, heard.position
        (tmp_path / "more").write_bytes(noise(77, MB))
        more = await shared(origin, tmp_path / "more")
        await fetched(neighbour, more, tmp_path / "copy of more")
        assert (await summary_of(third, neighbour)) is heard
        assert heard.generation == generation
        assert heard.position == position + len(prefixes(origin, more))
        assert heard.among(prefixes(origin, more)) == prefixes(origin, more)


async def test_a_collection_ends_the_generation(tmp_path: Path) -> None:
    """Before anything is deleted: whoever asks next is told of what is left alone."""
    async with three(tmp_path) as (origin, neighbour, third, older):
        link = await shared(origin, older)
        (tmp_path / "kept").write_bytes(noise(77, MB))
        kept = await shared(origin, tmp_path / "kept")
        await fetched(neighbour, kept, tmp_path / "copy of kept")
        heard = await summary_of(third, neighbour)
        generation = heard.generation
        gone = prefixes(origin, link)
        assert heard.among(gone) == gone
        store = neighbour.node.store

        def collect() -> None:
            assert store.unpin(f"get/{link}")
            assert store.collect(0.0).chunks >= len(gone) - 1

        await trio.to_thread.run_sync(collect)
        again = await summary_of(third, neighbour)
        assert again.generation > generation
        assert len(again.among(gone)) < len(gone) / 4
        assert again.among(prefixes(origin, kept)) == prefixes(origin, kept)
        members = await neighbour.members()
        assert [each.root for each in members.holdings.of(await network_id(neighbour))] == [parse_link(kept)]


async def test_what_is_taken_back_is_named_no_more(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        (tmp_path / "file").write_bytes(noise(1, MB))
        link = await shared(origin, tmp_path / "file")
        chunks = prefixes(origin, link)
        assert (await summary_of(reader, origin)).among(chunks) == chunks
        await sharing_ends(origin, link)
        assert (await summary_of(reader, origin)).among(chunks) == []


async def test_of_many_roots_the_newest_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "NAMED_MAX", 40)
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        links = []
        for number in range(4):
            (tmp_path / f"{number}").write_bytes(noise(number, MB))
            links.append(await shared(origin, tmp_path / f"{number}"))
            await summary_of(reader, origin)
        heard = await summary_of(reader, origin)
        assert heard.among(prefixes(origin, links[-1])) == prefixes(origin, links[-1])
        assert len(heard.among(prefixes(origin, links[0]))) < 5


def claim_all(wanted: list[int]) -> Update:
    lie = Summary(1, max(len(wanted), CAPACITY_MIN), 5)
    lie.add(wanted)
    return Update(5, 0, lie.encode(), b"")


def all_ones(_wanted: list[int]) -> Update:
    raw = bytearray(Summary(1, 4096)._bits.save_bytes())
    raw[8:] = b"\xff" * (len(raw) - 8)
    return Update(5, 0, Summary(1, 4096, 5).encode()[:21] + zstandard.compress(bytes(raw)), b"")


def a_bomb(_wanted: list[int]) -> Update:
    return Update(5, 0, Summary(1, 4096, 5).encode()[:21] + zstandard.compress(bytes(1 << 30)), b"")


def another_generation(wanted: list[int]) -> Update:
    return dataclasses.replace(claim_all(wanted), generation=6)


def from_nothing(_wanted: list[int]) -> Update:
    return Update(5, 3, b"", bytes(24))


def garbage(_wanted: list[int]) -> Update:
    return Update(5, 0, noise(1, 1000), b"")


def lies(network: Network, lie: Update) -> None:
    """From now on a node tells this of itself, whoever asks."""

    async def asked(session: PeerSession, request_id: int, query: sets.SummaryQuery) -> None:
        session.session.reply(request_id, sets.SummaryTold.of(lie), trio.current_time())
        await session.flush()

    members = network.member_side
    assert members is not None
    members.summaries.asked = asked  # type: ignore[method-assign]


@pytest.mark.parametrize("lie", [claim_all, all_ones, a_bomb, another_generation, from_nothing, garbage])
async def test_a_lie_costs_no_more_than_questions(tmp_path: Path, lie: Callable[[list[int]], Update]) -> None:
    (tmp_path / "file").write_bytes(noise(1, 12 * MB))
    async with founder(tmp_path / "a") as origin:
        text = await token(origin)
        async with member(tmp_path / "b", text) as liar, member(tmp_path / "c", text) as reader:
            await meet(reader, liar)
            link = await shared(origin, tmp_path / "file")
            lies(liar, lie(prefixes(origin, link)))
            session = await session_with(reader, liar)
            with trio.fail_after(20):
                result = await fetched(reader, link, tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
            assert by_peer(result).keys() == {origin.node.node_id.hex()}
            if not session.ended.is_set():  # the fetch may have been over before anything was told
                assert (await (await reader.members()).summaries.of(session, ROOM) is not None) == (lie is claim_all)
            if lie is not claim_all:
                with trio.fail_after(30):
                    await session.ended.wait()  # what is malformed ends the session


def told(answer: bytes) -> messages.Message:
    (message,) = FrameReader().feed(answer)
    return message


async def test_a_member_may_have_what_it_was_told_of_and_nothing_else(here: Scene) -> None:
    want, question = messages.Want(here.root, 0, 5_000, 1 << 20), sets.SummaryQuery(0, 0, 1 << 20)
    async with outsiders() as call:
        one = reader_of(here.world)
        caller = await call(here.node, one.private, sealed(one, here.world.secret))
        (before,) = await caller.ask(want)
        assert isinstance(FrameReader().feed(before)[0], messages.Missing)
        (answer,) = await caller.ask(question)
        summary = told(answer)
        assert isinstance(summary, sets.SummaryTold)
        heard = HeardSummary()
        heard.receive(summary.update)
        prefix = int.from_bytes(here.root[:8], "big")
        assert heard.among([prefix]) == [prefix]
        (after,) = await caller.ask(want)
        assert not any(isinstance(each, messages.Missing) for each in FrameReader().feed(after))


async def test_what_is_worth_less_than_it_weighs_is_not_told(here: Scene) -> None:
    async with outsiders() as call:
        one = reader_of(here.world)
        caller = await call(here.node, one.private, sealed(one, here.world.secret))
        done = told((await caller.ask(sets.SummaryQuery(0, 0, 10)))[0])
        assert isinstance(done, messages.Done)
        assert done.code == Code.BUDGET
        (still,) = await caller.ask(messages.Want(here.root, 0, 5_000, 1 << 20))
        assert isinstance(FrameReader().feed(still)[0], messages.Missing)


async def test_another_network_is_told_nothing(here: Scene) -> None:
    """A member of another network of the same node learns that there is nothing, and gets nothing."""
    async with outsiders() as call:
        one = reader_of(here.other)
        caller = await call(here.node, one.private, sealed(one, here.other.secret))
        summary = told((await caller.ask(sets.SummaryQuery(0, 0, 1 << 20)))[0])
        assert isinstance(summary, sets.SummaryTold)
        heard = HeardSummary()
        heard.receive(summary.update)
        assert heard.count == 0
        (answer,) = await caller.ask(messages.Want(here.root, 0, 5_000, 1 << 20))
        assert isinstance(FrameReader().feed(answer)[0], messages.Missing)
        (bitmap,) = await caller.ask(messages.HaveQuery(here.root))
        assert told(bitmap) == messages.Have(b"\x00")


async def test_summaries_are_salted_anew_by_each_node_and_network(here: Scene) -> None:
    found = []
    async with outsiders() as call:
        for world in (here.world, here.other):
            one = reader_of(world)
            caller = await call(here.node, one.private, sealed(one, world.secret))
            summary = told((await caller.ask(sets.SummaryQuery(0, 0, 1 << 20)))[0])
            assert isinstance(summary, sets.SummaryTold)
            found.append(summary.summary[9:17])
    assert found[0] != found[1]
