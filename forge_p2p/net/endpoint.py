"""The endpoint: one UDP socket, many connections, three tasks.

The reader drains the socket, hands each datagram to its connection, and gives every connection that got some a turn.
The writer gives further turns to those that had more to send than one turn allows, in a circle, and waits when the
socket is full. The timer looks after all deadlines. Neither an application that does not read nor a peer that floods
can hold up more than its own connection: what is done for one between two looks at the others is bounded.
"""

import math
import secrets
from dataclasses import dataclass, field
from enum import Enum

import trio

from forge_p2p.config import NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.ids import NodeId
from forge_p2p.net.admission import Admission, RetryTokens, Verdict, host_key
from forge_p2p.net.base import Address
from forge_p2p.net.connection import CODE_CLOSED, CODE_NO_ROOM, QuicConnection
from forge_p2p.net.engine import CONNECTION_ID_LENGTH, EngineFactory
from forge_p2p.net.mtu import SMALLEST, DatagramSizes, PathWatch
from forge_p2p.net.packets import Initial, destination_id, read_initial, runs
from forge_p2p.net.timers import Deadlines
from forge_p2p.net.udp import Datagram, SocketAddress, UdpSocket

READS_PER_WAKE = 64
HANDSHAKE_TIMEOUT = 10.0
"""Seconds that an accepted handshake may take."""
FIRST_TRY = 0.5
"""Share of the dial timeout after which no handshake is taken for a path that carries only the smallest datagrams."""
FLUSH_TIMEOUT = 1.0
"""Seconds that closing waits for the socket to take the last datagrams."""


class _Stage(Enum):
    UNPROVEN = "unproven"
    PROVING = "proving"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    DIALLED = "dialled"


@dataclass(slots=True)
class _Record:
    """What the endpoint knows of a connection: the limits that it counts for, and its connection ids."""

    host: str
    stage: _Stage
    ids: set[bytes] = field(default_factory=set)


