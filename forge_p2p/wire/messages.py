"""Every message of the protocol and the bytes of its body.

Bodies are msgpack arrays, one element a field, in the order declared here; DATA alone has a layout of its own (`data`).
An array may be longer than the fields known (a later version added some): what is beyond is ignored. A shorter one, a
field of another type or out of its bounds is `Malformed`. Frames, which are a type and a length around a body, are in
`frames`.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from forge_p2p.errors import Malformed
from forge_p2p.ids import HASH_SIZE, NODE_ID_SIZE, Hash
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import Data, decode_data


class FrameType(IntEnum):
    """Numbers on the wire. Below 0x10: control stream. From 0x10: request streams."""

    HELLO = 0x01
    PROOF = 0x02
    CREDENTIALS = 0x03
    WELCOME = 0x04
    REFUSED = 0x05
    PING = 0x06
    PONG = 0x07
    GOODBYE = 0x08
    WANT = 0x10
    DATA = 0x11
    MISSING = 0x12
    DONE = 0x13
    HAVE_QUERY = 0x14
    HAVE = 0x15


U8 = Annotated[int, Meta(ge=0, le=0xFF)]
U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Reason = Annotated[str, Meta(max_length=limits.REASON_CHARS)]
Capability = Annotated[str, Meta(min_length=1, max_length=limits.CAPABILITY_CHARS)]
Index = Annotated[int, Meta(ge=0, lt=limits.HASHES_MAX)]
Hashes = Annotated[bytes, Meta(min_length=HASH_SIZE, max_length=limits.HASHES_MAX * HASH_SIZE)]
"""Hashes one behind the other: one object to decode instead of a thousand."""


class Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of the messages whose body is a msgpack array."""

    TYPE: ClassVar[FrameType]


class Hello(Body, frozen=True):
    """First frame of either side. The client offers a range of versions; the server names its choice, as both ends."""

    TYPE = FrameType.HELLO
    first_version: U16
    last_version: U16
    capabilities: Annotated[tuple[Capability, ...], Meta(max_length=limits.CAPABILITIES_MAX)]
    node_id: Annotated[bytes, Meta(min_length=NODE_ID_SIZE, max_length=NODE_ID_SIZE)]
    agent: Annotated[str, Meta(max_length=limits.AGENT_CHARS)]
    max_requests: Annotated[int, Meta(ge=1, le=limits.REQUEST_LIMIT)]
    """Requests the sender answers at once."""
    nonce: Annotated[bytes, Meta(max_length=limits.NONCE_SIZE)]
    """32 fresh bytes from the server, empty from the client."""

    def __post_init__(self) -> None:
        if self.first_version > self.last_version:
            raise ValueError("the range of versions is empty")


class Proof(Body, frozen=True):
    """The client's signature over the text of `proto.auth.proof_text`."""

    TYPE = FrameType.PROOF
    signature: Annotated[bytes, Meta(min_length=limits.SIGNATURE_SIZE, max_length=limits.SIGNATURE_SIZE)]


class Credentials(Body, frozen=True):
    """What the client shows to be let in: a ticket's capability. Opaque to this layer."""

    TYPE = FrameType.CREDENTIALS
    token: Annotated[bytes, Meta(max_length=limits.TOKEN_MAX)]


class Welcome(Body, frozen=True):
    """The client is let in."""

    TYPE = FrameType.WELCOME


class Refused(Body, frozen=True):
    """The client is not let in; last frame of the server."""

    TYPE = FrameType.REFUSED
    code: U16
    reason: Reason


class Ping(Body, frozen=True):
    TYPE = FrameType.PING
    token: U32


class Pong(Body, frozen=True):
    TYPE = FrameType.PONG
    token: U32


class Goodbye(Body, frozen=True):
    """The sender leaves; its last frame on the control stream."""

    TYPE = FrameType.GOODBYE
    code: U16
    reason: Reason


