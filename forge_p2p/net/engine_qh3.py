"""The qh3 engine: a Python face (handshake, TLS) over a core in Rust (packets, recovery, streams).

After the handshake this adapter talks to the core itself, for two reasons. The face parses every outgoing packet again
for a log that nobody keeps, which costs a third of the throughput. And the core grants flow-control credit when its
events are taken, but the face takes them all at once; by leaving stream data in the core until the application has read
what it was given, a slow reader slows its peer down instead of being buried.

All that is private to qh3 is used in this module alone, behind `_native`; where a future qh3 lacks it, the public calls
serve (slower, and with the byte cap of `connection` as the only bound on what is unread).
"""

import logging
import ssl
from collections.abc import Callable
from typing import Any

from qh3._hazmat import Buffer, QuicConnectionCore
from qh3.quic import events as quic_events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection
from qh3.quic.packet import (
    QuicProtocolVersion,
    encode_quic_retry,
    pull_quic_transport_parameters,
    push_quic_transport_parameters,
)
from qh3.tls import ExtensionType, SignatureAlgorithm

from forge_p2p.config import NetConfig
from forge_p2p.net.base import StreamAborted, StreamData
from forge_p2p.net.engine import (
    CONNECTION_ID_LENGTH,
    MAX_ACK_DELAY,
    ConnectionIdIssued,
    ConnectionIdRetired,
    EngineEvent,
    EngineStuck,
    Established,
    Terminated,
    receive_window,
)
from forge_p2p.net.tls import ALPN, Identity
from forge_p2p.net.udp import Datagram, SocketAddress

logging.getLogger("quic").addHandler(logging.NullHandler())  # its warnings repeat what `Terminated` says

_CORE_CALLS = (
    *("poll_transmit", "next_event", "receive_gro_buffer", "get_timer", "handle_timer", "send_stream"),
    *("bytes_in_flight", "congestion_window", "loss_total"),
)
ACK_DELAY = 0.001
"""Seconds after which the core wants to acknowledge what came, if that ended no stream; then it wants to at once."""
MANY_STREAMS = 4
"""Streams of the peer's that ended, after which it is told soon that it may open as many again: it may have 100 open,
and up to 96 are used (`docs/protocol.md`, limits)."""
ACTIVE_CONNECTION_IDS = 2
"""Ids that the other side may give us: one to use, one to move to. Each further one costs a handshake 33 bytes."""

_TRANSPORT_PARAMETERS = (
    "initial_max_data",
    "initial_max_stream_data_bidi_local",
    "initial_max_stream_data_bidi_remote",
    "initial_max_stream_data_uni",
    "initial_max_streams_bidi",
    "initial_max_streams_uni",
    "ack_delay_exponent",
    "max_ack_delay",
    "max_idle_timeout",
    "max_datagram_frame_size",
    "stateless_reset_token",
    "active_connection_id_limit",
    "disable_active_migration",
)
_NATIVE = all(hasattr(QuicConnectionCore, name) for name in _CORE_CALLS)


class _Quic(QuicConnection):
    """Advertises the largest datagram that this side's route takes; qh3's clients say 1472 whatever the route."""

    def _create_tls(self, remote_source_cid: bytes | None) -> Any:
        bridge = super()._create_tls(remote_source_cid)
        try:
            parameters = pull_quic_transport_parameters(Buffer(data=bridge.serialize_transport_parameters()))
            parameters.max_udp_payload_size = self.configuration.max_datagram_size
            parameters.max_ack_delay = MAX_ACK_DELAY
            encoded = Buffer(capacity=2048)
            push_quic_transport_parameters(encoded, parameters)
            bridge.tls.handshake_extensions = [(ExtensionType.QUIC_TRANSPORT_PARAMETERS, encoded.data)]
        except (AttributeError, TypeError):
            return bridge  # another qh3: datagrams stay at what it advertises
        return bridge


