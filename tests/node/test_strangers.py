"""A client without rights or manners gets nothing, keeps nobody else waiting, and costs little."""

import json
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import psutil
import pytest
import trio

from forge_p2p.content.link import hash_bytes
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.ticket import parse_ticket
from forge_p2p.content.walk import reach
from forge_p2p.errors import PeerError, Refused
from forge_p2p.ids import Hash
from forge_p2p.net.base import Address
from forge_p2p.node.network import Network
from forge_p2p.wire.codes import Code
from forge_p2p.wire.fields import FrameType
from forge_p2p.wire.frames import encode_frame
from forge_p2p.wire.messages import Want
from forge_p2p.wire.varint import encode_varint
from tests.cli.harness import forge
from tests.node.conftest import Pair
from tests.node.harness import CHUNK, SETTINGS, Node, contents, get, node, noise, running, settings, share, small_tree
from tests.node.liar import store
from tests.node.stranger import Stranger, strangers

MB = 1_000_000


def all_chunks(network: Network, link: str) -> list[Hash]:
    return list(dict.fromkeys(reach(parse_link(link), network.node.store.read)))


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        (b"", "answers members of its networks and holders of a ticket"),
        (b"x", "is not one that this node understands"),
        (bytes(176), "is not one that this node understands"),
        (noise(1, 4000), "is not one that this node understands"),
    ],
)
async def test_no_ticket(pair: Pair, credentials: bytes, reason: str) -> None:
    ticket = parse_ticket((await share(pair.here, small_tree(pair.path / "source"))).ticket)
    async with strangers() as crowd:
        stranger = await crowd.comes(ticket, credentials)
        answers = await stranger.begin([ticket.root.link.hash])
        with trio.fail_after(30):
            await stranger.session.ended.wait()
        assert isinstance(stranger.session.reason, Refused)
        assert reason in str(stranger.session.reason)
        assert not answers.chunks


async def test_every_damaged_ticket(pair: Pair) -> None:
    """Whatever bit of a capability is flipped, it opens nothing."""
    ticket = parse_ticket((await share(pair.here, small_tree(pair.path / "source"))).ticket)
    draw = random.Random(1)
    good = ticket.capability.encode()
    async with strangers() as crowd:
        for _ in range(25):
            damaged = bytearray(good)
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
            stranger = await crowd.comes(ticket, bytes(damaged))
            with trio.fail_after(30):
                await stranger.session.ended.wait()
            assert isinstance(stranger.session.reason, Refused)


async def test_a_ticket_opens_its_own_root_alone(pair: Pair) -> None:
    """What is here and not shared with the peer is answered exactly as what does not exist."""
    (pair.path / "secret").mkdir()
    (pair.path / "secret" / "file").write_bytes(noise(5, 3 * CHUNK))
    shared = await share(pair.here, small_tree(pair.path / "source"))
    secret = await share(pair.here, pair.path / "secret")
    unshared = hash_bytes(b"only in the store")
    with pair.here.node.store.ingest() as ingest:
        ingest.put([(unshared, b"only in the store")])
        ingest.commit()
    own = all_chunks(pair.here, shared.link)
    foreign = [chunk for chunk in all_chunks(pair.here, secret.link) if chunk not in own] + [unshared]
    unknown = [hash_bytes(b"%d" % number) for number in range(len(foreign))]
    assert len(foreign) > 4
    async with strangers() as crowd:
        stranger = await crowd.let_in(shared.ticket)
        served = await stranger.ask(own)
        assert sorted(served.chunks) == list(range(len(own)))
        answers = [await stranger.ask(hashes) for hashes in (foreign, unknown)]
        for answer in answers:
            assert (answer.chunks, answer.missing) == ({}, list(range(len(foreign))))
        mixed = await stranger.ask([foreign[0], own[0], unknown[0]])
        assert (list(mixed.chunks), mixed.missing) == ([1], [0, 2])


async def test_new_shares_do_not_widen_a_session(pair: Pair) -> None:
    first = await share(pair.here, small_tree(pair.path / "first", seed=1))
    async with strangers() as crowd:
        stranger = await crowd.let_in(first.ticket)
        second = await share(pair.here, small_tree(pair.path / "second", seed=2))
        answers = await stranger.ask([parse_link(second.link).link.hash])
        assert answers.missing == [0]


