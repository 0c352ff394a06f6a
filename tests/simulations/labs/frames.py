"""Frames of many datagrams, as the kernel hands them to packet sockets, and a reader that checks them."""

import struct
from dataclasses import dataclass

from simulations.labs.hosted.packets import NONE, TCP4, TCP6, UDP, VIRTIO

ETHERNET = bytes(6) + b"\x02\0\0\0\0\x01"
PORTS = b"\x12\x34\x56\x78"
SEQUENCE = 2**32 - 3000


def ones_sum(data: bytes) -> int:
    """Ones' complement sum, as RFC 1071 has it."""
    total = 0
    for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(network: bytes, protocol: int, length: int) -> bytes:
    if network[0] >> 4 == 4:
        return network[12:20] + struct.pack(">BBH", 0, protocol, length)
    return network[8:40] + struct.pack(">II", length, protocol)


def frame(payload: bytes, segment: int, *, tcp: bool, six: bool) -> bytes:
    """One frame of `payload` in datagrams of `segment` bytes, its checksum left to be done, as senders leave it."""
    protocol = 6 if tcp else 17
    header = (
        PORTS + struct.pack(">IIBBHHH", SEQUENCE, 7, 0x80, 0x19, 500, 0, 0) + bytes(12)
        if tcp
        else PORTS + struct.pack(">HH", 8 + len(payload), 0)
    )
    length = len(header) + len(payload)
    if six:
        network = struct.pack(">IHBB", 0x60000000, length, protocol, 64) + bytes(range(32))
    else:
        network = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, protocol, 0) + bytes(range(8))
        network = network[:10] + struct.pack(">H", 0xFFFF - ones_sum(network)) + network[12:]
    at = 16 if tcp else 6
    partial = ones_sum(pseudo_header(network, protocol, length))
    header = header[:at] + struct.pack(">H", partial) + header[at + 2 :]
    kind = (TCP6 if six else TCP4) if tcp else UDP
    start = 14 + len(network)
    virtio = struct.pack("<BBHHHH", 1, kind, start + len(header), segment, start, at)
    return virtio + ETHERNET + (b"\x86\xdd" if six else b"\x08\x00") + network + header + payload


@dataclass(frozen=True)
class Seen:
    """What the receiver of a frame makes of it."""

    payload: bytes
    single: bool
    offset: int
    """Of a TCP segment's first byte in the stream."""
    finished: bool


def read(received: bytes) -> Seen:
    """Checks a frame as a receiver would, and takes it apart."""
    flags, kind, linear, segment, start, at = struct.unpack("<BBHHHH", received[:VIRTIO])
    assert flags == 1
    body = received[VIRTIO:]
    network = body[14:start]
    six = body[12:14] == b"\x86\xdd"
    protocol = network[6] if six else network[9]
    tcp = protocol == 6
    transport = body[start:]
    header = 32 if tcp else 8
    payload = transport[header:]
    assert linear == start + header
    assert (kind == NONE) == (segment == 0) == (kind not in {TCP4, TCP6, UDP})
    if six:
        assert int.from_bytes(network[4:6]) == len(transport)
    else:
        assert int.from_bytes(network[2:4]) == len(body) - 14
        assert ones_sum(network) == 0xFFFF
    if not tcp:
        assert int.from_bytes(transport[4:6]) == len(transport)
    partial = int.from_bytes(transport[at : at + 2])
    assert (partial - ones_sum(pseudo_header(network, protocol, len(transport)))) % 0xFFFF == 0
    offset = (int.from_bytes(transport[4:8]) - SEQUENCE) % 2**32 if tcp else 0
    return Seen(payload, kind == NONE, offset, tcp and bool(transport[13] & 0x09))
