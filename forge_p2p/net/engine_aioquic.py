"""The aioquic engine: QUIC in Python. Slower by an order of magnitude; the second implementation that keeps us honest.

aioquic raises its flow-control windows as data arrives, read or not. The subclass here hands credit out as data is
taken instead, connection-wide: with one credit for all streams there is no need of one per stream. Datagrams stay at
1452 bytes; a larger size is not negotiated by this library and would not make it fast.
"""

import logging
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from aioquic._buffer import Buffer
from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import Limit, QuicConnection, QuicConnectionState
from aioquic.quic.packet import (
    QuicFrameType,
    QuicProtocolVersion,
    encode_quic_retry,
    pull_quic_transport_parameters,
    push_quic_transport_parameters,
)
from aioquic.tls import Epoch, load_pem_private_key, load_pem_x509_certificates
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from forge_p2p.config import NetConfig
from forge_p2p.net.base import StreamAborted, StreamData
from forge_p2p.net.engine import (
    CONNECTION_ID_LENGTH,
    MAX_ACK_DELAY,
    ConnectionIdIssued,
    ConnectionIdRetired,
    EngineEvent,
    Established,
    Terminated,
    receive_window,
)
from forge_p2p.net.tls import ALPN, Identity
from forge_p2p.net.udp import Datagram, SocketAddress

MAX_DATAGRAM = 1452
JOINED = 65_536
UNLIMITED = 1 << 60
"""Stream flow-control window: the connection's is the one that counts."""

logging.getLogger("quic").addHandler(logging.NullHandler())  # its warnings repeat what `Terminated` says


class _Credit(Limit):
    """MAX_DATA that follows what was taken. The library doubles `value` when half of it is used; here that becomes:
    `window` bytes past those that have left this connection's buffers, in steps of a quarter window."""

    def __init__(self, window: int, buffered: Callable[[], int]) -> None:
        self._window = window
        self._buffered = buffered
        self._value = window
        super().__init__(frame_type=QuicFrameType.MAX_DATA, name="max_data", value=window)

    @property
    def value(self) -> int:
        return self._value

    @value.setter
    def value(self, _: int) -> None:
        used = getattr(self, "used", 0)
        if used + self._window - self._value >= self._window // 4:
            earned = used - self._buffered() + self._window
            if earned - self._value >= self._window // 4:
                self._value = earned


