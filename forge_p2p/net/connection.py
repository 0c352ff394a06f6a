"""One QUIC connection on trio: the application's calls on one side, the engine on the other.

All methods run on the endpoint's trio thread and the engine is never entered twice at once, so there are no locks. A
turn (`take_turn`) is the unit of work: take what the engine has to say, then let it send a bounded number of datagrams.
Whatever the engine raises ends this connection alone.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import trio

from forge_p2p.errors import PeerError
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Address, Buffer, ConnectionStatistics, NetEvent, StreamAborted, StreamData
from forge_p2p.net.engine import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    DatagramReceived,
    EngineConnection,
    EngineEvent,
    Established,
    Terminated,
)
from forge_p2p.net.tls import node_id_of
from forge_p2p.net.udp import Datagram, SocketAddress

SEND_PIECE = 1 << 20
"""Bytes given to the engine at once."""
UNSENT_PER_STREAM = 1 << 20
UNSENT_PER_CONNECTION = 8 << 20
"""Bytes waiting for their first transmission, past which `send` waits."""
EVENT_COST = 128
"""Bytes that an event counts for beside its data, so that floods of empty ones fill the cap too."""
TURN_DATAGRAMS = 192
"""Sent in one turn: 272 KiB at 1452 bytes, so that no connection holds the socket for more than a millisecond or so."""

CODE_CLOSED = 0
CODE_WRONG_KEY = 0x101
CODE_OVERFLOW = 0x102
CODE_TOO_MANY = 0x103
"""Application error codes of CONNECTION_CLOSE that this layer sends; the session's own start at 0x1000."""


class Host(Protocol):
    """What a connection asks of its endpoint."""

    def transmit(self, datagrams: list[Datagram]) -> bool:
        """Sends or queues; false while the socket is full."""

    def schedule(self, connection: "QuicConnection") -> None:
        """Gives the connection a turn soon."""

    def set_deadline(self, connection: "QuicConnection", when: float) -> None: ...

    def add_route(self, connection_id: bytes, connection: "QuicConnection") -> None: ...

    def remove_route(self, connection_id: bytes) -> None: ...

    def established(self, connection: "QuicConnection") -> None: ...

    def forget(self, connection: "QuicConnection") -> None:
        """Drops every route to it; it will get no more turns."""


