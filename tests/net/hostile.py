"""Packets that no honest peer sends, made with aioquic's packet protection."""

import os
from dataclasses import dataclass

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicPacketType, QuicProtocolVersion, encode_long_header_first_byte
from aioquic.tls import Epoch

from forge_p2p.net.tls import ALPN


@dataclass(frozen=True)
class Hello:
    """A client's first TLS message, and the source connection id that its transport parameters name."""

    crypto: bytes
    source_id: bytes


def make_hello() -> Hello:
    quic = QuicConnection(configuration=QuicConfiguration(is_client=True, alpn_protocols=[ALPN]))
    quic.connect(("192.0.2.1", 1), now=0.0)
    data = bytes(quic._crypto_streams[Epoch.INITIAL].sender._buffer)
    return Hello(data, quic.host_cid)


def initial_packet(hello: Hello, token: bytes = b"", destination_id: bytes | None = None) -> bytes:
    """A valid Initial packet that begins a new handshake: every one with an id of its own, all with one key share."""
    destination_id = destination_id or os.urandom(8)
    frame = b"\x06\x00" + (0x4000 | len(hello.crypto)).to_bytes(2) + hello.crypto
    payload = frame.ljust(1150 - len(token), b"\0")
    header = (
        bytes([encode_long_header_first_byte(QuicProtocolVersion.VERSION_1, QuicPacketType.INITIAL, 1)])
        + QuicProtocolVersion.VERSION_1.to_bytes(4)
        + bytes([len(destination_id)])
        + destination_id
        + bytes([len(hello.source_id)])
        + hello.source_id
        + (0x4000 | len(token)).to_bytes(2)
        + token
        + (0x4000 | (len(payload) + 2 + 16)).to_bytes(2)
        + b"\0\0"
    )
    crypto = CryptoPair()
    crypto.setup_initial(cid=destination_id, is_client=True, version=QuicProtocolVersion.VERSION_1)
    return crypto.encrypt_packet(header, payload, 0).ljust(1200, b"\0")
