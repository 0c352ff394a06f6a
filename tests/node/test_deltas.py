"""Real nodes, two versions: only what changed travels, whatever the peer knows, lacks or makes up."""

import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import zstandard

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk, DeltaForm
from forge_p2p.content.link import CHUNK_MAX, Kind, Root
from forge_p2p.content.linktext import parse_link
from forge_p2p.ids import Hash
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.operations import getting
from forge_p2p.node.results import GetResult
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.proto.hints import Answer as Sent
from forge_p2p.proto.hints import Hints, Lacking
from forge_p2p.proto.outputs import RequestReceived
from tests.node.conftest import Pair
from tests.node.harness import contents, get, noise, running, share, small_tree
from tests.node.liar import Liar, lying, store
from tests.node.stranger import strangers
from tests.node.test_members import connected, fetched, founder, member, shared, sharing_ends, token


def text(seed: int, lines: int) -> list[bytes]:
    """Lines of words, 70 bytes each."""
    chance = random.Random(seed)
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(4000)]
    return [b" ".join(chance.choices(words, k=10)) + b"\n" for _ in range(lines)]


def wire(*networks: Network) -> int:
    """UDP payload bytes of all sessions, both ways."""
    return sum(session.connection.statistics().bytes_sent for network in networks for session in network.sessions)


# What travels


async def test_one_line_among_members(tmp_path: Path) -> None:
    lines = text(1, 30_000)
    file = tmp_path / "file"
    file.write_bytes(b"".join(lines))
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        await fetched(reader, await shared(origin, file), tmp_path / "copy")
        for number in range(3):
            lines.insert(5000 * (number + 1), b"one more line\n")
            file.write_bytes(b"".join(lines))
            before = wire(origin, reader)
            await fetched(reader, await shared(origin, file), tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == file.read_bytes()
            assert wire(origin, reader) - before < 3000


async def test_one_line_by_ticket(pair: Pair) -> None:
    """What the first ticket opened, the second does not: the server is given signatures, and knows no base."""
    lines = text(1, 150_000)
    file = pair.path / "file"
    file.write_bytes(b"".join(lines))
    await get(pair.there, (await share(pair.here, file)).ticket, pair.path / "copy")
    lines.insert(70_000, b"one more line\n")
    file.write_bytes(b"".join(lines))
    result = await get(pair.there, (await share(pair.here, file)).ticket, pair.path / "copy")
    assert (pair.path / "copy").read_bytes() == file.read_bytes()
    assert result.wire_sent + result.wire_received < 12_000


async def test_one_line_from_who_never_had_the_old_version(tmp_path: Path) -> None:
    lines = text(1, 30_000)
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"".join(lines))
    new.write_bytes(b"".join([*lines[:9000], b"one more line\n", *lines[9000:]]))
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        await fetched(reader, await shared(origin, old), tmp_path / "copy")
        async with member(tmp_path / "c", await token(origin, "writer")) as writer:
            link = await shared(writer, new)
            await connected(writer)
            before = wire(origin, writer, reader)
            await fetched(reader, link, tmp_path / "copy")
            assert wire(origin, writer, reader) - before < 20_000
    assert (tmp_path / "copy").read_bytes() == new.read_bytes()


async def test_a_tree_of_many_files(tmp_path: Path) -> None:
    """The listing is fetched as a delta, too, and so are small files."""
    tree = tmp_path / "tree"
    lines = text(1, 30_000)
    for number in range(3000):
        path = tree / f"d{number % 30:02}" / f"f{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(lines[10 * number : 10 * number + 10]))
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        await fetched(reader, await shared(origin, tree), tmp_path / "copy")
        for number in range(0, 3000, 300):
            with (tree / f"d{number % 30:02}" / f"f{number:04}").open("ab") as file:
                file.write(b"one more line\n")
        before = wire(origin, reader)
        await fetched(reader, await shared(origin, tree), tmp_path / "copy")
        assert wire(origin, reader) - before < 8000
    assert contents(tmp_path / "copy") == contents(tree)