class Qh3Connection:
    """See `engine.EngineConnection`."""

    def __init__(self, quic: QuicConnection) -> None:
        self._quic = quic
        self._core: Any = None
        self._terminated = False
        self._is_narrowed = False
        self._is_fresh = False
        """A client's, from the end of the handshake to what it sends next."""
        self._next_ping = 0
        self._ended_streams = 0
        """The peer's, since anything was last sent: qh3 grants a new one for each, in a frame of its own."""
        self._lost_before = 0
        """`lost` when anything was last sent."""
        self._is_full = False
        """The congestion window was, when anything was last sent: there may be more to say."""
        self.connection_id: bytes = quic.host_cid

    def receive(self, data: bytes, segment: int, sender: SocketAddress, now: float) -> None:
        receiver = self._quic if self._core is None else self._core
        receiver.receive_gro_buffer(data, segment, sender, now)

    def events(self, room: int) -> list[EngineEvent]:
        found: list[EngineEvent] = []
        while (event := self._quic.next_event()) is not None:
            translate = _FACE_EVENTS.get(type(event))
            if translate is not None:
                found.append(translate(event))
            elif isinstance(event, quic_events.HandshakeCompleted):
                self._establish(found)
        if self._core is not None:
            self._take_native(found, room)
        elif not self._terminated and (closed := getattr(self._quic, "_close_event", None)) is not None:
            self._terminated = True
            found.append(Terminated(closed.error_code, closed.reason_phrase, by_peer=False))
        return found

    def _establish(self, found: list[EngineEvent]) -> None:
        self._is_fresh = self._quic.configuration.is_client
        certificate = self._quic.get_peercert()
        found.append(Established(bytes(certificate.public_key()) if certificate is not None else b""))
        if _NATIVE:
            self._core = self._quic._core  # noqa: SLF001
            self._drop_tls()

    def _drop_tls(self) -> None:
        """Frees what only the handshake needed, a quarter of an idle connection's memory. The core no longer asks for
        it. The parts refer to each other, so they are taken apart rather than left to the garbage collector."""
        bridge, self._quic._tls = self._quic._tls, None  # noqa: SLF001
        vars(bridge).clear()

    def _take_native(self, found: list[EngineEvent], room: int) -> None:
        take = self._core.next_event
        while room > 0:
            event = take()
            if event is None:
                return
            kind = event[0]
            if kind == "stream_data":
                found.append(StreamData(event[1], event[2], event[3]))
                room -= len(event[2])
            elif kind == "handshake_done":
                self._core.handshake_confirmed()
            elif kind == "stream_finished":
                self._ended_streams += event[1] & 1 == self._quic.configuration.is_client
            elif (translate := _CORE_EVENTS.get(kind)) is not None:
                found.append(translate(event))

    def transmit(self, now: float, limit: int) -> list[Datagram]:
        core = self._quic._core  # noqa: SLF001
        if core is None or not _NATIVE:
            return self._quic.datagrams_to_send(now)
        self._ended_streams, self._lost_before = 0, core.loss_total
        datagrams: list[Datagram] = []
        poll = core.poll_transmit
        try:
            while len(datagrams) < limit and (transmit := poll(now)) is not None:
                datagrams.append(transmit[:2])
        except RuntimeError as error:
            # While an address is unproven the core may send it three times what came from there. It reports a packet
            # that does not fit what is left as an error; it keeps the packet, and there will be more left later.
            if "capacity exhausted" not in str(error):
                raise
            if self._is_narrowed:
                # A packet that was put together before the size was lowered fits no more, and the core does not take it
                # apart again. Rare: mostly nothing is waiting at that moment.
                size = self.datagram_size
                raise EngineStuck(f"the path carries no datagrams above {size} bytes: dial again") from error
        self._is_full = core.bytes_in_flight + self.datagram_size > core.congestion_window
        if self._is_fresh and datagrams:
            # A client's padded acknowledgement of the server's Initial packets: 1280 bytes that the Handshake packet
            # right behind it makes needless (RFC 9001 section 4.9.1).
            self._is_fresh = False
            return [datagram for datagram in datagrams if datagram[0][0] & 0xF0 != 0xC0]
        return datagrams

    def deadline(self) -> float | None:
        if self._core is None:
            return self._quic.get_timer()
        timer = self._core.get_timer()
        return None if timer is None else timer[1]

    def handle_timer(self, now: float) -> None:
        (self._quic if self._core is None else self._core).handle_timer(now)

    def open_stream(self) -> int | None:
        if self._core is None:
            return self._quic.get_next_available_stream_id()
        try:
            opened: int = self._core.open_stream(False)
        except ValueError:
            return None
        return opened

    def can_send(self, stream_id: int) -> bool:
        return bool(self._quic._stream_can_send(stream_id))  # noqa: SLF001

    def send(self, stream_id: int, data: bytes | bytearray | memoryview, fin: bool) -> None:
        if self._core is None:
            self._quic.send_stream_data(stream_id, data, fin)
        else:
            self._core.send_stream(stream_id, data, fin)

    def unsent(self, stream_id: int | None = None) -> int:
        return (self._quic if self._core is None else self._core).get_send_buffer_size(stream_id)

    def abort(self, stream_id: int, code: int) -> None:
        core, quic = self._core, self._quic
        halves = (quic.reset_stream, quic.stop_stream) if core is None else (core.reset_stream, core.stop_sending)
        for give_up in halves:
            try:
                give_up(stream_id, code)
            except ValueError:
                continue  # that half is over already

    def ping(self) -> None:
        self._next_ping += 1
        (self._quic if self._core is None else self._core).send_ping(self._next_ping)

    def owes(self, now: float) -> bool:
        timer = None if self._core is None else self._core.get_timer()
        if timer is None or self._is_full or self._ended_streams >= MANY_STREAMS:
            return True
        if self._core.loss_total > self._lost_before:
            return True
        # The earliest of all timers; the one for an acknowledgement is never more than ACK_DELAY ahead.
        kind, when = timer
        return str(kind).startswith("ack") or bool(when <= now + ACK_DELAY)

    def close(self, code: int, reason: str) -> None:
        self._terminated = True
        self._quic.close(code, None, reason)

    def limit_datagrams(self, size: int) -> None:
        """The core has no call for this; but it lowers its size when the peer's transport parameters say so, and they
        may be applied again."""
        parameters = self._quic._applied_transport_parameters  # noqa: SLF001
        if self._core is None or parameters is None:
            return
        self._is_narrowed = True
        values = {name: getattr(parameters, name) for name in _TRANSPORT_PARAMETERS}
        self._core.apply_peer_transport_parameters(
            *(values[name] or 0 for name in _TRANSPORT_PARAMETERS[:6]),
            3 if values["ack_delay_exponent"] is None else values["ack_delay_exponent"],
            (25 if values["max_ack_delay"] is None else values["max_ack_delay"]) / 1000,
            (values["max_idle_timeout"] or 0) / 1000 or None,
            values["max_datagram_frame_size"],
            values["stateless_reset_token"],
            values["active_connection_id_limit"] or 2,
            bool(values["disable_active_migration"]),
            min(size, self.datagram_size),
        )

    @property
    def datagram_size(self) -> int:
        if self._core is None:
            return self._quic.configuration.max_datagram_size
        size: int = self._core.active_path[5]
        return size

    @property
    def round_trip(self) -> float:
        return (self._core and self._core.smoothed_rtt) or 0.0

    @property
    def is_heard(self) -> bool:
        core = self._quic._core  # noqa: SLF001
        return core is not None and bool(getattr(core, "received_authenticated_packet", True))

    @property
    def lost(self) -> int:
        return self._core.loss_total if self._core else 0

    @property
    def probe_timeouts(self) -> int:
        return self._core.pto_total if self._core else 0

    def outstanding(self, size: int) -> int:
        packets = self._core.outstanding_application_packets if self._core else []
        return len([1 for _, sent_bytes, _ in packets if sent_bytes > size])

    @property
    def idle_timeout(self) -> float:
        parameters = getattr(self._quic, "_applied_transport_parameters", None)
        theirs = getattr(parameters, "max_idle_timeout", None) or 0
        ours = self._quic.configuration.idle_timeout
        return min(ours, theirs / 1000) if theirs else ours


