"""Frames on a stream: type, length, body. The only door for what a stranger sends.

A reader holds the pieces of one unfinished frame as they came and joins them once, when the last byte is there; a body
that lies within one piece is not copied at all. Two things keep what it holds near the declared length: a length above
the type's limit is refused before any of the body is kept, and small pieces are gathered in one buffer (an object of
its own for every two bytes would cost 30 times their size). Frames of unknown types are dropped while they stream in.
"""

from collections.abc import Mapping, Sequence

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.errors import Malformed
from forge_p2p.wire.bodies import FRAME_LIMITS, decode_body, encode_body
from forge_p2p.wire.data import encode_data
from forge_p2p.wire.deltas import encode_deltas
from forge_p2p.wire.fields import Body, FrameType
from forge_p2p.wire.limits import UNKNOWN_FRAMES_MAX, UNKNOWN_MAX
from forge_p2p.wire.messages import Message
from forge_p2p.wire.varint import decode_varint, encode_varint

Piece = bytes | memoryview

_SMALL = 4096
"""Pieces below this are gathered; above it the object around a piece no longer matters."""

_HEAD_MAX = 16
_BETWEEN = -1


class FrameReader:
    """Collects the frames of one stream. `allowed` gives the types that may come on it, with their longest bodies."""

    __slots__ = ("_allowed", "_head", "_missing", "_pieces", "_skipped_max", "_type", "frames", "skipped")

    def __init__(self, allowed: Mapping[int, int] = FRAME_LIMITS, skipped_max: int = UNKNOWN_FRAMES_MAX) -> None:
        self._allowed = allowed
        self._skipped_max = skipped_max
        self._head = b""
        self._type = _BETWEEN
        self._missing = 0
        self._pieces: list[Piece | bytearray] = []
        self.frames = 0
        """Frames begun so far, skipped ones included."""
        self.skipped = 0

    @property
    def between_frames(self) -> bool:
        """Whether the stream may end here."""
        return self._type == _BETWEEN and not self._head

    def feed(self, data: Piece) -> list[Message]:
        """Takes the next bytes of the stream and returns the messages they complete.

        Messages may hold views of `data`, which must not change afterwards. Raises `Malformed`; the reader is then of
        no further use.
        """
        size = len(data)
        if size < self._missing:  # more of a long frame: the common case, and nothing to decide
            self._missing -= size
            self._keep(data)
            return []
        view = memoryview(data)
        messages: list[Message] = []
        at = 0
        while True:
            if self._type == _BETWEEN:
                at = self._begin(view, at)
                if self._type == _BETWEEN:
                    return messages
            end = at + self._missing
            if end > size:
                self._missing = end - size
                self._keep(view[at:])
                return messages
            self._finish(view[at:end], messages)
            at = end

    def _begin(self, view: memoryview, at: int) -> int:
        """Reads a frame's type and length; keeps what is there of them when the rest is yet to come."""
        head = self._head + bytes(view[at : at + _HEAD_MAX])
        kind = decode_varint(head, 0)
        length = decode_varint(head, kind[1]) if kind else None
        if kind is None or length is None:
            self._head = head
            return len(view)
        at += length[1] - len(self._head)
        self._head = b""
        self._check(kind[0], length[0])
        self._type, self._missing = kind[0], length[0]
        self.frames += 1
        return at

    def _check(self, kind: int, length: int) -> None:
        limit = self._allowed.get(kind)
        if limit is None:
            if kind in FRAME_LIMITS:
                raise Malformed(f"{FrameType(kind).name} frame on a stream where it has no place")
            self.skipped += 1
            if self.skipped > self._skipped_max:
                raise Malformed(f"more than {self._skipped_max} frames of unknown types on one stream")
            limit = UNKNOWN_MAX
        if length > limit:
            raise Malformed(f"frame of type {kind:#x} claims {length} bytes, the most is {limit}")

    def _keep(self, piece: Piece) -> None:
        if self._type not in self._allowed:
            return
        if len(piece) >= _SMALL:
            self._pieces.append(piece)
        elif self._pieces and isinstance(gathered := self._pieces[-1], bytearray):
            gathered += piece
        else:
            self._pieces.append(bytearray(piece))

    def _finish(self, last: memoryview, messages: list[Message]) -> None:
        kind, pieces = self._type, self._pieces
        self._type, self._missing = _BETWEEN, 0
        if kind not in self._allowed:
            return
        if pieces:
            self._pieces = []
            pieces.append(last)
            last = memoryview(b"".join(pieces))
        messages.append(decode_body(kind, last))


def encode_frame(message: Body) -> bytes:
    """One whole frame."""
    body = encode_body(message)
    return encode_varint(message.TYPE) + encode_varint(len(body)) + body


def encode_data_frame(indexes: Sequence[int], chunks: Sequence[EncodedChunk]) -> list[bytes | memoryview]:
    """One DATA frame as buffers to send in order; the chunks' bytes are not copied. Keep to `data.split_batches`."""
    return _raw_frame(FrameType.DATA, encode_data(indexes, chunks))


def encode_delta_frame(indexes: Sequence[int], deltas: Sequence[DeltaChunk]) -> list[bytes | memoryview]:
    """One DELTA frame, as `encode_data_frame`. Keep to `data.split_batches`."""
    return _raw_frame(FrameType.DELTA, encode_deltas(indexes, deltas))


def _raw_frame(kind: FrameType, body: list[bytes | memoryview]) -> list[bytes | memoryview]:
    head, *payloads = body
    length = len(head) + sum([len(payload) for payload in payloads])
    return [encode_varint(kind) + encode_varint(length) + bytes(head), *payloads]
