"""Datagrams inside frames as packet sockets with PACKET_VNET_HDR show them.

A sender that uses segmentation offload hands the kernel up to 64 KiB at once, and virtual cables carry that as one
frame: a virtio header (10 bytes), then Ethernet, IP and UDP or TCP headers once, then the payload of many datagrams of
`gso_size` bytes each, the last one maybe shorter. That is why a relay in Python can carry gigabits. To lose or delay
one datagram of a frame, the frame is cut into runs: `cut` makes a frame of its own of some of the datagrams.

Layouts: include/uapi/linux/virtio_net.h, RFC 791, RFC 8200, RFC 768, RFC 9293.
"""

import struct
from dataclasses import dataclass

VIRTIO = 10
NONE, TCP4, UDP_OBSOLETE, TCP6, UDP = 0, 1, 3, 4, 5
ECN = 0x80
FIN_PSH = 0x09


@dataclass(frozen=True, slots=True)
class Shape:
    """Where in a frame of many datagrams the transport's header and the payload begin, and how long a datagram is."""

    transport: int
    payload: int
    segment: int
    tcp: bool


def datagrams(frame: bytes) -> int:
    """How many datagrams a frame carries."""
    if frame[1] == NONE:
        return 1
    shape = shape_of(frame)
    return -(-(len(frame) - shape.payload) // shape.segment)


def shape_of(frame: bytes) -> Shape:
    """Of a frame of many datagrams. The kernel leaves their checksums to be done, so it says where they start."""
    tcp = frame[1] & ~ECN in {TCP4, TCP6}
    transport = VIRTIO + int.from_bytes(frame[6:8], "little")
    header = (frame[transport + 12] >> 4) * 4 if tcp else 8
    return Shape(transport, transport + header, int.from_bytes(frame[4:6], "little"), tcp)


def cut(frame: bytes, first: int, end: int) -> bytes:
    """A frame of the datagrams `first` to `end` (excluded) of `frame`, which has more than these."""
    shape = shape_of(frame)
    payload = frame[shape.payload + first * shape.segment : shape.payload + end * shape.segment]
    part = bytearray(frame[: shape.payload])
    last = shape.payload + end * shape.segment >= len(frame)
    _set_virtio(part, shape, len(payload))
    _set_lengths(part, shape, len(payload))
    _set_checksum(part, shape, len(frame) - shape.payload, len(payload))
    if shape.tcp:
        _set_tcp(part, shape, first, last)
    return bytes(part) + payload


def _set_virtio(part: bytearray, shape: Shape, payload: int) -> None:
    struct.pack_into("<H", part, 2, shape.payload - VIRTIO)
    if payload <= shape.segment:
        part[1] = NONE
        part[4:6] = b"\0\0"


def _set_lengths(part: bytearray, shape: Shape, payload: int) -> None:
    network = VIRTIO + 14
    if part[network] >> 4 == 4:
        struct.pack_into(">H", part, network + 2, shape.payload - network + payload)
        part[network + 10 : network + 12] = b"\0\0"
        header = part[network : network + (part[network] & 15) * 4]
        struct.pack_into(">H", part, network + 10, 0xFFFF - _sum(header))
    else:
        struct.pack_into(">H", part, network + 4, shape.payload - network - 40 + payload)
    if not shape.tcp:
        struct.pack_into(">H", part, shape.transport + 4, 8 + payload)


def _set_checksum(part: bytearray, shape: Shape, before: int, after: int) -> None:
    """The field holds the sum over the pseudo header, of which the length has changed."""
    at = shape.transport + int.from_bytes(part[8:10], "little")
    header = shape.payload - shape.transport
    total = int.from_bytes(part[at : at + 2], "big") + (0xFFFF - (before + header) % 0xFFFF) + (after + header)
    struct.pack_into(">H", part, at, total % 0xFFFF)


def _set_tcp(part: bytearray, shape: Shape, first: int, last: bool) -> None:
    at = shape.transport + 4
    sequence = (int.from_bytes(part[at : at + 4], "big") + first * shape.segment) % 2**32
    struct.pack_into(">I", part, at, sequence)
    if not last:
        part[shape.transport + 13] &= 0xFF ^ FIN_PSH


def _sum(data: bytes | bytearray) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