_FACE_EVENTS: dict[type, Callable[[Any], EngineEvent]] = {
    quic_events.StreamDataReceived: lambda event: StreamData(event.stream_id, event.data, event.end_stream),
    quic_events.StreamReset: lambda event: StreamAborted(event.stream_id, event.error_code, by_receiver=False),
    quic_events.StopSendingReceived: lambda event: StreamAborted(event.stream_id, event.error_code, by_receiver=True),
    quic_events.ConnectionIdIssued: lambda event: ConnectionIdIssued(event.connection_id),
    quic_events.ConnectionIdRetired: lambda event: ConnectionIdRetired(event.connection_id),
    quic_events.ConnectionTerminated: lambda event: Terminated(event.error_code, event.reason_phrase, by_peer=False),
}

_CORE_EVENTS: dict[str, Callable[[tuple[Any, ...]], EngineEvent]] = {
    "stream_reset": lambda event: StreamAborted(event[1], event[2], by_receiver=False),
    "stop_sending": lambda event: StreamAborted(event[1], event[2], by_receiver=True),
    "connection_id_issued": lambda event: ConnectionIdIssued(event[1]),
    "connection_id_retired": lambda event: ConnectionIdRetired(event[1]),
    "peer_closed": lambda event: Terminated(event[2], _text(event[4]), by_peer=True),
    "protocol_error": lambda event: Terminated(event[1], event[3], by_peer=False),
    "connection_terminated": lambda event: Terminated(event[1], _text(event[3]), by_peer=False),
}


