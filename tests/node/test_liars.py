"""A server that lies, stalls, floods or vanishes: the get ends with a reason, and nothing is at the destination."""

import os
from collections.abc import AsyncIterator, Callable
from functools import cache, partial
from pathlib import Path

import psutil
import pytest
import trio
import zstandard

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.errors import DiskFull, ForgeError, HostileSnapshot, Malformed, NotFound, PeerError
from forge_p2p.ids import Hash
from forge_p2p.net.base import Connection
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.operations.looking import cat, ls
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.proto.outputs import RequestReceived
from forge_p2p.wire.codes import Code
from forge_p2p.wire.fields import FrameType
from forge_p2p.wire.varint import encode_varint
from tests.node.conftest import Pair
from tests.node.harness import HASTY, contents, get, noise, partials, running, share, small_tree
from tests.node.liar import Answer, Liar, Serve, file_entry, list_node, lying, put, raw_chunk, store, tree, truthful

MB = 1_000_000
MEMORY = 120 * MB
"""Bytes that a liar may make this process grow by: it runs here, too."""


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """As everywhere, but for the patience of who gets."""
    path = tmp_path / "files"
    path.mkdir()
    async with running(tmp_path / "here") as here, running(tmp_path / "there", HASTY, serve=False) as there:
        yield Pair(here, there, path)


def a_tree(content: dict[Hash, bytes]) -> Root:
    files = [file_entry(f"f{number}".encode(), store(content, noise(number, 3000))) for number in range(8)]
    return tree(content, [*files, file_entry(b"large", store(content, noise(9, 4 * CHUNK_MAX)))])


def memory() -> int:
    return int(psutil.Process().memory_info().rss)


async def deceived(
    pair: Pair,
    error: type[ForgeError],
    message: str,
    make: Callable[[dict[Hash, bytes]], Root] = a_tree,
    answer: Answer = truthful,
    serve: Serve | None = None,
) -> Liar:
    """A get from a liar: it has to fail as given, soon, in little memory, and to leave no trace."""
    content: dict[Hash, bytes] = {}
    root = make(content)
    copy = pair.path / "copy"
    before = memory()
    async with lying(answer, content, serve) as liar:
        with trio.fail_after(40), pytest.raises(error, match=message) as caught:
            await get(pair.there, liar.ticket(root), copy)
    assert type(caught.value) is error
    assert memory() - before < MEMORY
    assert not copy.exists()
    assert not copy.is_symlink()
    assert [path for path in pair.path.iterdir() if ".forge" not in path.name] == []
    return liar


# Wrong content


