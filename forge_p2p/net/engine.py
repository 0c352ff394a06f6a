"""The one interface over the QUIC libraries: sans-IO connections that take datagrams and time, and give datagrams.

Only the engine that is used gets imported; what is private to a library stays in its own adapter module. Whatever an
engine raises ends the connection that it was raised for (see `connection`).
"""

from dataclasses import dataclass
from typing import Protocol

from forge_p2p.config import Engine, NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.net.base import StreamAborted, StreamData
from forge_p2p.net.tls import Identity
from forge_p2p.net.udp import Datagram, SocketAddress

CONNECTION_ID_LENGTH = 8
"""Bytes of every connection id that we issue; packets with a short header carry no length, so it is fixed."""

MAX_ACK_DELAY = 40
"""Milliseconds within which the peer is told to expect acknowledgements: those that wait (`answers`), and as much again
and more for a process that does not get its turn. With the usual 25 a busy machine's packets were sent twice."""


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete. `public_key_info`: of the server's certificate, DER; empty on the server itself."""

    public_key_info: bytes


@dataclass(frozen=True, slots=True)
class Terminated:
    """The connection is over. `by_peer`: the peer said so, otherwise this side found a fault or silence."""

    code: int
    reason: str
    by_peer: bool


@dataclass(frozen=True, slots=True)
class ConnectionIdIssued:
    connection_id: bytes


@dataclass(frozen=True, slots=True)
class ConnectionIdRetired:
    connection_id: bytes


class EngineStuck(Exception):
    """Raised by an adapter: this connection cannot go on. The text says why, to a person."""


EngineEvent = StreamData | StreamAborted | Established | Terminated | ConnectionIdIssued | ConnectionIdRetired


class EngineConnection(Protocol):
    """One QUIC connection without I/O. `now` is trio's clock, in seconds, throughout."""

    connection_id: bytes
    """The first of the ids by which datagrams for this connection are known."""

    def receive(self, data: bytes, segment: int, sender: SocketAddress, now: float) -> None:
        """Datagrams of one sender, of `segment` bytes each but the last."""

    def events(self, room: int) -> list[EngineEvent]:
        """What has happened. Stream data stops after about `room` bytes: what is not taken earns the peer no credit."""

    def transmit(self, now: float, limit: int) -> list[Datagram]:
        """Up to `limit` datagrams that are due now."""

    def deadline(self) -> float | None:
        """When `handle_timer` is due."""

    def handle_timer(self, now: float) -> None: ...

    def open_stream(self) -> int | None:
        """A new bidirectional stream, or `None` at the peer's limit."""

    def can_send(self, stream_id: int) -> bool:
        """Whether the stream still takes data: it was not ended, reset, or stopped by the peer."""

    def send(self, stream_id: int, data: bytes | bytearray | memoryview, fin: bool) -> None:
        """Queues a copy."""

    def unsent(self, stream_id: int | None = None) -> int:
        """Bytes queued on a stream, or on all, and not yet sent for the first time."""

    def abort(self, stream_id: int, code: int) -> None:
        """Resets the sending half and asks the peer to stop on the other, as far as each is still open."""

    def ping(self) -> None: ...

    def owes(self, now: float) -> bool:
        """Whether the peer waits for something that can be sent now: an acknowledgement, a repetition, room for
        streams. What it does not wait for, such as room for a few streams more, goes with whatever is sent next."""

    def close(self, code: int, reason: str) -> None: ...

    def limit_datagrams(self, size: int) -> None:
        """Sends nothing larger from now on; `size` is at least 1200."""

    @property
    def datagram_size(self) -> int:
        """UDP payload bytes of a full packet."""

    @property
    def round_trip(self) -> float:
        """Smoothed, in seconds; 0 when unknown."""

    @property
    def is_heard(self) -> bool:
        """Whether the other side has sent anything authentic yet."""

    @property
    def lost(self) -> int:
        """Packets declared lost so far."""

    @property
    def probe_timeouts(self) -> int:
        """How often so far there was no acknowledgement for too long (RFC 9002 section 6.2)."""

    def outstanding(self, size: int) -> int:
        """Packets of more than `size` bytes neither acknowledged nor lost. Takes a while: not for every turn."""

    @property
    def idle_timeout(self) -> float:
        """Seconds of silence after which either side gives up: the smaller of both sides' settings."""


class EngineFactory(Protocol):
    """Makes connections with one identity and one configuration."""

    def connect(self, peer: SocketAddress, datagram_size: int, now: float) -> EngineConnection:
        """A client's; its first flight is ready to be sent."""

    def accept(self, destination_id: bytes, original_id: bytes | None, datagram_size: int) -> EngineConnection:
        """A server's, for an Initial packet sent to `destination_id`. With `original_id`, the client's first one, it
        came with a valid Retry token: the client's address is proven."""

    def retry(self, client_id: bytes, new_id: bytes, original_id: bytes, token: bytes) -> bytes:
        """A Retry packet (RFC 9000 section 17.2.5)."""


def receive_window(config: NetConfig, *, is_client: bool) -> int:
    """Bytes that the peer may have sent and this side not yet taken, out-of-order ones included. What a node dials it
    has chosen; what dials it may be anybody, and gets a quarter of that."""
    return config.buffer_per_connection // (2 if is_client else 8)


def make_engine(identity: Identity, config: NetConfig) -> EngineFactory:
    """The configured engine. Raises `PeerError` where its library is missing."""
    try:
        if config.engine is Engine.AIOQUIC:
            from forge_p2p.net.engine_aioquic import AioquicFactory

            return AioquicFactory(identity, config)
        from forge_p2p.net.engine_qh3 import Qh3Factory

        return Qh3Factory(identity, config)
    except ImportError as error:
        library = config.engine.value
        raise PeerError(f"the QUIC library {library} is not installed", hint=f"pip install {library}") from error
