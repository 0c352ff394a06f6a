"""Two sessions back to back on a virtual clock, over streams that arrive in pieces and in any order among them."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.ids import Hash, NodeId
from forge_p2p.proto.auth import EVERYTHING, Fixed, Refusal, Scope
from forge_p2p.proto.hello import NETWORK, ClientRole, ServerRole, SessionConfig
from forge_p2p.proto.outputs import (
    AbortStream,
    CloseConnection,
    HaveQueryReceived,
    Output,
    QueryReceived,
    ReplyReceived,
    RequestReceived,
    SendData,
)
from forge_p2p.proto.session import Session
from forge_p2p.wire.messages import Follow, Query, Reply

CLIENT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SERVER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
CLIENT_ID = NodeId(CLIENT_KEY.public_key().public_bytes_raw())
SERVER_ID = NodeId(SERVER_KEY.public_key().public_bytes_raw())
NONCE = bytes(range(64, 96))
MEMBER = Fixed(True, member=True)
NETWORKED = SessionConfig(capabilities=frozenset({NETWORK}))
SEEDS = [None, 1, 2, 3]
"""Of the order in which streams arrive; `None`: as it was sent."""

T = TypeVar("T")


@dataclass
class Door:
    """An authorizer with one answer; remembers what it was asked."""

    verdict: Scope | Refusal | None = EVERYTHING
    asked: list[tuple[NodeId, bytes]] = field(default_factory=list)

    def authorize(self, client_id: NodeId, credentials: bytes, now: float) -> Scope | Refusal | None:
        self.asked.append((client_id, credentials))
        return self.verdict


@dataclass(frozen=True)
class Only:
    """A scope of some chunks."""

    chunks: frozenset[Hash]
    member: bool = False

    def allows(self, chunk: Hash) -> bool:
        return chunk in self.chunks


def client_session(
    credentials: bytes = b"ticket", scope: Scope | None = EVERYTHING, config: SessionConfig | None = None
) -> Session:
    return Session(ClientRole(CLIENT_ID, SERVER_ID, CLIENT_KEY.sign, credentials, scope), config)


def server_session(door: Door | None = None, nonce: bytes = NONCE, config: SessionConfig | None = None) -> Session:
    return Session(ServerRole(SERVER_ID, nonce, door or Door()), config)


def make_chunk(size: int, seed: int = 0) -> EncodedChunk:
    raw = random.Random(f"{seed} {size}").randbytes(size)
    return EncodedChunk(Hash(blake3(raw).digest()), Codec.RAW, size, raw)


@dataclass
class _Pipe:
    """One direction of one stream."""

    pieces: deque[tuple[bytes, bool]] = field(default_factory=deque)
    cut: bool = False


class End:
    """One session, what it has seen, and what it serves."""

    def __init__(self, session: Session, first_stream: int) -> None:
        self.session = session
        self.chunks: dict[Hash, EncodedChunk] = {}
        self.batch = 1024
        """Indexes answered at once; 0 leaves answering to the test."""
        self.events: list[Output] = []
        self.outbox: dict[int, _Pipe] = {}
        self.aborts: deque[int] = deque()
        self.given_up: set[int] = set()
        self.closed: CloseConnection | None = None
        self.sent = 0
        self._streams = count(first_stream, 4)

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    def store(self, *chunks: EncodedChunk) -> list[Hash]:
        self.chunks.update((chunk.hash, chunk) for chunk in chunks)
        return [chunk.hash for chunk in chunks]

    def want(
        self, hashes: Sequence[Hash], now: float = 0.0, *, max_bytes: int = 4 << 20, deadline: float = 1000.0
    ) -> int:
        return self.session.want(next(self._streams), hashes, max_bytes=max_bytes, deadline=deadline, now=now)

    def have(self, hashes: Sequence[Hash], now: float = 0.0, deadline: float = 1000.0) -> int:
        return self.session.have(next(self._streams), hashes, deadline=deadline, now=now)

    def query(self, message: Query, now: float = 0.0, deadline: float = 1000.0) -> int:
        return self.session.query(next(self._streams), message, deadline=deadline, now=now)

    def follow(self, message: Follow, now: float = 0.0) -> int:
        return self.session.follow(next(self._streams), message, now)

    def drain(self, now: float) -> None:
        """Carries out what the session says, which may make it say more."""
        while outputs := self.session.take():
            for output in outputs:
                self._do(output, now)

    def _do(self, output: Output, now: float) -> None:
        if isinstance(output, SendData):
            data = b"".join(output.buffers)
            self.sent += len(data)
            pipe = self.outbox.setdefault(output.stream_id, _Pipe())
            assert not pipe.cut, "nothing is sent on a stream that was given up"
            pipe.pieces.append((data, output.fin))
        elif isinstance(output, AbortStream):
            self.outbox[output.stream_id] = _Pipe(cut=True)
            self.aborts.append(output.stream_id)
            self.given_up.add(output.stream_id)
        elif isinstance(output, CloseConnection):
            self.closed = output
        else:
            self.events.append(output)
            self._serve(output, now)

    def _serve(self, event: Output, now: float) -> None:
        if isinstance(event, RequestReceived) and self.batch:
            for at in range(0, len(event.indexes), self.batch):
                batch = slice(at, at + self.batch)
                found = [self.chunks.get(chunk) for chunk in event.hashes[batch]]
                self.session.answer(event.request_id, event.indexes[batch], found, now)
        elif isinstance(event, HaveQueryReceived) and self.batch:
            self.session.answer_have(event.request_id, [chunk in self.chunks for chunk in event.hashes], now)


class Pair:
    """Client and server. `seed` decides pieces and order; without one everything arrives whole and in order."""

    def __init__(self, client: Session, server: Session, seed: int | None = None) -> None:
        self.client = End(client, 4)
        self.server = End(server, 1)
        self.now = 0.0
        self._random = random.Random(seed) if seed is not None else None

    def start(self) -> "Pair":
        self.client.session.start(self.now)
        self.server.session.start(self.now)
        return self

    def run(self) -> "Pair":
        """Delivers until nothing moves."""
        while self.step():
            pass
        return self

    def step(self) -> bool:
        """Delivers one thing, if there is one."""
        self.client.drain(self.now)
        self.server.drain(self.now)
        moves = list(self._moves())
        if moves:
            (self._random.choice(moves) if self._random else moves[0])()
        return bool(moves)

    def advance(self, seconds: float) -> "Pair":
        """Lets time pass, from deadline to deadline, delivering what is sent meanwhile."""
        until = self.now + seconds
        while True:
            self.run()
            due = [when for end in self._ends if (when := end.session.next_deadline()) is not None]
            self.now = min([until, *due])
            for end in self._ends:
                end.session.handle_timeout(self.now)
            if self.now >= until:
                return self.run()

    @property
    def _ends(self) -> tuple[End, End]:
        return self.client, self.server

    def _moves(self) -> Iterator[Callable[[], None]]:
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            if sender.aborts:
                yield lambda s=sender, r=receiver: self._abort(s, r)  # type: ignore[misc]
            for stream_id, pipe in sender.outbox.items():
                if pipe.pieces:
                    yield lambda i=stream_id, p=pipe, r=receiver: self._deliver(i, p, r)  # type: ignore[misc]
            if sender.closed is not None and receiver.closed is None:
                yield lambda s=sender, r=receiver: self._hang_up(s, r)  # type: ignore[misc]

    def _deliver(self, stream_id: int, pipe: _Pipe, receiver: End) -> None:
        data, fin = pipe.pieces.popleft()
        if self._random is not None and len(data) > 1:
            cut = self._random.choice((1, 2, 7, 100, 1300, 65536, len(data)))
            if cut < len(data):
                pipe.pieces.appendleft((data[cut:], fin))
                data, fin = data[:cut], False
        if stream_id not in receiver.given_up:
            receiver.session.receive_stream(stream_id, data, fin, self.now)

    def _abort(self, sender: End, receiver: End) -> None:
        # As a QUIC stack: whoever aborts hears no more of the stream, and the other's half is cut.
        stream_id = sender.aborts.popleft()
        receiver.outbox[stream_id] = _Pipe(cut=True)
        if stream_id not in receiver.given_up:
            receiver.session.stream_aborted(stream_id, self.now)

    def _hang_up(self, sender: End, receiver: End) -> None:
        assert sender.closed is not None
        receiver.closed = CloseConnection(sender.closed.code, "hung up by the peer")
        receiver.session.connection_lost(sender.closed.reason, self.now)


def connected(seed: int | None = None, **server: object) -> Pair:
    """A pair past its hello."""
    pair = Pair(client_session(), server_session(**server), seed).start().run()  # type: ignore[arg-type]
    pair.client.events.clear()
    pair.server.events.clear()
    return pair


def members(seed: int | None = None, config: SessionConfig = NETWORKED) -> Pair:
    """A pair past its hello, of one network."""
    client, server = client_session(scope=MEMBER, config=config), server_session(Door(MEMBER), config=config)
    pair = Pair(client, server, seed).start().run()
    pair.client.events.clear()
    pair.server.events.clear()
    return pair


def assert_answered(pair: Pair, query: Query, reply: Reply) -> None:
    """Either side asks, and hears the one answer that the other gives, once."""
    for asking, answering in ((pair.client, pair.server), (pair.server, pair.client)):
        request = asking.query(query)
        pair.run()
        assert answering.events == [QueryReceived(request, query)]
        answering.session.reply(request, reply, 0.0)
        answering.session.reply(request, reply, 0.0)
        pair.run()
        assert asking.events == [ReplyReceived(request, reply)]
        assert asking.session.next_deadline() is answering.session.next_deadline() is None
        asking.events.clear()
        answering.events.clear()


def assert_only_fitting_replies(conversations: Sequence[tuple[Query, Reply]], others: Sequence[Reply] = ()) -> None:
    """What answers another kind of question is no reply, nor is any of `others`."""
    pair = members()
    for query, _ in conversations:
        request = pair.client.query(query)
        pair.run()
        unfitting = [reply for other, reply in conversations if type(other) is not type(query)]
        for reply in [*unfitting, *others]:
            with pytest.raises(ValueError, match="no reply to"):
                pair.server.session.reply(request, reply, 0.0)