class Want(Body, frozen=True):
    """Asks for chunks. Answers name them by their index here."""

    TYPE = FrameType.WANT
    hashes: Hashes
    priority: U8
    """Smaller is more urgent."""
    deadline_ms: Annotated[int, Meta(ge=1, le=limits.DEADLINE_MS_MAX)]
    """Milliseconds after which the sender no longer cares."""
    max_bytes: Annotated[int, Meta(ge=0, le=limits.WANT_BYTES_MAX)]
    """The most raw bytes the sender has room for."""

    def __post_init__(self) -> None:
        _check_hashes(self.hashes)


class Missing(Body, frozen=True):
    """These chunks are not here, or not for you."""

    TYPE = FrameType.MISSING
    indexes: Annotated[tuple[Index, ...], Meta(min_length=1, max_length=limits.HASHES_MAX)]


class Done(Body, frozen=True):
    """Last frame of an answer. With `Code.OK` every index has been answered."""

    TYPE = FrameType.DONE
    code: U16
    reason: Reason


class HaveQuery(Body, frozen=True):
    """Asks which of these chunks the receiver has."""

    TYPE = FrameType.HAVE_QUERY
    hashes: Hashes

    def __post_init__(self) -> None:
        _check_hashes(self.hashes)


class Have(Body, frozen=True):
    """One bit a hash asked for, first hash in the highest bit of the first byte; spare bits are zero."""

    TYPE = FrameType.HAVE
    bitmap: Annotated[bytes, Meta(min_length=1, max_length=limits.HASHES_MAX // 8)]


Message = (
    Hello
    | Proof
    | Credentials
    | Welcome
    | Refused
    | Ping
    | Pong
    | Goodbye
    | Want
    | Data
    | Missing
    | Done
    | HaveQuery
    | Have
)

FRAME_LIMITS: Mapping[int, int] = {
    FrameType.HELLO: limits.HELLO_MAX,
    FrameType.PROOF: limits.SMALL_MAX,
    FrameType.CREDENTIALS: limits.CREDENTIALS_MAX,
    FrameType.WELCOME: limits.SMALL_MAX,
    FrameType.REFUSED: limits.SMALL_MAX,
    FrameType.PING: limits.SMALL_MAX,
    FrameType.PONG: limits.SMALL_MAX,
    FrameType.GOODBYE: limits.SMALL_MAX,
    FrameType.WANT: limits.WANT_MAX,
    FrameType.DATA: limits.DATA_MAX,
    FrameType.MISSING: limits.MISSING_MAX,
    FrameType.DONE: limits.SMALL_MAX,
    FrameType.HAVE_QUERY: limits.WANT_MAX,
    FrameType.HAVE: limits.HAVE_MAX,
}
"""Longest body a type may have, in bytes."""

_BODIES: tuple[type[Body], ...] = (
    Hello, Proof, Credentials, Welcome, Refused, Ping, Pong, Goodbye, Want, Missing, Done, HaveQuery, Have,
)  # fmt: skip
_DECODERS = {body.TYPE: msgspec.msgpack.Decoder(body) for body in _BODIES}
_ENCODER = msgspec.msgpack.Encoder()


def encode_body(message: Body) -> bytes:
    return _ENCODER.encode(message)


def decode_body(frame_type: int, body: memoryview) -> Message:
    """The message in one frame of a known type. Raises `Malformed` and nothing else."""
    if frame_type == FrameType.DATA:
        return decode_data(body)
    decoder = _DECODERS[FrameType(frame_type)]
    try:
        return decoder.decode(body)  # type: ignore[return-value]  # the decoders are exactly the other messages
    except (ValueError, RecursionError) as error:
        # ValueError covers msgspec's own errors and broken UTF-8; nesting can hide in fields beyond the known ones.
        raise Malformed(f"{FrameType(frame_type).name} frame does not follow the format: {error}") from None


def split_hashes(blob: bytes) -> list[Hash]:
    """The hashes of a WANT or a HAVE_QUERY."""
    return [Hash(blob[at : at + HASH_SIZE]) for at in range(0, len(blob), HASH_SIZE)]


def printable(text: str) -> str:
    """A stranger's text, safe for a log or a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def code_of(number: int) -> Code:
    """The code behind a number; what a later version added is `Code.UNKNOWN`."""
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN


def _check_hashes(blob: bytes) -> None:
    if len(blob) % HASH_SIZE:
        raise ValueError(f"{len(blob)} bytes are not a whole number of hashes")
