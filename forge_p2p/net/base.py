"""What a transport is: authenticated connections of many streams, the same over QUIC and in memory.

Async, on trio. A connection hands its events over in batches, because one task per stream would cost more than the
bytes. Whoever stops taking events stops the peer: what is buffered is capped per connection, and a peer that fills the
cap is cut off. Errors out of every call: `PeerError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from forge_p2p.ids import NodeId

Buffer = bytes | bytearray | memoryview


class StreamData(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a stream, in order. `fin`: the peer will send no more on it."""

    stream_id: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class StreamAborted:
    """The peer gave the stream up (reset) or does not want more of it (stop): `by_receiver`."""

    stream_id: int
    code: int
    by_receiver: bool


NetEvent = StreamData | StreamAborted


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens. `host` is a numeric IP address."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """Counted at the socket: UDP payload bytes, both ways; smoothed round trip in seconds, 0 when unknown."""

    bytes_sent: int
    bytes_received: int
    round_trip: float
    datagram_size: int


class Connection(Protocol):
    """One authenticated connection. Streams are bidirectional."""

    is_client: bool
    address: Address
    server_id: NodeId
    """Whose key the TLS handshake proved; empty on the server's side. The client's own identity is proven above, by
    `proto.session`."""
    keep_alive: bool
    """Whether this side keeps an idle connection from timing out. At first: the client does, the server does not. A
    peer that has vanished is noticed all the same."""

    def open_stream(self) -> int:
        """A new stream's id. Raises `PeerError` past the peer's stream limit."""

    async def receive(self) -> list[NetEvent]:
        """The next events, at least one. Raises `PeerError` when the connection has ended, with its reason."""

    async def send(self, stream_id: int, buffers: Sequence[Buffer], fin: bool = False) -> None:
        """Queues the buffers; returns when the stream can take more (back-pressure). Raises `StreamClosed` when the
        stream alone was given up."""

    def queued(self, stream_id: int) -> int:
        """Bytes of a stream that wait here to leave; what left and is not acknowledged may count. 0 once it is over."""

    def silence(self) -> float:
        """Seconds since anything came from the peer, acknowledgements too."""

    def abort_stream(self, stream_id: int, code: int) -> None:
        """Gives a stream up in both directions."""

    def ping(self) -> None:
        """Asks for a sign of life: a peer that is there sends something, which counts as received."""

    async def aclose(self, code: int = 0, reason: str = "") -> None:
        """Tells the peer and releases everything; safe to call twice."""

    def statistics(self) -> ConnectionStatistics: ...


class Endpoint(Protocol):
    """One UDP socket (or its stand-in): accepts and dials connections. An async context manager."""

    address: Address

    async def accept(self) -> Connection:
        """The next connection whose handshake is complete."""

    async def dial(self, address: Address, server_id: NodeId) -> Connection:
        """Connects, and checks that the server holds `server_id`'s key. Raises `PeerError`."""

    async def aclose(self) -> None: ...
