"""The few fields of a QUIC packet that are readable without its connection (RFC 8999, RFC 9000 section 17)."""

from dataclasses import dataclass

from forge_p2p.net.engine import CONNECTION_ID_LENGTH

VERSION_1 = b"\0\0\0\1"
MIN_INITIAL_DATAGRAM = 1200
MIN_INITIAL_DESTINATION = 8
MAX_CONNECTION_ID = 20
"""Bytes; RFC 9000 sections 7.2, 14.1 and 17.2."""


@dataclass(frozen=True, slots=True)
class Initial:
    """The clear part of a client's Initial packet."""

    destination_id: bytes
    source_id: bytes
    token: bytes


def destination_id(datagram: bytes) -> bytes:
    """The connection id that a non-empty datagram is for; cut short or empty when the datagram is."""
    if datagram[0] & 0x80:
        return datagram[6 : 6 + datagram[5]] if len(datagram) > 5 else b""
    return datagram[1 : 1 + CONNECTION_ID_LENGTH]


def read_initial(datagram: bytes) -> Initial | None:
    """The Initial packet of version 1 that a datagram starts with; `None` when it is anything else or too short."""
    if len(datagram) < MIN_INITIAL_DATAGRAM or datagram[0] & 0xF0 != 0xC0 or datagram[1:5] != VERSION_1:
        return None
    end = 6 + datagram[5]
    destination = datagram[6:end]
    source = datagram[end + 1 : end + 1 + datagram[end]]
    if not MIN_INITIAL_DESTINATION <= len(destination) <= MAX_CONNECTION_ID or len(source) > MAX_CONNECTION_ID:
        return None
    end += 1 + len(source)
    prefix = 1 << (datagram[end] >> 6)  # RFC 9000 section 16: the two high bits tell how long the number is
    length = int.from_bytes(datagram[end : end + prefix], "big") & ((1 << (8 * prefix - 2)) - 1)
    token = datagram[end + prefix : end + prefix + length]
    return Initial(destination, source, token) if len(token) == length else None


def runs(data: bytes, segment: int) -> list[tuple[int, int]]:
    """Where to cut coalesced datagrams of `segment` bytes each so that every piece is for one connection, as one sender
    may have several. Packets with a long header, which are few, each become a piece of their own."""
    if segment >= len(data):
        return [(0, len(data))]
    ids = range(1, len(data) + 1, segment)  # also of a last datagram that ends before its id
    if max(data[::segment]) < 0x80 and len({data[start : start + CONNECTION_ID_LENGTH] for start in ids}) == 1:
        return [(0, len(data))]  # nearly always
    cuts = [0]
    current = None if data[0] & 0x80 else data[1 : 1 + CONNECTION_ID_LENGTH]
    for start in range(segment, len(data), segment):
        if data[start] & 0x80:
            current = None
            cuts.append(start)
        elif data[start + 1 : start + 1 + CONNECTION_ID_LENGTH] != current:
            current = data[start + 1 : start + 1 + CONNECTION_ID_LENGTH]
            cuts.append(start)
    return list(zip(cuts, [*cuts[1:], len(data)], strict=True))
