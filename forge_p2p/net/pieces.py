"""What is sent, cut and joined into pieces that are worth a call."""

from collections.abc import Iterator, Sequence

from forge_p2p.net.base import Buffer

SEND_PIECE = 1 << 20
"""Bytes given to the engine at once."""


def pieces_of(buffers: Sequence[Buffer]) -> Iterator[Buffer]:
    """The same bytes in pieces of at most `SEND_PIECE`; small buffers travel together."""
    if sum([len(buffer) for buffer in buffers]) <= SEND_PIECE:
        if joined := b"".join(buffers):
            yield joined
        return
    for buffer in buffers:
        view = memoryview(buffer)
        for start in range(0, len(view), SEND_PIECE):
            yield view[start : start + SEND_PIECE]