class QuicConnection:
    """See `base.Connection`."""

    def __init__(
        self, host: Host, engine: EngineConnection, address: Address, server_id: NodeId, *, is_client: bool, cap: int
    ) -> None:
        self.is_client = is_client
        self.address = address
        self.server_id = server_id
        self.keep_alive = is_client
        self.engine = engine
        self.scheduled = math.inf
        """When the endpoint's timer will look at this connection next."""
        self.handshake_deadline = math.inf
        self.settled = trio.Event()
        """Set once the handshake is complete or the connection has failed."""
        self._host = host
        self._cap = cap
        self._failure: PeerError | None = None
        self._closing = False
        self._events: list[NetEvent] = []
        self._unread = 0
        self._readable = trio.Event()
        self._waiting_to_send: dict[int, trio.Event] = {}
        self._given_up: set[int] = set()
        self._bytes_sent = 0
        self._bytes_received = 0
        self._last_received = trio.current_time()

    # -- the application's side

    def open_stream(self) -> int:
        self.check_open()
        with self._guarded():
            stream_id = self.engine.open_stream()
        if stream_id is None:
            raise PeerError("the peer allows no more streams at once", hint="wait for one to end")
        return stream_id

    async def receive(self) -> list[NetEvent]:
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._failure is not None:
                raise self._failure
            self._readable = trio.Event()
            await self._readable.wait()
        events, self._events = self._events, []
        held_back = self._unread >= self._room_limit
        self._unread = 0
        if held_back:
            self._host.schedule(self)  # what the engine held back is now let in, and the peer gets its credit
        return events

    async def send(self, stream_id: int, buffers: Sequence[Buffer], fin: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        pieces = list(_pieces(buffers))
        for index, piece in enumerate(pieces):
            await self._send_piece(stream_id, piece, fin and index == len(pieces) - 1)
        if not pieces and fin:
            await self._send_piece(stream_id, b"", fin=True)
        await self._until_sendable(stream_id)

    def abort_stream(self, stream_id: int, code: int) -> None:
        if self._failure is not None or self._closing:
            return
        self._given_up.add(stream_id)
        with self._guarded():
            self.engine.abort(stream_id, code)
        self._wake_senders()
        self._host.schedule(self)

    async def aclose(self, code: int = CODE_CLOSED, reason: str = "") -> None:
        self.close(code, reason)
        await trio.lowlevel.checkpoint()

    def statistics(self) -> ConnectionStatistics:
        return ConnectionStatistics(
            self._bytes_sent, self._bytes_received, self.engine.round_trip, self.engine.datagram_size
        )

    async def _send_piece(self, stream_id: int, piece: Buffer, fin: bool) -> None:
        await self._until_sendable(stream_id)
        self.check_open()
        with self._guarded():
            if stream_id in self._given_up or not self.engine.can_send(stream_id):
                raise PeerError(f"stream {stream_id} takes no more data: it was ended or given up")
            self.engine.send(stream_id, piece, fin)
        self.take_turn(trio.current_time())

    async def _until_sendable(self, stream_id: int) -> None:
        while not self._can_take(stream_id):
            event = self._waiting_to_send.setdefault(stream_id, trio.Event())
            await event.wait()

    def _can_take(self, stream_id: int) -> bool:
        if self._failure is not None or self._closing or stream_id in self._given_up:
            return True  # the next step says what is wrong
        with self._guarded():
            unsent = self.engine.unsent
            return unsent(stream_id) < UNSENT_PER_STREAM and unsent() < UNSENT_PER_CONNECTION
        return True

    def check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            raise PeerError("this connection was closed")

    # -- the endpoint's side

    @property
    def is_over(self) -> bool:
        return self._failure is not None or self._closing

    def received(self, data: bytes, segment: int, sender: SocketAddress, now: float) -> None:
        self._bytes_received += len(data)
        self._last_received = now
        with self._guarded():
            self.engine.receive(data, segment, sender, now)

    def take_turn(self, now: float) -> None:
        with self._guarded():
            self._take_events()
            datagrams = self.engine.transmit(now, TURN_DATAGRAMS)
            while datagrams:
                self._bytes_sent += sum([len(data) for data, _ in datagrams])
                if not self._host.transmit(datagrams) or len(datagrams) == TURN_DATAGRAMS:
                    self._host.schedule(self)
                    break
                datagrams = self.engine.transmit(now, TURN_DATAGRAMS)
            self._set_deadline()
        self._wake_senders()
        if self._failure is not None:
            self._host.forget(self)

    def on_deadline(self, now: float) -> None:
        if now >= self.handshake_deadline:
            self.fail(PeerError("the handshake took too long"))
            self._host.forget(self)
            return
        with self._guarded():
            due = self.engine.deadline()
            if due is not None and due <= now:
                self.engine.handle_timer(now)
            if self._wants_ping(now):
                self.engine.ping()
        self.take_turn(now)

    def close(self, code: int, reason: str) -> None:
        """Tells the peer, without waiting for anything."""
        if self.is_over:
            return
        self._closing = True
        with self._guarded():
            self.engine.close(code, reason)
        self._fail_waiters()
        self.take_turn(trio.current_time())

    def fail(self, failure: PeerError) -> None:
        """Ends the connection on this side; the first reason stays."""
        if self._failure is None:
            self._failure = failure
            self._fail_waiters()

    def _fail_waiters(self) -> None:
        self.settled.set()
        self._readable.set()
        self._wake_senders()

    def _wake_senders(self) -> None:
        for stream_id in [stream_id for stream_id in self._waiting_to_send if self._can_take(stream_id)]:
            self._waiting_to_send.pop(stream_id).set()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turns whatever the engine raises into the end of this connection. A panic in an engine's compiled core is a
        `BaseException`."""
        try:
            yield
        except (PeerError, KeyboardInterrupt, SystemExit, trio.Cancelled):
            raise
        except BaseException as error:  # noqa: BLE001
            self.fail(PeerError(f"the QUIC engine failed: {error!r}"))
            self._host.forget(self)

    def _set_deadline(self) -> None:
        due = self.engine.deadline()
        when = min(math.inf if due is None else due, self.handshake_deadline)
        if self.keep_alive:
            when = min(when, self._next_ping())
        if when < self.scheduled:
            self._host.set_deadline(self, when)

    def _next_ping(self) -> float:
        return self._last_received + self.engine.idle_timeout / 3

    def _wants_ping(self, now: float) -> bool:
        return self.keep_alive and not self.is_over and self.handshake_deadline == math.inf and now >= self._next_ping()

    # -- what the engine says

    @property
    def _room_limit(self) -> int:
        return self._cap // 4

    def _take_events(self) -> None:
        room = self._room_limit - self._unread
        for event in self.engine.events(room):
            self._on_event(event)
        if self._events:
            self._readable.set()

    def _on_event(self, event: EngineEvent) -> None:
        if isinstance(event, StreamData):
            self._deliver(event, len(event.data))
        elif isinstance(event, StreamAborted):
            self._deliver(event, 0)
        elif isinstance(event, ConnectionIdIssued):
            self._host.add_route(event.connection_id, self)
        elif isinstance(event, ConnectionIdRetired):
            self._host.remove_route(event.connection_id)
        elif isinstance(event, Established):
            self._on_established(event)
        elif isinstance(event, Terminated):
            self._on_terminated(event)
        elif isinstance(event, DatagramReceived):
            pass

    def _deliver(self, event: StreamData | StreamAborted, size: int) -> None:
        if self.is_over or event.stream_id in self._given_up:
            return
        self._unread += size + EVENT_COST
        if self._unread > self._cap:
            self.close(CODE_OVERFLOW, "more unread data than this side buffers")
            self.fail(PeerError(f"the peer sent more than the {self._cap} bytes that are buffered for it"))
            return
        self._events.append(event)

    def _on_established(self, event: Established) -> None:
        try:
            if self.is_client and node_id_of(event.public_key_info) != self.server_id:
                raise PeerError(f"{self.address.host} port {self.address.port} is another node than the one asked for")
        except PeerError as error:
            self.close(CODE_WRONG_KEY, "wrong key")
            self.fail(error)
            return
        self.handshake_deadline = math.inf
        self.settled.set()
        self._host.established(self)

    def _on_terminated(self, event: Terminated) -> None:
        if self._closing:
            self._host.forget(self)
        who = "the peer closed the connection" if event.by_peer else "the connection broke"
        if event.reason == "Idle timeout":
            self.fail(PeerError("the peer has gone silent"))
        else:
            self.fail(PeerError(f"{who}: {event.reason or f'code {event.code:#x}'}"))


def _pieces(buffers: Sequence[Buffer]) -> Iterator[Buffer]:
    """The same bytes in pieces of at most `SEND_PIECE`; small buffers travel together."""
    if sum(len(buffer) for buffer in buffers) <= SEND_PIECE:
        joined = b"".join(buffers)
        if joined:
            yield joined
        return
    for buffer in buffers:
        view = memoryview(buffer)
        for start in range(0, len(view), SEND_PIECE):
            yield view[start : start + SEND_PIECE]
