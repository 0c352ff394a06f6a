"""A server that holds to the hello and to nothing else: what a `get` meets when a ticket comes from an enemy."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.content.chunking import Chunker
from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root, hash_bytes
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.content.ticket import format_ticket, issue
from forge_p2p.content.tree import NODE_FORMAT, TreeBuilder
from forge_p2p.errors import PeerError
from forge_p2p.ids import Hash, NodeId
from forge_p2p.net.base import Address, Connection
from forge_p2p.net.quic import open_endpoint
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.proto import outputs
from forge_p2p.proto.auth import EVERYTHING, Scope
from forge_p2p.proto.hello import ServerRole, SessionConfig
from forge_p2p.proto.hints import DELTA
from forge_p2p.proto.session import Session
from tests.node.harness import HASTY

Answer = Callable[["Liar", PeerSession, outputs.RequestReceived], Awaitable[None]]
Serve = Callable[["Liar", Connection], Awaitable[None]]


class _Anybody:
    def authorize(self, client_id: NodeId, credentials: bytes, now: float) -> Scope:
        return EVERYTHING


@dataclass(slots=True)
class Liar:
    """`answer` is called with every request. `requests` counts them, `connections` those who came."""

    key: Ed25519PrivateKey
    address: Address
    nursery: trio.Nursery
    answer: Answer
    content: Mapping[Hash, bytes]
    requests: int = 0
    connections: int = 0
    capabilities: frozenset[str] = frozenset({DELTA})
    sessions: list[PeerSession] = field(default_factory=list)

    @property
    def node_id(self) -> NodeId:
        return NodeId(self.key.public_key().public_bytes_raw())

    def ticket(self, root: Root) -> str:
        """A ticket for `root` that leads here."""
        return format_ticket(issue(self.key, root, [(self.address.host, self.address.port)]))

    def chunks(self, hashes: Sequence[Hash]) -> list[EncodedChunk | None]:
        """The true answer."""
        return [raw_chunk(chunk, self.content[chunk]) if chunk in self.content else None for chunk in hashes]

    # What a session reports to.

    def requested(self, session: PeerSession, request: outputs.RequestReceived) -> None:
        self.requests += 1
        self.nursery.start_soon(self._answer, session, request)

    def cancelled(self, session: PeerSession, request_id: int) -> None: ...

    def gone(self, session: PeerSession) -> None: ...

    def queried(self, session: PeerSession, query: outputs.HaveQueryReceived) -> None: ...

    def authorization_needed(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None: ...

    async def _answer(self, session: PeerSession, request: outputs.RequestReceived) -> None:
        try:
            await self.answer(self, session, request)
        except PeerError:
            return  # the client has gone

    async def serve(self, connection: Connection) -> None:
        """The honest part: the hello, and reading what the client wants."""
        self.connections += 1
        role = ServerRole(self.node_id, secrets.token_bytes(32), _Anybody())
        session = PeerSession(connection, Session(role, SessionConfig(capabilities=self.capabilities)), self)
        self.sessions.append(session)
        await session.run()


def raw_chunk(chunk: Hash, data: bytes) -> EncodedChunk:
    return EncodedChunk(chunk, Codec.RAW, len(data), data)


async def truthful(liar: Liar, session: PeerSession, request: outputs.RequestReceived) -> None:
    """Answers as it should."""
    session.session.answer(request.request_id, request.indexes, liar.chunks(request.hashes), trio.current_time())
    await session.flush()


@asynccontextmanager
async def lying(
    answer: Answer = truthful, content: Mapping[Hash, bytes] | None = None, serve: Serve | None = None
) -> AsyncIterator[Liar]:
    """Runs a liar on loopback. `serve` replaces the hello, too."""
    key = Ed25519PrivateKey.generate()
    async with (
        open_endpoint(Address("127.0.0.1", 0), key, HASTY.net) as endpoint,
        trio.open_nursery() as nursery,
    ):
        liar = Liar(key, endpoint.address, nursery, answer, {} if content is None else content)

        async def accept() -> None:
            while True:
                connection = await endpoint.accept()
                nursery.start_soon(serve or Liar.serve, liar, connection)

        nursery.start_soon(accept)
        yield liar
        nursery.cancel_scope.cancel()


# Content to share


def store(content: dict[Hash, bytes], data: bytes) -> Link:
    """Puts `data` into `content` as its protocol's chunks and nodes."""
    builder = TreeBuilder()
    for chunks in Chunker().cut_pieces([data]):
        for chunk in chunks:
            content[chunk.hash] = bytes(chunk.data)
        builder.add_all([(chunk.hash, chunk.length) for chunk in chunks])
    link = builder.finish()
    content.update(builder.take_nodes())
    return link


def put(content: dict[Hash, bytes], data: bytes) -> Hash:
    """Puts one chunk."""
    assert len(data) <= CHUNK_MAX
    name = hash_bytes(data)
    content[name] = data
    return name


def file_entry(path: bytes, link: Link) -> Entry:
    return Entry(path, EntryKind.FILE, 0o644, 1_000_000_000, link.size, link.level, link.hash)


def tree(content: dict[Hash, bytes], entries: Sequence[Entry]) -> Root:
    """A listing of exactly these entries, unchecked: `content.snapshot` would refuse to write a hostile one."""
    import msgspec

    pages = b""
    for entry in entries:
        body = msgspec.msgpack.encode([entry])
        pages += len(body).to_bytes(4, "little") + body
    return Root(Kind.TREE, store(content, pages))


def list_node(content: dict[Hash, bytes], children: Sequence[Link], level: int) -> Link:
    """A list node of any children, with the sizes that they claim."""
    rows = b"".join(child.hash + child.size.to_bytes(8, "little") for child in children)
    name = put(content, bytes([NODE_FORMAT, level]) + rows)
    return Link(name, sum(child.size for child in children), level)
