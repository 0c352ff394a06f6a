"""A client that does what it likes: what a node meets on an open port."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import NetConfig
from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.content.ticket import Ticket, parse_ticket
from forge_p2p.ids import Hash, NodeId
from forge_p2p.net.base import Address, Endpoint
from forge_p2p.net.quic import open_endpoint
from forge_p2p.node.sessions.handlers import ChunkSource
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.proto import outputs
from forge_p2p.proto.hello import ClientRole
from forge_p2p.proto.hints import Hints
from forge_p2p.proto.session import Session
from forge_p2p.wire.codes import Code


@dataclass(slots=True)
class Answers:
    """What came back to one request."""

    chunks: dict[int, EncodedChunk] = field(default_factory=dict)
    deltas: dict[int, DeltaChunk] = field(default_factory=dict)
    baseless: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)


class Stranger:
    """A session of one's own making. Handles its own requests, and answers nothing."""

    def __init__(self, session: PeerSession) -> None:
        self.session = session
        self._answers: list[Answers] = []

    async def ask(self, hashes: Sequence[Hash], hints: Hints | None = None) -> Answers:
        """Everything that the node answers to a request for `hashes`."""
        answers = await self.begin(hashes, hints)
        with trio.fail_after(20):
            await answers.ended.wait()
        return answers

    async def begin(self, hashes: Sequence[Hash], hints: Hints | None = None) -> Answers:
        """Sends a request."""
        self._answers.append(Answers())
        await self.session.request(len(self._answers) - 1, hashes, False, self, hints=hints)
        return self._answers[-1]

    def chunks(self, session: ChunkSource, number: int, chunks: Sequence[tuple[int, EncodedChunk]]) -> None:
        self._answers[number].chunks.update(chunks)

    def deltas(self, session: ChunkSource, number: int, deltas: Sequence[tuple[int, DeltaChunk]]) -> None:
        self._answers[number].deltas.update(deltas)

    def baseless(self, session: ChunkSource, number: int, indexes: Sequence[int]) -> None:
        self._answers[number].baseless += indexes

    def missing(self, number: int, indexes: Sequence[int]) -> None:
        self._answers[number].missing += indexes

    def ended(self, number: int, code: Code) -> None:
        self._answers[number].ended.set()


class _Deaf:
    def requested(self, session: PeerSession, request: outputs.RequestReceived) -> None: ...

    def cancelled(self, session: PeerSession, request_id: int) -> None: ...

    def gone(self, session: PeerSession) -> None: ...

    def queried(self, session: PeerSession, query: outputs.HaveQueryReceived) -> None: ...

    def authorization_needed(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None: ...


@dataclass(slots=True)
class Crowd:
    """Where strangers come from: an endpoint of their own."""

    endpoint: Endpoint
    nursery: trio.Nursery
    key: Ed25519PrivateKey

    async def comes(self, ticket: Ticket, credentials: bytes | None = None) -> Stranger:
        """A stranger at the node of `ticket`, with its capability or with other credentials. Not yet let in."""
        host, port = ticket.addresses[0]
        connection = await self.endpoint.dial(Address(host, port), ticket.server)
        shown = ticket.capability.encode() if credentials is None else credentials
        client = NodeId(self.key.public_key().public_bytes_raw())
        session = PeerSession(connection, Session(ClientRole(client, ticket.server, self.key.sign, shown)), _Deaf())
        self.nursery.start_soon(session.run)
        return Stranger(session)

    async def let_in(self, ticket: str) -> Stranger:
        """A stranger whom the node has let in."""
        stranger = await self.comes(parse_ticket(ticket))
        with trio.fail_after(20):
            await stranger.session.ready.wait()
        assert stranger.session.peer_id is not None
        return stranger


@asynccontextmanager
async def strangers(config: NetConfig | None = None) -> AsyncIterator[Crowd]:
    """An endpoint for strangers, on loopback."""
    key = Ed25519PrivateKey.generate()
    async with (
        open_endpoint(Address("127.0.0.1", 0), key, config or NetConfig()) as endpoint,
        trio.open_nursery() as nursery,
    ):
        yield Crowd(endpoint, nursery, key)
        nursery.cancel_scope.cancel()