# Manners. The node is in a process of its own, so that its memory can be watched.


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    home = settings(
        tmp_path_factory.mktemp("up") / "home", SETTINGS.replace("stall_timeout = 1.5", "stall_timeout = 0.5")
    )
    with node(home, "up", lines=2) as started:
        yield started


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 MB that do not compress, and some small files."""
    root = small_tree(tmp_path_factory.mktemp("source") / "tree")
    (root / "bulk").write_bytes(noise(1, 40 * MB))
    return root


@pytest.fixture(scope="module")
def ticket(up: Node, source: Path) -> str:
    return forge(up.home, "share", str(source)).stdout.strip()


@cache
def bulk_chunks() -> list[Hash]:
    """The chunks of the large file, as many as one request may name."""
    content: dict[Hash, bytes] = {}
    store(content, noise(1, 40 * MB))
    return list(content)[:1000]


def memory(up: Node) -> int:
    return int(psutil.Process(up.process.pid).memory_info().rss)


async def send(stranger: Stranger, *frames: bytes, stream: int | None = None, fin: bool = True) -> None:
    connection = stranger.session.connection
    await connection.send(connection.open_stream() if stream is None else stream, frames, fin)


def want(hashes: list[Hash], budget: int = 4 << 20) -> bytes:
    return encode_frame(Want(b"".join(hashes), 128, 60_000, budget))


async def too_many_requests(stranger: Stranger) -> None:
    for _ in range(1000):
        await send(stranger, want([hash_bytes(b"x")]), fin=False)


async def too_many_bytes(stranger: Stranger) -> None:
    """Sixty times four megabytes, asked for before the first can have come."""
    for _ in range(60):
        await send(stranger, want(bulk_chunks()), fin=False)


async def half_a_request(stranger: Stranger) -> None:
    await send(stranger, want([hash_bytes(b"x")])[:-5])


async def a_request_too_long(stranger: Stranger) -> None:
    await send(stranger, encode_varint(FrameType.WANT) + encode_varint(1 << 60))


async def an_answer_to_nothing(stranger: Stranger) -> None:
    await send(stranger, encode_varint(FrameType.DATA) + encode_varint(10) + bytes(10))


async def noise_on_a_stream(stranger: Stranger) -> None:
    await send(stranger, noise(4, 100_000))


async def noise_on_the_control_stream(stranger: Stranger) -> None:
    await send(stranger, noise(4, 100_000), stream=0)


async def unknown_frames(stranger: Stranger) -> None:
    await send(stranger, *[encode_varint(0x7FFF) + encode_varint(50_000) + bytes(50_000) for _ in range(100)])


async def many_pings(stranger: Stranger) -> None:
    frame = encode_varint(FrameType.PING) + encode_varint(2) + b"\x91\x01"
    for _ in range(50):
        await send(stranger, frame * 1000, stream=0, fin=False)


async def requests_given_up_at_once(stranger: Stranger) -> None:
    connection = stranger.session.connection
    while not stranger.session.ended.is_set():
        try:
            stream = connection.open_stream()
        except PeerError:
            await trio.sleep(0.002)  # no more at once: as fast as the node lets us
            continue
        await connection.send(stream, [want([hash_bytes(b"x")])])
        connection.abort_stream(stream, int(Code.CANCELLED))


@pytest.mark.parametrize(
    "behave",
    [
        too_many_requests,
        too_many_bytes,
        half_a_request,
        a_request_too_long,
        an_answer_to_nothing,
        noise_on_a_stream,
        noise_on_the_control_stream,
        unknown_frames,
        many_pings,
        requests_given_up_at_once,
    ],
    ids=lambda behave: behave.__name__,
)
async def test_bad_manners_end_the_session(
    up: Node, ticket: str, behave: Callable[[Stranger], Awaitable[None]]
) -> None:
    before = memory(up)
    async with strangers() as crowd:
        rude, polite = await crowd.let_in(ticket), await crowd.let_in(ticket)
        with trio.fail_after(30):
            with suppress(PeerError):  # the node has had enough
                await behave(rude)
            await rude.session.ended.wait()
        assert rude.session.reason is not None
        answers = await polite.ask([parse_ticket(ticket).root.link.hash])
        assert list(answers.chunks) == [0], "others are served as before"
    assert memory(up) - before < 64 * MB
    assert up.process.poll() is None


async def test_clients_that_do_not_read(tmp_path: Path, up: Node, ticket: str, source: Path) -> None:
    """They get a few buffers each, nobody waits for them, and after a while they are left."""
    chunks = bulk_chunks()
    async with running(tmp_path / "there", serve=False) as there, strangers() as crowd:
        before = memory(up)
        deaf = [await crowd.let_in(ticket) for _ in range(8)]
        async with trio.open_nursery() as nursery:
            for stranger in deaf:
                stranger.session.connection.receive = trio.sleep_forever  # type: ignore[method-assign]
                for start in range(0, len(chunks), 64):
                    nursery.start_soon(partial(ask_quietly, stranger, chunks[start : start + 64]))
            await trio.sleep(1)
            with trio.fail_after(20):
                await get(there, ticket, tmp_path / "copy")
            assert contents(tmp_path / "copy") == contents(source)
            assert memory(up) - before < 8 * 20 * MB
            while peers(up):
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
    assert up.process.poll() is None


def peers(up: Node) -> list[object]:
    """Those connected, as the node tells."""
    told: list[object] = json.loads(forge(up.home, "status", "--json").stdout)["peers"]
    return told


async def ask_quietly(stranger: Stranger, hashes: list[Hash]) -> None:
    try:
        await stranger.begin(hashes)
    except PeerError:
        return


async def test_many_who_say_nothing(up: Node, ticket: str, tmp_path: Path, source: Path) -> None:
    parsed = parse_ticket(ticket)
    async with strangers() as crowd, running(tmp_path / "there", serve=False) as there:
        for _ in range(40):
            host, port = parsed.addresses[0]
            await crowd.endpoint.dial(Address(host, port), parsed.server)
        with trio.fail_after(20):
            await get(there, ticket, tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(source)