def replaced(change: Callable[[EncodedChunk], EncodedChunk]) -> Answer:
    """Answers with chunks that have been tampered with."""

    async def answer(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
        chunks = [chunk and change(chunk) for chunk in liar.chunks(request.hashes)]
        session.session.answer(request.request_id, request.indexes, chunks, trio.current_time())
        await session.flush()

    return answer


def flipped(chunk: EncodedChunk) -> EncodedChunk:
    data = bytearray(chunk.data)
    data[len(data) // 2] ^= 1
    return raw_chunk(chunk.hash, bytes(data))


@cache
def bomb_bytes() -> bytes:
    """A few kilobytes that would decompress to a gigabyte. Making it takes longer than a session waits."""
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join([compressor.compress(bytes(8 * MB)) for _ in range(125)]) + compressor.flush()


def bomb(chunk: EncodedChunk) -> EncodedChunk:
    return EncodedChunk(chunk.hash, Codec.ZSTD, CHUNK_MAX, bomb_bytes()[:CHUNK_MAX])


LIES: dict[str, Callable[[EncodedChunk], EncodedChunk]] = {
    "a flipped bit": flipped,
    "one byte less": lambda chunk: raw_chunk(chunk.hash, bytes(chunk.data[:-1])),
    "one byte more": lambda chunk: raw_chunk(chunk.hash, bytes(chunk.data) + b"+"),
    "nothing": lambda chunk: raw_chunk(chunk.hash, b""),
    "zeros": lambda chunk: raw_chunk(chunk.hash, bytes(CHUNK_MAX)),
    "not what the codec says": lambda chunk: EncodedChunk(chunk.hash, Codec.ZSTD, chunk.size, chunk.data),
    "LZ4 of noise": lambda chunk: EncodedChunk(chunk.hash, Codec.LZ4, chunk.size, noise(3, chunk.size // 2)),
    "a bomb": bomb,
}


@pytest.mark.parametrize("lie", LIES)
async def test_wrong_bytes(pair: Pair, lie: str) -> None:
    bomb_bytes()
    liar = await deceived(pair, PeerError, "sent wrong bytes", answer=replaced(LIES[lie]))
    assert liar.connections == 1, "a liar is not asked again"


async def test_wrong_bytes_at_the_end(pair: Pair) -> None:
    """What came before was right, and the next get, from somebody honest, need not fetch it again."""

    async def answer(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
        lies = replaced(flipped) if any(len(liar.content[chunk]) > 60_000 for chunk in request.hashes) else truthful
        await lies(liar, session, request)

    await deceived(pair, PeerError, "sent wrong bytes", answer=answer)
    content: dict[Hash, bytes] = {}
    async with lying(truthful, content) as honest:
        result = await get(pair.there, honest.ticket(a_tree(content)), pair.path / "copy")
    assert (pair.path / "copy" / "large").read_bytes() == noise(9, 4 * CHUNK_MAX)
    assert result.fetched_bytes < 5 * CHUNK_MAX - 8 * 3000


# Wrong structure


def noise_for_a_node(content: dict[Hash, bytes]) -> Root:
    return Root(Kind.BLOB, Link(put(content, noise(5, 5000)), 3 * CHUNK_MAX, 1))


def noise_for_a_listing(content: dict[Hash, bytes]) -> Root:
    return Root(Kind.TREE, Link(put(content, noise(5, 5000)), 5000, 0))


def sizes_swapped(content: dict[Hash, bytes]) -> Root:
    """A list whose sizes add up, and are not those of its chunks."""
    first, second = put(content, noise(1, 100_000)), put(content, noise(2, 200_000))
    return Root(Kind.BLOB, list_node(content, [Link(first, 200_000, 0), Link(second, 100_000, 0)], 1))


def sizes_swapped_in_a_tree(content: dict[Hash, bytes]) -> Root:
    return tree(content, [file_entry(b"file", sizes_swapped(content).link)])


def a_file_longer_than_it_says(content: dict[Hash, bytes]) -> Root:
    return tree(content, [file_entry(b"file", Link(put(content, noise(1, 5000)), 4000, 0))])


def a_chunk_of_a_listing_longer_than_it_says(content: dict[Hash, bytes]) -> Root:
    link = a_tree(content).link
    return Root(Kind.TREE, Link(link.hash, link.size - 1, link.level))


def level_that_is_not(content: dict[Hash, bytes]) -> Root:
    leaf = Link(put(content, noise(1, CHUNK_MAX)), CHUNK_MAX, 0)
    return Root(Kind.BLOB, Link(list_node(content, [leaf, leaf], 1).hash, 2 * CHUNK_MAX, 2))


def a_list_in_a_circle(content: dict[Hash, bytes]) -> Root:
    """The nearest that a list can come to naming itself: a node whose child, a level below, is the node again."""
    leaf = Link(put(content, noise(1, CHUNK_MAX)), CHUNK_MAX, 0)
    node = list_node(content, [leaf], 2)
    return Root(Kind.BLOB, Link(list_node(content, [Link(node.hash, CHUNK_MAX, 1)], 2).hash, CHUNK_MAX + 1, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (noise_for_a_node, "list node [0-9a-f]{16} is malformed"),
        (noise_for_a_listing, "listing has a page"),
        (sizes_swapped, "has 100000 bytes, its list says 200000"),
        (sizes_swapped_in_a_tree, "has 100000 bytes, its list says 200000"),
        (a_file_longer_than_it_says, "file has 5000 bytes of content, the snapshot says 4000"),
        (a_chunk_of_a_listing_longer_than_it_says, "bytes, its list says"),
        (level_that_is_not, "it says level 1, its link says 2"),
        (a_list_in_a_circle, "do not add up"),
    ],
)
async def test_malformed(pair: Pair, make: Callable[[dict[Hash, bytes]], Root], message: str) -> None:
    await deceived(pair, Malformed, message, make)


def endless(content: dict[Hash, bytes], level: int = 3) -> Link:
    """Four chunks that say they are most of a petabyte."""
    link = Link(put(content, bytes(range(256)) * 1024), CHUNK_MAX, 0)
    for above in range(1, level + 1):
        link = list_node(content, [link] * 1536, above)
    return link


async def test_endless_file(pair: Pair) -> None:
    await deceived(pair, DiskFull, "it needs", lambda content: Root(Kind.BLOB, endless(content)))


async def test_endless_file_in_a_tree(pair: Pair) -> None:
    await deceived(pair, DiskFull, "it needs", lambda content: tree(content, [file_entry(b"x", endless(content))]))


async def test_endless_listing(pair: Pair) -> None:
    liar = await deceived(
        pair, HostileSnapshot, "refused a listing of", lambda content: Root(Kind.TREE, endless(content))
    )
    assert liar.requests == 0


# Hostile entries


def symlink(path: bytes, target: bytes) -> Entry:
    return Entry(path, EntryKind.SYMLINK, 0o777, 0, 0, 0, target)


def directory(path: bytes) -> Entry:
    return Entry(path, EntryKind.DIRECTORY, 0o755, 0, 0, 0, b"")


HOSTILE: dict[str, Callable[[Link], list[Entry]]] = {
    "../escaped": lambda link: [file_entry(b"../escaped", link)],
    "up and down": lambda link: [directory(b"d"), file_entry(b"d/../../escaped", link)],
    "/tmp/escaped": lambda link: [file_entry(b"/tmp/escaped", link)],
    ".git": lambda link: [directory(b".git"), file_entry(b".git/config", link)],
    ".GIT": lambda link: [directory(b".GIT"), file_entry(b".GIT/config", link)],
    "git~1": lambda link: [directory(b"git~1")],
    "through a symlink": lambda link: [symlink(b"d", b"/tmp"), file_entry(b"d/escaped", link)],
    "CON": lambda link: [file_entry(b"CON", link)],
    "dot.": lambda link: [file_entry(b"dot.", link)],
    "long": lambda link: [file_entry(b"n" * 300, link)],
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_entries(pair: Pair, name: str) -> None:
    def make(content: dict[Hash, bytes]) -> Root:
        return tree(content, HOSTILE[name](store(content, b"harm")))

    await deceived(pair, HostileSnapshot, "refused entry", make)
    assert "escaped" not in os.listdir("/tmp")


# No answer, half an answer, another answer


async def silent(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    """Takes requests and never says anything to them."""


async def dripping(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    """Always a little more of one frame, never the end."""
    await session.connection.send(request.request_id, [encode_varint(FrameType.DATA) + encode_varint(100_000)])
    while True:
        await session.connection.send(request.request_id, [b"\0"])
        await trio.sleep(0.02)


async def vanishing(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    await session.connection.send(request.request_id, [encode_varint(FrameType.DATA) + encode_varint(100_000)])
    await session.connection.aclose()


async def nothing_here(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    session.session.answer(request.request_id, request.indexes, [None] * len(request.hashes), trio.current_time())
    await session.flush()


async def always(code: Code, liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    session.session.finish(request.request_id, code, "not now", trio.current_time())
    await session.flush()


async def raw(data: bytes, liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    await session.connection.send(request.request_id, [data], fin=True)


async def flooding(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    """An answer without end."""
    frame = encode_varint(0x7FFF) + encode_varint(60_000) + bytes(60_000)
    while True:
        await session.connection.send(request.request_id, [frame * 16])


async def pinging(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    frame = encode_varint(FrameType.PING) + encode_varint(2) + b"\x91\x01"
    while True:
        await session.connection.send(0, [frame * 1000])


async def unasked(liar: Liar, session: PeerSession, request: RequestReceived) -> None:
    """Streams of its own, full of bytes."""
    while True:
        await session.connection.send(session.connection.open_stream(), [bytes(1 << 20)])


async def mute(liar: Liar, connection: Connection) -> None:
    """A connection, and not a word on it."""
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (silent, PeerError, "does not answer: nothing came for 0.8 s"),
        (dripping, PeerError, "does not answer: nothing came for 0.8 s"),
        (vanishing, PeerError, "closed the connection"),
        (nothing_here, NotFound, "the peer does not have 1 of the chunks"),
        (partial(always, Code.STORE), PeerError, "does not answer: not now"),
        (partial(always, Code.BUSY), PeerError, "does not answer: not now"),
        (partial(always, Code.BUDGET), PeerError, "does not answer: not now"),
        (partial(raw, b""), PeerError, "an answer ended in the middle"),
        (partial(raw, encode_varint(FrameType.DATA) + encode_varint(1 << 60)), PeerError, "claims 1152921504606846976"),
        (partial(raw, noise(8, 5000)), PeerError, "ended: "),
        (flooding, PeerError, "more than 64 frames of unknown types"),
        (pinging, PeerError, "control frames a second|a hello of more than"),
        (unasked, PeerError, "ended: "),
    ],
)
async def test_no_proper_answer(pair: Pair, answer: Answer, error: type[ForgeError], message: str) -> None:
    liar = await deceived(pair, error, message, answer=answer)
    assert liar.requests < 50


async def test_no_hello(pair: Pair) -> None:
    await deceived(pair, PeerError, "no hello within 1.5 s", serve=mute)


async def test_looking_into_a_lie(pair: Pair) -> None:
    """Neither a listing nor content is shown that is not what the link names."""
    content: dict[Hash, bytes] = {}
    root = a_tree(content)
    shown: list[bytes] = []

    async def emit(piece: bytes) -> None:
        shown.append(piece)

    async with lying(replaced(flipped), content) as liar:
        ticket = liar.ticket(root)
        with pytest.raises(PeerError, match="sent wrong bytes"):
            await ls(pair.there, what=ticket, report=ignore_progress)
        with pytest.raises(PeerError, match="sent wrong bytes"):
            await cat(pair.there, what=ticket, path="large", emit=emit, report=ignore_progress)
    assert shown == []


async def test_others_are_got_from_meanwhile(pair: Pair) -> None:
    """A liar holds up nobody else's get, not even in the same node."""
    content: dict[Hash, bytes] = {}
    root = a_tree(content)
    shared = await share(pair.here, small_tree(pair.path / "source"))
    async with lying(dripping, content) as liar, trio.open_nursery() as nursery:
        given_up = trio.Event()

        async def from_the_liar() -> None:
            with pytest.raises(PeerError):
                await get(pair.there, liar.ticket(root), pair.path / "never")
            given_up.set()

        nursery.start_soon(from_the_liar)
        while not liar.requests:
            await trio.sleep(0.01)
        await get(pair.there, shared.ticket, pair.path / "copy")
        assert not given_up.is_set()
        assert contents(pair.path / "copy") == contents(pair.path / "source")
    assert not (pair.path / "never").exists()
    assert partials(pair.path / "copy") == []
