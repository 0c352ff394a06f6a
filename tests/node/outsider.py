"""A client that speaks frames and keeps to nothing else: what it is told, byte by byte."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import NetConfig
from forge_p2p.content.blinding import dht_key
from forge_p2p.content.membership import encode_chain
from forge_p2p.content.sealing import Direction, seal
from forge_p2p.errors import PeerError
from forge_p2p.ids import Hash, NodeId
from forge_p2p.net.base import Address, Connection, Endpoint, StreamData
from forge_p2p.net.quic import open_endpoint
from forge_p2p.node.network import Network
from forge_p2p.proto.hello import NETWORK, ClientRole, SessionConfig, client_hello, make_proof
from forge_p2p.proto.states import CONTROL_FRAMES
from forge_p2p.wire import messages, refs
from forge_p2p.wire.fields import Body
from forge_p2p.wire.frames import FrameReader, encode_frame
from tests.content.networks import Member, public

Credentials = Callable[[NodeId], bytes]
"""What to show to a server with this id."""


@dataclass
class Outsider:
    """`heard`: what came on each stream of a request; `verdict`: WELCOME or REFUSED, once it came."""

    connection: Connection
    private: Ed25519PrivateKey
    credentials: bytes
    heard: dict[int, bytearray] = field(default_factory=dict)
    news: list[bytes] = field(default_factory=list)
    verdict: messages.Welcome | messages.Refused | None = None
    goodbye: messages.Goodbye | None = None
    decided: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    _finished: dict[int, trio.Event] = field(default_factory=dict)
    _control: FrameReader = field(default_factory=lambda: FrameReader(CONTROL_FRAMES))

    async def run(self, early: Sequence[Body]) -> None:
        """Says hello, asks `early` questions before there is a verdict, and listens to the end."""
        role = ClientRole(NodeId(public(self.private)), self.connection.server_id, self.private.sign, self.credentials)
        self.connection.open_stream()
        try:
            await self._say(client_hello(role, SessionConfig(capabilities=frozenset({NETWORK}))))
            while True:
                for event in await self.connection.receive():
                    if isinstance(event, StreamData):
                        await self._hear(event, role, early)
        except PeerError:
            return
        finally:
            self.decided.set()
            self.ended.set()
            for finished in self._finished.values():
                finished.set()

    async def ask(self, *questions: Body) -> list[bytes]:
        """All that comes in answer to each."""
        streams = [await self._send(question) for question in questions]
        with trio.fail_after(20):
            for stream_id in streams:
                await self._finished[stream_id].wait()
        return [bytes(self.heard.get(stream_id, b"")) for stream_id in streams]

    async def throw(self, data: bytes) -> None:
        """Sends bytes on a stream of their own, whatever they are, and waits for the session's end."""
        stream_id = self.connection.open_stream()
        with suppress(PeerError):
            await self.connection.send(stream_id, [data], True)
        with trio.fail_after(20):
            await self.ended.wait()

    async def tell(self, *items: bytes) -> None:
        """Says news."""
        await self._say(messages.News(items))

    async def _hear(self, event: StreamData, role: ClientRole, early: Sequence[Body]) -> None:
        if event.stream_id != 0:
            self.heard.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.fin and event.stream_id in self._finished:
                self._finished[event.stream_id].set()
            return
        for message in self._control.feed(event.data):
            if isinstance(message, messages.Hello):
                await self._say(make_proof(role, message.nonce), messages.Credentials(self.credentials))
                for question in early:
                    await self._send(question)
            elif isinstance(message, messages.Welcome | messages.Refused):
                self.verdict = message
                self.decided.set()
            elif isinstance(message, messages.News):
                self.news += message.items
            elif isinstance(message, messages.Goodbye):
                self.goodbye = message

    async def _say(self, *words: Body) -> None:
        with suppress(PeerError):
            await self.connection.send(0, [encode_frame(word) for word in words])

    async def _send(self, question: Body) -> int:
        stream_id = self.connection.open_stream()
        self._finished[stream_id] = trio.Event()
        with suppress(PeerError):
            await self.connection.send(stream_id, [encode_frame(question)], True)
        return stream_id


def questions(root: Hash, secret: bytes) -> list[Body]:
    """Everything that can be asked about a root: its first chunk, whether that is there, who has it, what is there."""
    return [
        messages.Want(root, 0, 5_000, 1 << 20),
        messages.HaveQuery(root),
        messages.FindProviders(dht_key(secret, root)),
        messages.Follow.of(root, (), False),
    ]


def about_names(name: str) -> list[Body]:
    """Everything that can be asked about names."""
    return [refs.RefRead(name, 1, 8), refs.RefList("", 8), refs.RefPut(b"a record of one's own making")]


def sealed(member: Member, secret: bytes) -> Credentials:
    """What a member shows."""
    return lambda server: seal(secret, server, member.node_id, Direction.CLIENT, encode_chain(member.chain))


Call = Callable[..., Awaitable[Outsider]]


@asynccontextmanager
async def outsiders() -> AsyncIterator[Call]:
    """A function that calls a node: `call(node, private, credentials, early)`, back when there is a verdict."""
    private = Ed25519PrivateKey.generate()
    async with (
        open_endpoint(Address("127.0.0.1", 0), private, NetConfig()) as endpoint,
        trio.open_nursery() as nursery,
    ):
        yield _Caller(endpoint, nursery)
        nursery.cancel_scope.cancel()


@dataclass
class _Caller:
    endpoint: Endpoint
    nursery: trio.Nursery

    async def __call__(
        self, node: Network, private: Ed25519PrivateKey, credentials: Credentials, early: Sequence[Body] = ()
    ) -> Outsider:
        server = node.node.node_id
        connection = await self.endpoint.dial(node.reachable_addresses()[0], server)
        found = Outsider(connection, private, credentials(server))
        self.nursery.start_soon(found.run, early)
        with trio.fail_after(20):
            await found.decided.wait()
        return found