async def test_a_new_session_may_name_the_old_root(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", files=300)
    async with founder(tmp_path / "a") as origin:
        text = await token(origin)
        async with member(tmp_path / "b", text) as reader:
            await fetched(reader, await shared(origin, tree), tmp_path / "copy")
        for path in (tree / "d0").iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        link = await shared(origin, tree)
        async with member(tmp_path / "b", text) as reader:
            before = wire(origin, reader)
            await fetched(reader, link, tmp_path / "copy")
            assert wire(origin, reader) - before < 22_000, "signatures would make it twice as much"
    assert contents(tmp_path / "copy") == contents(tree)


async def test_an_earlier_version_may_lie_elsewhere(pair: Pair) -> None:
    file = pair.path / "file"
    file.write_bytes(noise(1, 900_000))
    first = await share(pair.here, file)
    await get(pair.there, first.ticket, pair.path / "copy")
    file.write_bytes(noise(1, 400_000) + b"inserted" + noise(1, 900_000)[400_000:])
    second = await share(pair.here, file)
    result = await getting.get(
        pair.there,
        what=second.ticket,
        destination=str(pair.path / "other"),
        previous=first.link,
        report=ignore_progress,
    )
    assert (pair.path / "other").read_bytes() == file.read_bytes()
    assert result.wire_sent + result.wire_received < 25_000


async def test_what_was_removed_from_the_network_is_no_base(tmp_path: Path) -> None:
    """Its chunks may still be in the store; nobody outside learns that."""
    lines = text(1, 20_000)
    file = tmp_path / "file"
    file.write_bytes(b"".join(lines))
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        link = await shared(origin, file)
        await fetched(reader, link, tmp_path / "copy")
        await sharing_ends(origin, link)
        file.write_bytes(b"".join([*lines, b"one more line\n"]))
        await fetched(reader, await shared(origin, file), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()


async def test_a_stranger_learns_nothing_from_bases(tmp_path: Path) -> None:
    """The answer is the same for a base that is here and not shared with it, and for one that is nowhere."""
    async with running(tmp_path / "here") as here, strangers() as crowd:
        (tmp_path / "shared").write_bytes(noise(1, 50_000))
        (tmp_path / "secret").write_bytes(noise(1, 50_000) + b"!")
        ticket = (await share(here, tmp_path / "shared")).ticket
        secret = parse_link((await share(here, tmp_path / "secret")).link).link.hash
        stranger = await crowd.let_in(ticket)
        wanted = parse_link((await share(here, tmp_path / "shared")).link).link.hash
        for base in (secret, Hash(os.urandom(32))):
            answers = await stranger.ask([wanted], Hints({0: base}, signs=True))
            assert (answers.baseless, answers.deltas, answers.chunks) == ([0], {}, {})
            answers = await stranger.ask([wanted], Hints({0: base}))
            assert (answers.baseless, answers.deltas, list(answers.chunks)) == ([], {}, [0])


async def test_a_ticket_of_another_node_hears_nothing_of_what_is_at_its_destination(pair: Pair) -> None:
    """Neither hashes nor signatures: what is there may be a private network's. Of its own version it may hear."""
    told: list[bool] = []

    async def answer(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
        told.append(session.session.hints(request.request_id) is not None)
        session.session.answer(request.request_id, request.indexes, liar.chunks(request.hashes), trio.current_time())
        await session.flush()

    secret = noise(1, 900_000)
    (pair.path / "secret").write_bytes(secret)
    await get(pair.there, (await share(pair.here, pair.path / "secret")).ticket, pair.path / "copy")
    content: dict[Hash, bytes] = {}
    versions = [Root(Kind.BLOB, store(content, secret[:9] + mark + secret[9:])) for mark in (b"?", b"!")]
    async with lying(answer, content) as liar:
        await get(pair.there, liar.ticket(versions[0]), pair.path / "copy")
        assert not any(told)
        assert told
        await get(pair.there, liar.ticket(versions[1]), pair.path / "copy")
        assert any(told)


async def test_members_of_one_network_hear_nothing_of_what_came_through_another(tmp_path: Path) -> None:
    secret = noise(1, 200_000)
    (tmp_path / "secret").write_bytes(secret)
    (tmp_path / "public").write_bytes(secret[:9] + b"!" + secret[9:])
    (tmp_path / "later").write_bytes(secret[:9] + b"?" + secret[9:])
    async with founder(tmp_path / "a") as origin, founder(tmp_path / "b", "other") as other:
        async with member(tmp_path / "c", await token(origin)) as reader:
            await fetched(reader, await shared(origin, tmp_path / "secret"), tmp_path / "copy")
        async with member(tmp_path / "c", await token(other)) as reader:
            before = wire(other, reader)
            await fetched(reader, await shared(other, tmp_path / "public", "other"), tmp_path / "copy")
            assert wire(other, reader) - before > len(secret), "a delta would have been of a base that it was told of"
            before = wire(other, reader)
            await fetched(reader, await shared(other, tmp_path / "later", "other"), tmp_path / "copy")
            assert wire(other, reader) - before < 10_000


# Liars


Lie = Callable[[DeltaChunk], Sent]


def nothing_but(data: bytes, form: DeltaForm = DeltaForm.BASE, size: int | None = None) -> Lie:
    return lambda delta: DeltaChunk(delta.hash, form, delta.size if size is None else size, data)


LIES: dict[str, Lie] = {
    "noise": nothing_but(noise(1, 300)),
    "nothing": nothing_but(b""),
    "a frame of zeros": nothing_but(zstandard.compress(bytes(CHUNK_MAX)), size=CHUNK_MAX),
    "a bomb": nothing_but(zstandard.compress(bytes(64 << 20)), size=CHUNK_MAX),
    "pieces where a base was named": nothing_but(noise(2, 300), DeltaForm.PIECES),
    "another size": nothing_but(zstandard.compress(bytes(100)), size=100),
}


def answering(lie: Lie) -> Callable[[Liar, PeerSession, RequestReceived], Awaitable[None]]:
    """Lies where a base was named, and is truthful else."""

    async def answer(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
        hints = session.session.hints(request.request_id)
        answers: list[Sent] = []
        for index, chunk in zip(request.indexes, liar.chunks(request.hashes), strict=True):
            named = hints is not None and index in hints and isinstance(chunk, EncodedChunk)
            answers.append(lie(DeltaChunk(chunk.hash, DeltaForm.BASE, chunk.size, b"")) if named and chunk else chunk)
        session.session.answer(request.request_id, request.indexes, answers, trio.current_time())
        await session.flush()

    return answer


async def update(pair: Pair, lie: Lie) -> tuple[GetResult, Liar]:
    """Gets a version from an honest liar, then the next one from a lying one."""
    old = noise(1, 900_000)
    new = old[:400_000] + b"inserted" + old[400_000:]
    content: dict[Hash, bytes] = {}
    first, second = (Root(Kind.BLOB, store(content, each)) for each in (old, new))
    async with lying(answering(lie), content) as liar:
        await get(pair.there, liar.ticket(first), pair.path / "copy")
        with trio.fail_after(20):
            result = await get(pair.there, liar.ticket(second), pair.path / "copy")
    assert (pair.path / "copy").read_bytes() == new
    return result, liar


@pytest.mark.parametrize("lie", LIES)
async def test_a_wrong_delta_costs_the_chunk_whole(pair: Pair, lie: str, caplog: pytest.LogCaptureFixture) -> None:
    _, liar = await update(pair, LIES[lie])
    assert liar.connections == 2, "the session goes on"
    assert caplog.text.count("sent a wrong delta") == 1, "it is not asked for another"
    assert pair.there.node.poisoners == {liar.node_id}


async def test_who_sent_a_wrong_delta_is_remembered_by_the_node(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """The next fetch from it names no bases either."""
    old = noise(1, 900_000)
    versions = [old, old[:400_000] + b"inserted" + old[400_000:], old[:500_000] + b"other" + old[500_000:]]
    content: dict[Hash, bytes] = {}
    first, second, third = (Root(Kind.BLOB, store(content, each)) for each in versions)
    asked: list[Hints | None] = []
    lies = answering(LIES["noise"])

    async def answer(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
        asked.append(session.session.hints(request.request_id))
        await lies(liar, session, request)

    async with lying(answer, content) as liar:
        for root in (first, second, third):
            before = len(asked)
            await get(pair.there, liar.ticket(root), pair.path / "copy")
    assert any(hints is not None for hints in asked)
    assert all(hints is None for hints in asked[before:])
    assert caplog.text.count("sent a wrong delta") == 1
    assert (pair.path / "copy").read_bytes() == versions[2]


async def test_who_says_to_lack_every_base_is_given_signatures_once(pair: Pair) -> None:
    requests: list[Hints | None] = []

    def lack(delta: DeltaChunk) -> Sent:
        return Lacking.BASE

    async def answer(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
        hints = session.session.hints(request.request_id)
        requests.append(hints)
        honest = hints is None or not hints.bases
        await answering((lambda delta: liar.chunks([delta.hash])[0]) if honest else lack)(liar, session, request)

    content: dict[Hash, bytes] = {}
    old = noise(1, 900_000)
    first, second = (Root(Kind.BLOB, store(content, each)) for each in (old, old[:9] + b"!" + old[9:]))
    async with lying(answer, content) as liar:
        await get(pair.there, liar.ticket(first), pair.path / "copy")
        with trio.fail_after(20):
            await get(pair.there, liar.ticket(second), pair.path / "copy")
    hinted = [hints for hints in requests if hints is not None]
    assert len(hinted) > 1
    assert [bool(hints.bases) for hints in hinted] == [True, *[False] * (len(hinted) - 1)]
    assert all(hints.signatures for hints in hinted[1:])


async def test_an_older_peer_is_told_of_bases_before_it_has_said_what_it_knows_and_never_again(pair: Pair) -> None:
    requests: list[Hints | None] = []

    async def answer(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
        requests.append(session.session.hints(request.request_id))
        session.session.answer(request.request_id, request.indexes, liar.chunks(request.hashes), trio.current_time())
        await session.flush()

    content: dict[Hash, bytes] = {}
    old = noise(1, 900_000)
    first, second = (Root(Kind.BLOB, store(content, each)) for each in (old, old[:9] + b"!" + old[9:]))
    async with lying(answer, content) as liar:
        liar.capabilities = frozenset()
        await get(pair.there, liar.ticket(first), pair.path / "copy")
        requests.clear()
        await get(pair.there, liar.ticket(second), pair.path / "copy")
    assert len(requests) > 1
    assert requests[1:] == [None] * (len(requests) - 1)


async def test_a_base_that_went_bad_is_done_without(pair: Pair) -> None:
    file = pair.path / "file"
    old = noise(1, 200_000)
    file.write_bytes(old)
    first = await share(pair.here, file)
    await get(pair.there, first.ticket, pair.path / "copy")
    file.write_bytes(old[:500] + b"!" + old[500:])
    second = await share(pair.here, file)
    await trio.to_thread.run_sync(lambda: _rot(pair.there, old))
    await get(pair.there, second.ticket, pair.path / "copy")
    assert (pair.path / "copy").read_bytes() == file.read_bytes()


def _rot(network: Network, content: bytes) -> None:
    """Flips a bit of `content` wherever the node keeps it."""
    for path in (network.node.home.path / "store").rglob("*"):
        if path.is_file() and content[1000:2000] in (data := path.read_bytes()):
            at = data.index(content[1000:2000])
            path.chmod(0o600)
            with path.open("r+b") as file:
                file.seek(at)
                file.write(bytes([data[at] ^ 1]))


# What is at the destination


async def test_chunks_of_a_file_that_the_store_does_not_know_are_not_fetched(pair: Pair) -> None:
    """Copied there by other means; edited since."""
    old = noise(1, 3_000_000)
    new = old[:1_000_000] + b"inserted" + old[1_000_000:]
    tree = pair.path / "tree"
    for path in (tree / "d" / "large", pair.path / "blob"):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(new)
    (pair.path / "copy" / "d").mkdir(parents=True)
    (pair.path / "copy" / "d" / "large").write_bytes(old)
    (pair.path / "file").write_bytes(old)
    result = await get(pair.there, (await share(pair.here, tree)).ticket, pair.path / "copy")
    assert result.fetched_bytes < 600_000
    assert contents(pair.path / "copy") == contents(tree)


async def test_a_file_of_a_blob_is_used_too(pair: Pair) -> None:
    old = noise(1, 3_000_000)
    (pair.path / "blob").write_bytes(old[9:])
    (pair.path / "file").write_bytes(old)
    result = await get(pair.there, (await share(pair.here, pair.path / "blob")).ticket, pair.path / "file")
    assert result.fetched_bytes < 600_000
    assert (pair.path / "file").read_bytes() == old[9:]


async def test_an_update_of_a_large_file_that_somebody_edited(pair: Pair) -> None:
    """What stays of it is copied from the file that stands there, but for what is not what it was."""
    source, copy = pair.path / "source", pair.path / "copy"
    source.mkdir()
    old = noise(1, 12_000_000)
    (source / "disk").write_bytes(old)
    await get(pair.there, (await share(pair.here, source)).ticket, copy)
    with (copy / "disk").open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"edited")
    new = old[:1_000_000] + b"changed" + old[1_000_007:8_000_000] + b"put in" + old[8_000_000:]
    (source / "disk").write_bytes(new)
    result = await get(pair.there, (await share(pair.here, source)).ticket, copy)
    assert (copy / "disk").read_bytes() == new
    assert result.fetched_bytes < 1_500_000
