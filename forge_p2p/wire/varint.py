"""Variable-length integers of QUIC (RFC 9000, section 16): 1, 2, 4 or 8 bytes, up to 2**62 - 1."""

VARINT_MAX = (1 << 62) - 1


def encode_varint(value: int) -> bytes:
    """The shortest form of `value`. Raises `ValueError` outside 0..`VARINT_MAX`."""
    if value < 0 or value > VARINT_MAX:
        raise ValueError(f"{value} does not fit a varint")
    if value < 0x40:
        return value.to_bytes(1)
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2)
    if value < 0x4000_0000:
        return (value | 0x8000_0000).to_bytes(4)
    return (value | 0xC000_0000_0000_0000).to_bytes(8)


def decode_varint(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int] | None:
    """The integer that starts at `data[at]` and the position behind it, or `None` if it is not all there.

    Longer forms than needed are read too, as QUIC does.
    """
    if at >= len(data):
        return None
    first = data[at]
    end = at + (1 << (first >> 6))
    if end > len(data):
        return None
    value = first & 0x3F
    for byte in data[at + 1 : end]:
        value = value << 8 | byte
    return value, end
