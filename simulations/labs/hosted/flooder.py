"""A stranger that begins handshakes and finishes none: `python -m simulations.labs.hosted.flooder RATE SECONDS`.

Makes its packets beforehand, says "ready", waits for a line with an address and a port, and sends: every packet is a
valid first packet of a handshake of its own, all from one address. Says how many it has sent and what came back.
"""

import os
import socket
import sys
import time
from importlib import import_module
from typing import Any

from forge_p2p.net.tls import ALPN

VERSION = 1
SIZE = 1200
UDP_SEGMENT = 103
BATCH = 50
"""Packets in one system call: a burst of 5 ms at 10,000 a second."""


def main() -> int:
    rate, seconds = int(sys.argv[1]), float(sys.argv[2])
    batches = [b"".join(batch) for batch in _batches(int(rate * seconds))]
    print("ready", flush=True)
    host, port = sys.stdin.readline().split()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_UDP, UDP_SEGMENT, SIZE)
        opened.connect((host, int(port)))
        begin, answered = time.monotonic(), 0
        for number, batch in enumerate(batches):
            wait = begin + number * BATCH / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            opened.send(batch)
            answered += _drained(opened)
        lasted = time.monotonic() - begin
        time.sleep(1.0)
        answered += _drained(opened)
    print(f"{len(batches) * BATCH} sent in {lasted:.2f} s, {answered} bytes came back", flush=True)
    return 0


def _drained(opened: socket.socket) -> int:
    total = 0
    while True:
        try:
            total += len(opened.recv(65536, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return total
        except ConnectionRefusedError:
            continue


def _batches(count: int) -> list[list[bytes]]:
    seal = _sealer()
    return [[seal() for _ in range(BATCH)] for _ in range(count // BATCH)]


def _sealer() -> Any:
    """Makes Initial packets (RFC 9000, section 17.2.2; RFC 9001, section 5.2), one more with each call. All have one
    ClientHello; each has a destination id, and so keys, of its own."""
    connection = import_module("aioquic.quic.connection")
    configuration = import_module("aioquic.quic.configuration")
    crypto = import_module("aioquic.quic.crypto")
    packet = import_module("aioquic.quic.packet")
    epoch = import_module("aioquic.tls").Epoch.INITIAL
    quic = connection.QuicConnection(
        configuration=configuration.QuicConfiguration(is_client=True, alpn_protocols=[ALPN])
    )
    quic.connect(("192.0.2.1", 1), now=0.0)
    hello = bytes(quic._crypto_streams[epoch].sender._buffer)  # noqa: SLF001 (the library has no other way to it)
    payload = (b"\x06\x00" + (0x4000 | len(hello)).to_bytes(2) + hello).ljust(1150, b"\0")
    first = packet.encode_long_header_first_byte(VERSION, packet.QuicPacketType.INITIAL, 1)
    source = bytes([len(quic.host_cid)]) + quic.host_cid
    length = (0x4000 | (len(payload) + 2 + 16)).to_bytes(2)

    def sealed() -> bytes:
        destination = os.urandom(8)
        header = bytes([first]) + VERSION.to_bytes(4) + b"\x08" + destination + source + b"\x40\x00" + length + b"\0\0"
        pair = crypto.CryptoPair()
        pair.setup_initial(cid=destination, is_client=True, version=VERSION)
        sealed_packet: bytes = pair.encrypt_packet(header, payload, 0)
        return sealed_packet.ljust(SIZE, b"\0")

    return sealed


if __name__ == "__main__":
    sys.exit(main())