class QuicEndpoint:
    """See `base.Endpoint`; made by `quic.open_endpoint`."""

    def __init__(self, socket: UdpSocket, engines: EngineFactory, config: NetConfig) -> None:
        self.address = socket.address
        self._socket = socket
        self._engines = engines
        self._config = config
        self._sizes = DatagramSizes(config.datagram_size)
        self._admission = Admission(config)
        self._tokens = RetryTokens()
        self._records: dict[QuicConnection, _Record] = {}
        self._routes: dict[bytes, QuicConnection] = {}
        self._ready: dict[QuicConnection, None] = {}
        self._outbox: list[Datagram] = []
        self._work = trio.Event()
        self._timers = Deadlines(self._on_deadline)
        self._closed = False
        self._to_accept, self._accepted = trio.open_memory_channel[QuicConnection](config.max_connections)

    # -- the application's side

    async def accept(self) -> QuicConnection:
        try:
            return await self._accepted.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise PeerError("this endpoint is closed") from None

    async def dial(self, address: Address, server_id: NodeId) -> QuicConnection:
        """See `base.Endpoint`. Where larger datagrams lead to no handshake, it tries the smallest before giving up."""
        await trio.lowlevel.checkpoint()
        size = self._sizes.choose(address, trio.current_time())
        timeout = self._config.dial_timeout
        if size == SMALLEST or self._sizes.forced:
            connection = await self._dial_once(address, server_id, size, timeout)
        else:
            connection = await self._dial_once(address, server_id, size, timeout * FIRST_TRY)
            if connection is None:
                connection = await self._dial_once(address, server_id, SMALLEST, timeout * (1 - FIRST_TRY))
                if connection is not None:
                    self._sizes.remember(address, SMALLEST, trio.current_time())
        if connection is None:
            hint = "check the address, and that the node is up and its UDP port reachable"
            raise PeerError(f"no answer from {address.host} port {address.port} in {timeout:g} s", hint=hint)
        return connection

    async def aclose(self) -> None:
        self._closed = True
        for connection in list(self._records):
            connection.close(CODE_CLOSED, "the node is shutting down")
        self._to_accept.close()
        with trio.move_on_after(FLUSH_TIMEOUT, shield=True):
            await self._work_off()

    async def _dial_once(self, address: Address, server_id: NodeId, size: int, timeout: float) -> QuicConnection | None:
        """`None`: no handshake within `timeout`."""
        if self._closed:
            raise PeerError("this endpoint is closed")
        if len(self._records) - self._admission.half_open >= self._config.max_connections:
            raise PeerError(f"this node already has its {self._config.max_connections} connections")
        now = trio.current_time()
        peer = self._socket.to_socket_address(address)
        try:
            engine = self._engines.connect(peer, size, now)
        except Exception as error:
            raise PeerError(f"cannot dial {address.host} port {address.port}: {error!r}") from error
        cap = self._config.buffer_per_connection
        connection = QuicConnection(self, engine, address, server_id, is_client=True, cap=cap)
        self._records[connection] = _Record(host_key(address.host), _Stage.DIALLED)
        self.add_route(engine.connection_id, connection)
        try:
            connection.take_turn(now)
            with trio.move_on_after(timeout):
                await connection.settled.wait()
        finally:
            if not (has_settled := connection.settled.is_set()):
                connection.close(CODE_CLOSED, "gave up")
                self.forget(connection)
        if not has_settled:
            return None
        connection.check_open()
        return connection

    # -- the tasks

    def start(self, nursery: trio.Nursery) -> None:
        for task in (self._read, self._write, self._timers.run):
            nursery.start_soon(task)

    async def _read(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._socket.raw)
            now = trio.current_time()
            touched: dict[QuicConnection, None] = {}
            for data, segment, sender in self._socket.receive(READS_PER_WAKE):
                self._route(data, segment, sender, now, touched)
            for connection in touched:
                connection.take_turn(now, reading=True)
            if self._socket.refused:
                self._give_up_refused()

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            await self._work_off()

    async def _work_off(self) -> None:
        """Until nothing is queued and nobody is waiting for a turn."""
        while self._outbox or self._ready:
            if self._outbox:
                await trio.lowlevel.wait_writable(self._socket.raw)
                del self._outbox[: self._socket.send(self._outbox)]
                continue
            connection = next(iter(self._ready))
            del self._ready[connection]
            if connection in self._records:
                connection.take_turn(trio.current_time())
            await trio.lowlevel.checkpoint()

    def _on_deadline(self, connection: QuicConnection, now: float) -> None:
        if connection in self._records:
            connection.on_deadline(now)

    # -- datagrams in

    def _route(
        self, data: bytes, segment: int, sender: SocketAddress, now: float, touched: dict[QuicConnection, None]
    ) -> None:
        for start, end in runs(data, segment):
            run = data[start:end] if end - start < len(data) else data
            connection = self._routes.get(destination_id(run))
            if connection is not None:
                connection.received(run, segment, sender, now)
                touched[connection] = None
            elif (initial := read_initial(run)) is not None and not self._closed:
                self._greet(run, initial, sender, now)

    def _greet(self, data: bytes, initial: Initial, sender: SocketAddress, now: float) -> None:
        """A first packet from a stranger: begins a handshake, asks for proof of the address, or does nothing."""
        address = self._socket.to_address(sender)
        host = host_key(address.host)
        source = f"{address.host} {address.port}"
        original_id = self._tokens.original_id(source, initial, now) if initial.token else None
        if initial.token and original_id is None:
            return  # forged or too old; without it the client's first connection id is not known any more
        verdict = self._admission.judge(host, proven=original_id is not None)
        if verdict is Verdict.PROVE:
            new_id = secrets.token_bytes(CONNECTION_ID_LENGTH)
            token = self._tokens.issue(source, initial.destination_id, new_id, now)
            self.transmit([(self._engines.retry(initial.source_id, new_id, initial.destination_id, token), sender)])
        elif verdict is Verdict.ADMIT:
            self._accept(data, initial, original_id, address, sender, now)

    def _accept(
        self,
        data: bytes,
        initial: Initial,
        original_id: bytes | None,
        address: Address,
        sender: SocketAddress,
        now: float,
    ) -> None:
        try:
            engine = self._engines.accept(initial.destination_id, original_id, self._sizes.choose(address, now))
        except Exception:  # noqa: BLE001 - no route back, or an engine that chokes on an id: no stranger stops the node
            return
        cap = self._config.buffer_per_connection
        connection = QuicConnection(self, engine, address, NodeId(b""), is_client=False, cap=cap)
        connection.handshake_deadline = now + HANDSHAKE_TIMEOUT
        connection.received(data, len(data), sender, now)
        if connection.is_over or not engine.is_heard:
            return  # not one authentic packet in it: nothing was begun, nothing is kept
        stage = _Stage.UNPROVEN if original_id is None else _Stage.PROVING
        record = self._records[connection] = _Record(host_key(address.host), stage)
        self._admission.begin(record.host, proven=stage is _Stage.PROVING)
        for connection_id in (initial.destination_id, engine.connection_id):
            self.add_route(connection_id, connection)
        connection.take_turn(now)

    # -- what connections ask for

    @property
    def is_full(self) -> bool:
        return bool(self._outbox)

    def transmit(self, datagrams: list[Datagram]) -> None:
        if self._outbox:
            self._outbox += datagrams
            return
        sent = self._socket.send(datagrams)
        if self._socket.too_big:
            self._narrow_too_big()
        if sent < len(datagrams):
            self._outbox += datagrams[sent:]
            self._work.set()

    def schedule(self, connection: QuicConnection) -> None:
        self._ready[connection] = None
        self._work.set()

    def set_deadline(self, connection: QuicConnection, when: float) -> None:
        if when < math.inf and connection in self._records:
            self._timers.set(connection, when)

    def add_route(self, connection_id: bytes, connection: QuicConnection) -> None:
        record = self._records.get(connection)
        if record is not None:
            self._routes[connection_id] = connection
            record.ids.add(connection_id)

    def remove_route(self, connection_id: bytes) -> None:
        connection = self._routes.pop(connection_id, None)
        record = None if connection is None else self._records.get(connection)
        if record is not None:
            record.ids.discard(connection_id)

    def established(self, connection: QuicConnection) -> None:
        record = self._records[connection]
        if not self._sizes.forced:
            connection.watch = PathWatch(connection.engine, lambda size: self.narrowed(connection, size))
        if record.stage is _Stage.DIALLED:
            return
        self._admission.end_handshake(record.host, proven=record.stage is _Stage.PROVING)
        record.stage = _Stage.REFUSED
        if self._admission.has_room(record.host, len(self._records) - self._admission.half_open - 1):
            try:
                self._to_accept.send_nowait(connection)
            except (trio.WouldBlock, trio.ClosedResourceError):
                pass
            else:
                record.stage = _Stage.ACCEPTED
                self._admission.opened(record.host)
                return
        connection.close(CODE_NO_ROOM, "no room for more connections from there")

    def narrowed(self, connection: QuicConnection, datagram_size: int) -> None:
        self._sizes.remember(connection.address, datagram_size, trio.current_time())

    def forget(self, connection: QuicConnection) -> None:
        record = self._records.pop(connection, None)
        self._timers.forget(connection)
        self._ready.pop(connection, None)
        if record is None:
            return
        for connection_id in record.ids:
            self._routes.pop(connection_id, None)
        if record.stage is _Stage.ACCEPTED:
            self._admission.closed(record.host)
        elif record.stage in (_Stage.UNPROVEN, _Stage.PROVING):
            self._admission.end_handshake(record.host, proven=record.stage is _Stage.PROVING)

    def _give_up_refused(self) -> None:
        """ICMP says that nothing listens where a packet went. Believed of a dial that nobody has answered yet, and only
        if it quotes the connection's random id: who cannot see our packets cannot forge that."""
        quotes = self._socket.refused[:]
        self._socket.refused.clear()
        dialling = [one for one in self._records if one.is_client and not one.engine.is_heard]
        for connection in dialling:
            if any(connection.engine.connection_id in quoted for quoted in quotes):
                where = f"{connection.address.host} port {connection.address.port}"
                connection.fail(PeerError(f"no answer from {where}: nothing listens there", hint="is the node up?"))
                self.forget(connection)

    def _narrow_too_big(self) -> None:
        """The system refused datagrams for their size: it knows the path's MTU to be smaller."""
        hosts = {self._socket.to_address(address) for address in self._socket.too_big}
        self._socket.too_big.clear()
        for connection in [connection for connection in self._records if connection.address in hosts]:
            if connection.watch is not None:
                connection.watch.narrow()