class _Quic(QuicConnection):
    """With credit by what was taken; `held` counts bytes in events that were not taken yet."""

    def __init__(self, window: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.held = 0
        self.probe_timeouts = 0
        self.lost = 0
        self._on_lost = self._loss._on_packets_lost  # noqa: SLF001
        self._loss._on_packets_lost = self._count_lost  # type: ignore[method-assign]  # noqa: SLF001
        self._local_max_data = _Credit(window, self._buffered)

    def _buffered(self) -> int:
        receivers = [stream.receiver for stream in self._streams.values() if not stream.receiver.is_finished]
        return self.held + sum([receiver.highest_offset - receiver.starting_offset() for receiver in receivers])

    def _serialize_transport_parameters(self) -> bytes:
        """Tells the peer how large datagrams from it may be, which this library leaves out."""
        parameters = pull_quic_transport_parameters(Buffer(data=super()._serialize_transport_parameters()))
        parameters.max_udp_payload_size = self._max_datagram_size
        parameters.max_ack_delay = MAX_ACK_DELAY
        encoded = Buffer(capacity=2048)
        push_quic_transport_parameters(encoded, parameters)
        return encoded.data

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        super()._parse_transport_parameters(data, from_session_ticket)
        theirs = pull_quic_transport_parameters(Buffer(data=data)).max_udp_payload_size
        self._max_datagram_size = min(self._max_datagram_size, theirs or self._max_datagram_size)

    def _count_lost(self, *, packets: Iterable[Any], **arguments: Any) -> None:
        """Also of those that a probe timeout only takes for lost; the recovery forgets them all alike."""
        packets = list(packets)
        self.lost += len(packets)
        self._on_lost(packets=packets, **arguments)

    def _send_probe(self) -> None:
        self.probe_timeouts += 1
        super()._send_probe()

    def _write_crypto_frame(self, builder: Any, space: Any, stream: Any) -> bool:
        """Fills a client's Initial packets with PADDING frames. The library would put zeros behind the packet, which
        qh3's server does not count as received; three times too few bytes then do not carry its first flight."""
        written: bool = super()._write_crypto_frame(builder=builder, space=space, stream=stream)
        if self._is_client and space is self._spaces.get(Epoch.INITIAL) and builder.remaining_flight_space > 1:
            size = builder.remaining_flight_space
            builder.start_frame(QuicFrameType.PADDING, capacity=size).push_bytes(bytes(size - 1))
        return written


class AioquicConnection:
    """See `engine.EngineConnection`."""

    def __init__(self, quic: _Quic) -> None:
        self._quic = quic
        self._waiting: deque[EngineEvent] = deque()
        self._next_ping = 0
        self._terminated = False
        self.connection_id: bytes = quic.host_cid

    def receive(self, data: bytes, segment: int, sender: SocketAddress, now: float) -> None:
        for start in range(0, len(data), segment):
            self._quic.receive_datagram(data[start : start + segment], sender, now)

    def events(self, room: int) -> list[EngineEvent]:
        self._gather()
        found: list[EngineEvent] = []
        while self._waiting and room > 0:
            event = self._waiting.popleft()
            if isinstance(event, StreamData):
                event = self._joined(event)
                room -= len(event.data)
                self._quic.held -= len(event.data)
            found.append(event)
        return found

    def _gather(self) -> None:
        while (event := self._quic.next_event()) is not None:
            if isinstance(event, quic_events.StreamDataReceived):
                self._quic.held += len(event.data)
                self._waiting.append(StreamData(event.stream_id, event.data, event.end_stream))
            elif isinstance(event, quic_events.HandshakeCompleted):
                self._waiting.append(Established(self._public_key_info()))
            elif (translate := _EVENTS.get(type(event))) is not None:
                self._waiting.append(translate(event))
        closed = self._quic._close_event  # noqa: SLF001
        if closed is not None and not self._terminated:
            self._terminated = True
            by_peer = self._quic._state is QuicConnectionState.DRAINING  # noqa: SLF001
            self._waiting.append(Terminated(closed.error_code, closed.reason_phrase, by_peer))

    def _joined(self, first: StreamData) -> StreamData:
        """With what follows on the same stream, up to `JOINED` bytes: the library makes one event a packet."""
        pieces, size, fin = [first.data], len(first.data), first.fin
        while size < JOINED and self._waiting:
            following = self._waiting[0]
            if not isinstance(following, StreamData) or following.stream_id != first.stream_id:
                break
            pieces.append(following.data)
            size += len(following.data)
            fin = following.fin
            self._waiting.popleft()
        return StreamData(first.stream_id, b"".join(pieces), fin) if len(pieces) > 1 else first

    def _public_key_info(self) -> bytes:
        certificate = self._quic.tls._peer_certificate  # noqa: SLF001
        if certificate is None:
            return b""
        info: bytes = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return info

    def transmit(self, now: float, limit: int) -> list[Datagram]:
        del limit  # the library sends what its congestion window allows, all at once
        datagrams: list[Datagram] = self._quic.datagrams_to_send(now)
        return datagrams

    def deadline(self) -> float | None:
        when: float | None = self._quic.get_timer()
        return when

    def handle_timer(self, now: float) -> None:
        self._quic.handle_timer(now)

    def open_stream(self) -> int | None:
        stream_id: int = self._quic.get_next_available_stream_id()
        if stream_id // 4 >= self._quic._remote_max_streams_bidi:  # noqa: SLF001
            return None
        self._quic.send_stream_data(stream_id, b"")
        return stream_id

    def can_send(self, stream_id: int) -> bool:
        stream = self._quic._streams.get(stream_id)  # noqa: SLF001
        if stream is None:
            return False
        sender = stream.sender
        return sender._buffer_fin is None and sender._reset_error_code is None  # noqa: SLF001

    def send(self, stream_id: int, data: bytes | bytearray | memoryview, fin: bool) -> None:
        self._quic.send_stream_data(stream_id, bytes(data), fin)

    def unsent(self, stream_id: int | None = None) -> int:
        streams = self._quic._streams  # noqa: SLF001
        chosen = streams.values() if stream_id is None else [streams[stream_id]] if stream_id in streams else []
        return sum([part.stop - part.start for stream in chosen for part in stream.sender._pending])  # noqa: SLF001

    def abort(self, stream_id: int, code: int) -> None:
        for give_up in (self._quic.reset_stream, self._quic.stop_stream):
            try:
                give_up(stream_id, code)
            except ValueError:
                continue  # that half is over already

    def ping(self) -> None:
        self._next_ping += 1
        self._quic.send_ping(self._next_ping)

    def owes(self, now: float) -> bool:
        del now  # the library does not tell; but it grants streams by the hundred, so what comes is rarely needless
        return True

    def close(self, code: int, reason: str) -> None:
        self._terminated = True
        self._quic.close(code, None, reason)

    def limit_datagrams(self, size: int) -> None:
        self._quic._max_datagram_size = min(size, self.datagram_size)  # noqa: SLF001

    @property
    def datagram_size(self) -> int:
        return int(self._quic._max_datagram_size)  # noqa: SLF001

    @property
    def round_trip(self) -> float:
        loss = self._quic._loss  # noqa: SLF001
        return float(loss._rtt_smoothed) if loss._rtt_initialized else 0.0  # noqa: SLF001

    @property
    def is_heard(self) -> bool:
        return self._quic._state is not QuicConnectionState.FIRSTFLIGHT  # noqa: SLF001

    @property
    def lost(self) -> int:
        return self._quic.lost

    @property
    def probe_timeouts(self) -> int:
        return self._quic.probe_timeouts

    def outstanding(self, size: int) -> int:
        space = self._quic._spaces.get(Epoch.ONE_RTT)  # noqa: SLF001
        packets = space.sent_packets.values() if space is not None else []
        return len([1 for packet in packets if packet.sent_bytes > size])

    @property
    def idle_timeout(self) -> float:
        theirs = self._quic._remote_max_idle_timeout  # noqa: SLF001
        ours: float = self._quic.configuration.idle_timeout
        return min(ours, theirs) if theirs else ours


_EVENTS: dict[type, Callable[[Any], EngineEvent]] = {
    quic_events.StreamReset: lambda event: StreamAborted(event.stream_id, event.error_code, by_receiver=False),
    quic_events.StopSendingReceived: lambda event: StreamAborted(event.stream_id, event.error_code, by_receiver=True),
    quic_events.ConnectionIdIssued: lambda event: ConnectionIdIssued(event.connection_id),
    quic_events.ConnectionIdRetired: lambda event: ConnectionIdRetired(event.connection_id),
    quic_events.ConnectionTerminated: lambda event: Terminated(event.error_code, event.reason_phrase, by_peer=False),
}


class AioquicFactory:
    """See `engine.EngineFactory`."""

    def __init__(self, identity: Identity, config: NetConfig) -> None:
        self._certificate = load_pem_x509_certificates(identity.certificate)[0]
        self._private_key = load_pem_private_key(identity.private_key)
        self._config = config

    def connect(self, peer: SocketAddress, datagram_size: int, now: float) -> AioquicConnection:
        configuration = self._configuration(True, datagram_size)
        configuration.verify_mode = ssl.CERT_NONE  # of names and issuers; the key is checked against the node id
        quic = _Quic(receive_window(self._config, is_client=True), configuration=configuration)
        quic.connect(peer, now)
        return AioquicConnection(quic)

    def accept(self, destination_id: bytes, original_id: bytes | None, datagram_size: int) -> AioquicConnection:
        configuration = self._configuration(False, datagram_size)
        configuration.certificate = self._certificate
        configuration.private_key = self._private_key
        quic = _Quic(
            receive_window(self._config, is_client=False),
            configuration=configuration,
            original_destination_connection_id=original_id or destination_id,
            retry_source_connection_id=destination_id if original_id else None,
        )
        return AioquicConnection(quic)

    def retry(self, client_id: bytes, new_id: bytes, original_id: bytes, token: bytes) -> bytes:
        packet: bytes = encode_quic_retry(QuicProtocolVersion.VERSION_1, new_id, client_id, original_id, token)
        return packet

    def _configuration(self, is_client: bool, datagram_size: int) -> QuicConfiguration:
        return QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            connection_id_length=CONNECTION_ID_LENGTH,
            congestion_control_algorithm="cubic",
            idle_timeout=self._config.idle_timeout,
            max_data=receive_window(self._config, is_client=is_client),
            max_stream_data=UNLIMITED,
            max_datagram_size=min(datagram_size, MAX_DATAGRAM),
            supported_versions=[QuicProtocolVersion.VERSION_1],
        )
