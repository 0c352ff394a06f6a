"""One QUIC connection on trio: the application's calls on one side, the engine on the other.

All of it runs on the endpoint's trio thread and the engine is never entered twice at once, so there are no locks. The
unit of work is a turn: take what the engine has to say, then let it send a bounded number of datagrams. Whatever the
engine raises ends this connection alone.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import trio

from forge_p2p.errors import PeerError, StreamClosed
from forge_p2p.ids import NodeId
from forge_p2p.net.answers import Answers
from forge_p2p.net.base import Address, Buffer, ConnectionStatistics, NetEvent, StreamAborted, StreamData
from forge_p2p.net.engine import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    EngineConnection,
    EngineEvent,
    Established,
    Terminated,
)
from forge_p2p.net.guard import Guard
from forge_p2p.net.inbox import Inbox
from forge_p2p.net.mtu import PathWatch
from forge_p2p.net.pieces import pieces_of
from forge_p2p.net.tls import node_id_of
from forge_p2p.net.udp import Datagram, SocketAddress

UNSENT_PER_STREAM = 1 << 20
UNSENT_PER_CONNECTION = 8 << 20
"""Bytes waiting for their first transmission, past which `send` waits."""
READ_AHEAD = 4
"""Past this part of the cap unread, the engine holds back what comes, and with it the peer's credit."""
TURN_DATAGRAMS = 192
"""Sent in one turn: 272 KiB at 1452 bytes, so that no connection holds the socket for more than about a millisecond."""

HANDSHAKE_BYTES = 65_536
"""More than any handshake takes. Engines may keep out-of-order CRYPTO data at twenty bytes of memory a byte, and a
handshake is open to everybody."""
GIVEN_UP_STREAMS = 1024
"""As many streams that this side gave up are remembered, to drop what still comes for them."""

CODE_CLOSED = 0
CODE_WRONG_KEY = 0x101
CODE_OVERFLOW = 0x102
CODE_NO_ROOM = 0x103
CODE_FAULT = 0x104
"""Application error codes of CONNECTION_CLOSE that this layer sends; those of the session are from 0x1000 on."""


class Host(Protocol):
    """What a connection asks of its endpoint."""

    @property
    def is_full(self) -> bool:
        """Whether the socket takes no more for now."""

    def transmit(self, datagrams: list[Datagram]) -> None:
        """Sends, or queues once the socket is full."""

    def schedule(self, connection: "QuicConnection") -> None:
        """Gives the connection a turn soon."""

    def set_deadline(self, connection: "QuicConnection", when: float) -> None: ...

    def add_route(self, connection_id: bytes, connection: "QuicConnection") -> None: ...

    def remove_route(self, connection_id: bytes) -> None: ...

    def established(self, connection: "QuicConnection") -> None: ...

    def narrowed(self, connection: "QuicConnection", datagram_size: int) -> None: ...

    def forget(self, connection: "QuicConnection") -> None:
        """Drops every route to it; it gets no more turns."""


