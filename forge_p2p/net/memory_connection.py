"""One side of a connection of the in-memory network; see `memory`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from forge_p2p.errors import PeerError, StreamClosed
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Address, Buffer, ConnectionStatistics, NetEvent, StreamAborted, StreamData
from forge_p2p.net.engine import receive_window
from forge_p2p.net.inbox import Inbox

if TYPE_CHECKING:
    from forge_p2p.net.memory import MemoryEndpoint

MESSAGE_SIZE = 65_536
CONTROL_SIZE = 50
"""Bytes that a message counts for beside its data."""
MAX_STREAMS = 100
"""Streams that one side may have open at once, as the QUIC engines grant them."""
DATAGRAM_SIZE = 1452


@dataclass(slots=True)
class _Stream:
    """Which halves are open, the number of the next message out, and of the next in with those that came before it."""

    sends: bool = True
    receives: bool = True
    next_out: int = 0
    next_in: int = 0
    early: dict[int, StreamData] = field(default_factory=dict)


class MemoryConnection:
    """See `base.Connection`."""

    def __init__(self, endpoint: "MemoryEndpoint", address: Address, server_id: NodeId, *, is_client: bool) -> None:
        self.endpoint = endpoint
        self.is_client = is_client
        self.address = address
        self.server_id = server_id
        self.keep_alive = is_client
        self.settled = trio.Event()
        self._generator = endpoint.network.generator(endpoint.address, address)
        self._peer: MemoryConnection | None = None
        self._inbox = Inbox(endpoint.config.buffer_per_connection)
        self._window = 0
        self._under_way = 0
        """Bytes that this side sent and the other application has not taken."""
        self._credit = trio.Event()
        self._failure: PeerError | None = None
        self._streams: dict[int, _Stream] = {}
        self._next_ours, self._next_theirs = (0, 1) if is_client else (1, 0)
        self._bytes_sent = 0
        self._bytes_received = 0
        self._heard = trio.current_time()

    # -- the application's side

    def open_stream(self) -> int:
        self.check_open()
        stream_id = self._next_ours
        if len([other for other in self._streams if other % 2 == stream_id % 2]) >= MAX_STREAMS:
            raise PeerError("the peer allows no more streams at once", hint="wait for one to end")
        self._next_ours += 4
        self._streams[stream_id] = _Stream()
        return stream_id

    async def receive(self) -> list[NetEvent]:
        events = await self._inbox.take()
        if self._peer is not None:
            self._peer.grant(sum([len(event.data) for event in events if isinstance(event, StreamData)]))
        return events

    async def send(self, stream_id: int, buffers: Sequence[Buffer], fin: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        pieces = list(_messages(buffers)) or [b""]
        for index, piece in enumerate(pieces):
            await self._until_credit(stream_id)
            self._send_data(StreamData(stream_id, bytes(piece), fin and index == len(pieces) - 1))
        await self._until_credit(stream_id)

    def queued(self, stream_id: int) -> int:
        return self._under_way if stream_id in self._streams and not self.is_over else 0

    def silence(self) -> float:
        return trio.current_time() - self._heard

    def abort_stream(self, stream_id: int, code: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is None or self.is_over:
            return
        for is_open, by_receiver in ((stream.sends, False), (stream.receives, True)):
            if is_open:
                self._send_event(StreamAborted(stream_id, code, by_receiver), 0, CONTROL_SIZE)
        self._wake_senders()

    def ping(self) -> None:
        if not self.is_over and (peer := self._peer) is not None:
            self.post("ping", CONTROL_SIZE, peer.pinged)

    async def aclose(self, code: int = 0, reason: str = "") -> None:
        self.close(reason or f"code {code:#x}")
        await trio.lowlevel.checkpoint()

    def statistics(self) -> ConnectionStatistics:
        round_trip = 2 * self.endpoint.network.conditions.delay
        return ConnectionStatistics(self._bytes_sent, self._bytes_received, round_trip, DATAGRAM_SIZE)

    @property
    def is_over(self) -> bool:
        return self._failure is not None

    def check_open(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self, reason: str) -> None:
        """Tells the peer. As with QUIC, what is still under way to it is lost unless it gets there first."""
        if self.is_over:
            return
        if (peer := self._peer) is not None:
            failure = PeerError(f"the peer closed the connection: {reason}")
            self.post("close", CONTROL_SIZE, lambda: peer.end(failure))
        self.end(PeerError("this connection was closed"))

    # -- sending

    def _send_data(self, event: StreamData) -> None:
        self.check_open()
        stream = self._streams.get(event.stream_id)
        if stream is None or not stream.sends:
            raise StreamClosed(f"stream {event.stream_id} takes no more data: it was ended or given up")
        self._under_way += len(event.data)
        self._send_event(event, stream.next_out, CONTROL_SIZE + len(event.data))
        stream.next_out += 1
        if event.fin:
            stream.sends = False
            self._drop_if_finished(event.stream_id)

    def _send_event(self, event: NetEvent, number: int, size: int) -> None:
        if (peer := self._peer) is not None:
            self.post(type(event).__name__, size, lambda: peer.arrive(event, number, size))

    async def _until_credit(self, stream_id: int) -> None:
        while self._under_way >= self._window and not self.is_over and stream_id in self._streams:
            self._credit = trio.Event()
            await self._credit.wait()

    def _wake_senders(self) -> None:
        self._credit.set()

    # -- the network's side

    def pair(self, peer: "MemoryConnection") -> None:
        self._peer = peer
        self._window = receive_window(peer.endpoint.config, is_client=peer.is_client)

    def post(self, kind: str, size: int, arrive: Callable[[], None]) -> None:
        self._bytes_sent += size
        self.endpoint.network.post(self._generator, self.endpoint.address, self.address, kind, size, arrive)

    def end(self, reason: PeerError) -> None:
        """Over on this side, with nothing sent; the first reason stays."""
        if self._failure is None:
            self._failure = reason
            self._inbox.end(reason)
            self.settled.set()
            self._wake_senders()
            self.endpoint.forget(self)

    def grant(self, taken: int) -> None:
        """The other application has taken so many bytes."""
        self._under_way -= taken
        self._wake_senders()

    def watch_silence(self) -> None:
        """Looks, now and whenever the idle timeout may be over, whether the peer is still there."""
        peer, network = self._peer, self.endpoint.network
        if self.is_over or peer is None:
            return
        now = trio.current_time()
        is_pinged = (self.keep_alive or peer.keep_alive) and not peer.is_over
        if is_pinged and network.is_reachable(self.endpoint.address, self.address):
            self._heard = now
        due = self._heard + self.endpoint.config.idle_timeout
        if now >= due:
            self.end(PeerError("the peer has gone silent"))
        else:
            self.endpoint.arrivals.set(self.watch_silence, due)

    def pinged(self) -> None:
        """The peer asks for a sign of life."""
        self.ponged()
        if not self.is_over and (peer := self._peer) is not None:
            self.post("pong", CONTROL_SIZE, peer.ponged)

    def ponged(self) -> None:
        """A message without an event is here."""
        self._bytes_received += CONTROL_SIZE
        self._heard = trio.current_time()

    def arrive(self, event: NetEvent, number: int, size: int) -> None:
        """A message from the peer is here, maybe before others that were sent earlier."""
        self._bytes_received += size
        self._heard = trio.current_time()
        self._open_theirs(event.stream_id)
        stream = self._streams.get(event.stream_id)
        if self.is_over or stream is None or (isinstance(event, StreamData) and not stream.receives):
            if isinstance(event, StreamData) and self._peer is not None:
                self._peer.grant(len(event.data))  # nobody will take them: the stream was given up
        elif isinstance(event, StreamData):
            stream.early[number] = event
            self._deliver_in_order(event.stream_id, stream)
        else:
            self._on_abort(event, stream)

    def _open_theirs(self, stream_id: int) -> None:
        """A stream of the peer's opens with its first message, and those of lower number with it (RFC 9000, 2.1)."""
        if stream_id % 2 == self._next_theirs % 2:
            while self._next_theirs <= stream_id:
                self._streams[self._next_theirs] = _Stream()
                self._next_theirs += 4

    def _deliver_in_order(self, stream_id: int, stream: _Stream) -> None:
        while (event := stream.early.pop(stream.next_in, None)) is not None:
            stream.next_in += 1
            self._put(event)
            if event.fin:
                stream.receives = False
                self._drop_if_finished(stream_id)

    def _on_abort(self, event: StreamAborted, stream: _Stream) -> None:
        if event.by_receiver:
            stream.sends = False
        else:
            stream.receives = False
            if self._peer is not None:
                self._peer.grant(sum([len(early.data) for early in stream.early.values()]))
            stream.early.clear()
        self._put(event)
        self._drop_if_finished(event.stream_id)
        self._wake_senders()

    def _put(self, event: NetEvent) -> None:
        if not self._inbox.put(event):
            self.close("more unread data than the peer buffers")

    def _drop_if_finished(self, stream_id: int) -> None:
        stream = self._streams[stream_id]
        if not stream.sends and not stream.receives:
            del self._streams[stream_id]


def _messages(buffers: Sequence[Buffer]) -> Iterator[Buffer]:
    """The same bytes in messages of at most `MESSAGE_SIZE`; small buffers travel together."""
    if sum([len(buffer) for buffer in buffers]) <= MESSAGE_SIZE:
        buffers = [b"".join(buffers)]
    for buffer in buffers:
        view = memoryview(buffer)
        for start in range(0, len(view), MESSAGE_SIZE):
            yield view[start : start + MESSAGE_SIZE]