def _text(reason: bytes) -> str:
    return reason.decode("utf-8", "replace")


class Qh3Factory:
    """See `engine.EngineFactory`."""

    def __init__(self, identity: Identity, config: NetConfig) -> None:
        self._config = config
        parsed = QuicConfiguration()
        parsed.load_cert_chain(identity.certificate, identity.private_key)
        self._certificate = parsed.certificate, parsed.certificate_chain, parsed.private_key
        self._configurations: dict[tuple[bool, int], QuicConfiguration] = {}

    def connect(self, peer: SocketAddress, datagram_size: int, now: float) -> Qh3Connection:
        quic = _Quic(configuration=self._configuration(True, datagram_size))
        quic.connect(peer, now)
        return Qh3Connection(quic)

    def accept(self, destination_id: bytes, original_id: bytes | None, datagram_size: int) -> Qh3Connection:
        return Qh3Connection(
            _Quic(
                configuration=self._configuration(False, datagram_size),
                original_destination_connection_id=original_id or destination_id,
                retry_source_connection_id=destination_id if original_id else None,
            )
        )

    def retry(self, client_id: bytes, new_id: bytes, original_id: bytes, token: bytes) -> bytes:
        return encode_quic_retry(QuicProtocolVersion.VERSION_1, new_id, client_id, original_id, token)

    def _configuration(self, is_client: bool, datagram_size: int) -> QuicConfiguration:
        """One for all connections of a kind: the library changes nothing in it, and each takes 1.6 KB."""
        key = is_client, datagram_size
        if key not in self._configurations:
            self._configurations[key] = self._make_configuration(is_client, datagram_size)
        return self._configurations[key]

    def _make_configuration(self, is_client: bool, datagram_size: int) -> QuicConfiguration:
        configuration = QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            connection_id_length=CONNECTION_ID_LENGTH,
            idle_timeout=self._config.idle_timeout,
            max_data=receive_window(self._config, is_client=is_client),
            max_stream_data=receive_window(self._config, is_client=is_client),
            max_datagram_size=datagram_size,
            probe_datagram_size=False,
            active_connection_id_limit=ACTIVE_CONNECTION_IDS,
        )
        if is_client:
            configuration.verify_mode = ssl.CERT_NONE  # of names and issuers; the key is checked against the node id
            configuration.signature_algorithms = [SignatureAlgorithm.ED25519]
        else:
            configuration.certificate, configuration.certificate_chain, configuration.private_key = self._certificate
        return configuration