class QuicConnection:
    """See `base.Connection`."""

    def __init__(
        self, host: Host, engine: EngineConnection, address: Address, server_id: NodeId, *, is_client: bool, cap: int
    ) -> None:
        self.is_client = is_client
        self.address = address
        self.server_id = server_id
        self.engine = engine
        self.handshake_deadline = math.inf
        self.watch: PathWatch | None = None
        """Over the datagram size: set after the handshake, unless the size is forced."""
        self.settled = trio.Event()
        """Set once the handshake is complete or the connection is over."""
        self.is_established = False
        self._host = host
        self._inbox = Inbox(cap)
        self._failure: PeerError | None = None
        self._closing = False
        self._held_back = False
        self._waiting_to_send: dict[int, trio.Event] = {}
        self._given_up: dict[int, None] = {}
        self._bytes_sent = 0
        self._answers = Answers()
        self._bytes_received = 0
        self._heard_at = self._quiet_since = trio.current_time()
        self._keep_alive = is_client
        self._guard = Guard(self._abandon)

    # -- the application's side

    @property
    def keep_alive(self) -> bool:
        return self._keep_alive

    @keep_alive.setter
    def keep_alive(self, wanted: bool) -> None:
        self._keep_alive = wanted
        if not self.is_over:
            self._host.schedule(self)

    def open_stream(self) -> int:
        self.check_open()
        stream_id = None
        with self._guard:
            stream_id = self.engine.open_stream()
        self.check_open()
        if stream_id is None:
            raise PeerError("the peer allows no more streams at once", hint="wait for one to end")
        return stream_id

    async def receive(self) -> list[NetEvent]:
        events = await self._inbox.take()
        if self._held_back:
            self._held_back = False
            self._host.schedule(self)  # what the engine held back is let in now, and the peer gets its credit
        return events

    async def send(self, stream_id: int, buffers: Sequence[Buffer], fin: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        pieces = list(pieces_of(buffers)) or [b""]
        for index, piece in enumerate(pieces):
            await self._until_sendable(stream_id)
            self._send_piece(stream_id, piece, fin and index == len(pieces) - 1)
        await self._until_sendable(stream_id)

    def queued(self, stream_id: int | None = None) -> int:
        with self._guard:
            return 0 if self.is_over else self.engine.unsent(stream_id)
        return 0

    def silence(self) -> float:
        return trio.current_time() - self._heard_at

    def abort_stream(self, stream_id: int, code: int) -> None:
        if self.is_over:
            return
        self._given_up[stream_id] = None
        if len(self._given_up) > GIVEN_UP_STREAMS:
            del self._given_up[next(iter(self._given_up))]
        waits = False
        with self._guard:
            self.engine.abort(stream_id, code)
            # While the peer sends much on the stream, it does not.
            waits = self._may_wait(trio.current_time(), reading=False)
            self._host.set_deadline(self, self._deadline())
        self._wake_senders()
        if not waits:
            self._host.schedule(self)

    def ping(self) -> None:
        if not self.is_over:
            with self._guard:
                self.engine.ping()
            self._host.schedule(self)

    async def aclose(self, code: int = CODE_CLOSED, reason: str = "") -> None:
        self.close(code, reason)
        await trio.lowlevel.checkpoint()

    def statistics(self) -> ConnectionStatistics:
        engine = self.engine
        return ConnectionStatistics(self._bytes_sent, self._bytes_received, engine.round_trip, engine.datagram_size)

    def _send_piece(self, stream_id: int, piece: Buffer, fin: bool) -> None:
        self.check_open()
        with self._guard:
            if stream_id in self._given_up or not self.engine.can_send(stream_id):
                raise StreamClosed(f"stream {stream_id} takes no more data: it was ended or given up")
            self.engine.send(stream_id, piece, fin)
        self.take_turn(trio.current_time())

    async def _until_sendable(self, stream_id: int) -> None:
        while not self._can_take(stream_id):
            await self._waiting_to_send.setdefault(stream_id, trio.Event()).wait()

    def _can_take(self, stream_id: int) -> bool:
        """Also true where the next step is to raise what is wrong."""
        over = self.is_over or stream_id in self._given_up
        return over or (self.queued(stream_id) < UNSENT_PER_STREAM and self.queued() < UNSENT_PER_CONNECTION)

    def check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            raise PeerError("this connection was closed")

    # -- the endpoint's side

    @property
    def is_over(self) -> bool:
        return self._closing or self._failure is not None

    def received(self, data: bytes, segment: int, sender: SocketAddress, now: float) -> None:
        self._bytes_received += len(data)
        self._answers.owed += len(data)
        self._heard_at = self._quiet_since = now
        if self._bytes_received > HANDSHAKE_BYTES and not self.is_established:
            self.fail(PeerError("the peer sent more than a handshake takes"))
            return
        with self._guard:
            self.engine.receive(data, segment, sender, now)
        if self.watch is not None:
            self.watch.heard()

    def take_turn(self, now: float, *, reading: bool = False) -> None:
        """`reading`: because something has come; what is to be said then may wait for what that makes this side say."""
        with self._guard:
            read_ahead = self._inbox.cap // READ_AHEAD
            self._take_events(self._inbox.cap if self.is_over else read_ahead - self._inbox.unread)
            self._held_back = self._inbox.unread >= read_ahead
            if self.watch is not None:
                self.watch.step(now)
            if not (reading and self._may_wait(now, reading=True)):
                self._transmit(now)
            self._host.set_deadline(self, self._deadline())
        self._wake_senders()
        if self._failure is not None:
            self._host.forget(self)

    def on_deadline(self, now: float) -> None:
        if now >= self.handshake_deadline:
            self.fail(PeerError("the handshake took too long"))
            self._host.forget(self)
            return
        with self._guard:
            when = self._deadline()
            if now < when:
                self._host.set_deadline(self, when)
                return
            if self._keep_alive and self.is_established and now >= self._next_ping():
                self.engine.ping()
                self._quiet_since = now
            due = self.engine.deadline()
            if due is not None and due <= now:
                self.engine.handle_timer(now)
        self.take_turn(now)

    def close(self, code: int, reason: str) -> None:
        """Tells the peer, as far as the socket takes it at once."""
        if self.is_over:
            return
        self._closing = True
        self._inbox.end(PeerError("this connection was closed"))
        with self._guard:
            self.engine.close(code, reason)
        self._wake_all()
        self.take_turn(trio.current_time())

    def fail(self, failure: PeerError) -> None:
        """Ends the connection on this side; the first reason stays."""
        if self._failure is None:
            self._failure = failure
            self._inbox.end(failure)
            self._wake_all()

    def _may_wait(self, now: float, *, reading: bool) -> bool:
        return not self.is_over and self._answers.may_wait(self.engine, now, reading=reading)

    def _transmit(self, now: float) -> None:
        self._answers.given()
        if self._host.is_full:
            self._host.schedule(self)
            return
        datagrams = self.engine.transmit(now, TURN_DATAGRAMS)
        if datagrams:
            self._bytes_sent += sum([len(data) for data, _ in datagrams])
            if self.watch is not None:
                self.watch.sent(datagrams)
            self._host.transmit(datagrams)
        if len(datagrams) >= TURN_DATAGRAMS:
            self._host.schedule(self)

    def _wake_all(self) -> None:
        self.settled.set()
        self._wake_senders()

    def _wake_senders(self) -> None:
        if self._waiting_to_send:
            for stream_id in [stream_id for stream_id in self._waiting_to_send if self._can_take(stream_id)]:
                self._waiting_to_send.pop(stream_id).set()

    def _abandon(self, failure: PeerError) -> None:
        """Ends a connection whose engine has failed, unless it turns out that it had ended before, with a reason. The
        peer is told if the engine can still do that much."""
        datagrams: list[Datagram] = []
        try:
            self._take_events(self._inbox.cap)
            self.fail(failure)
            self.engine.close(CODE_FAULT, "internal error")
            datagrams = self.engine.transmit(trio.current_time(), TURN_DATAGRAMS)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - it cannot, then: the peer finds out by its idle timeout
            self.fail(failure)
        self._host.transmit(datagrams)
        self._host.forget(self)

    def _deadline(self) -> float:
        due = self.engine.deadline() if self._answers.due == math.inf else self._answers.due
        when = min(math.inf if due is None else due, self.handshake_deadline)
        if self.watch is not None and self.watch.deadline is not None:
            when = min(when, self.watch.deadline)
        if self._keep_alive and self.is_established:
            when = min(when, self._next_ping())
        return when

    def _next_ping(self) -> float:
        return self._quiet_since + self.engine.idle_timeout / 2

    # -- what the engine says

    def _take_events(self, room: int) -> None:
        for event in self.engine.events(room):
            if isinstance(event, StreamData | StreamAborted):
                self._deliver(event)
            else:
                self._on_change(event)

    def _deliver(self, event: StreamData | StreamAborted) -> None:
        if self.is_over or event.stream_id in self._given_up:
            return
        if not self._inbox.put(event):
            self.fail(PeerError(f"the peer sent more than the {self._inbox.cap} bytes that are buffered for it"))
            self.engine.close(CODE_OVERFLOW, "more unread data than the peer buffers")

    def _on_change(self, event: EngineEvent) -> None:
        if isinstance(event, ConnectionIdIssued):
            self._host.add_route(event.connection_id, self)
        elif isinstance(event, ConnectionIdRetired):
            self._host.remove_route(event.connection_id)
        elif isinstance(event, Established):
            self._on_established(event)
        elif isinstance(event, Terminated):
            self._on_terminated(event)

    def _on_established(self, event: Established) -> None:
        if self.is_over:
            return
        try:
            if self.is_client and node_id_of(event.public_key_info) != self.server_id:
                raise PeerError(f"{self.address.host} port {self.address.port} is not the node that was asked for")
        except PeerError as error:
            self.fail(error)
            self.engine.close(CODE_WRONG_KEY, "not the node that was asked for")
            return
        self.is_established = True
        self._answers.established(trio.current_time())
        self.handshake_deadline = math.inf
        self.settled.set()
        self._host.established(self)

    def _on_terminated(self, event: Terminated) -> None:
        if self._closing:
            self._host.forget(self)
            return
        if event.reason == "Idle timeout":
            self.fail(PeerError("the peer has gone silent"))
            return
        who = "the peer closed the connection" if event.by_peer else "the connection broke"
        self.fail(PeerError(f"{who}: {event.reason or f'code {event.code:#x}'}"))
