"""Bodies of messages, to bytes and back.

An array may be longer than the fields known (a later version added some): what is beyond is ignored, and fields with a
default (this version added them) may be lacking. A shorter array, a field of another type or out of its bounds is
`Malformed`.
"""

from collections.abc import Mapping

import msgspec

from forge_p2p.errors import Malformed
from forge_p2p.wire import limits
from forge_p2p.wire.data import decode_data
from forge_p2p.wire.deltas import decode_deltas
from forge_p2p.wire.fields import Body, FrameType
from forge_p2p.wire.messages import Message

FRAME_LIMITS: Mapping[int, int] = {
    FrameType.HELLO: limits.HELLO_MAX,
    FrameType.PROOF: limits.SMALL_MAX,
    FrameType.CREDENTIALS: limits.CREDENTIALS_MAX,
    FrameType.WELCOME: limits.CREDENTIALS_MAX,
    FrameType.REFUSED: limits.SMALL_MAX,
    FrameType.PING: limits.SMALL_MAX,
    FrameType.PONG: limits.SMALL_MAX,
    FrameType.GOODBYE: limits.SMALL_MAX,
    FrameType.NEWS: limits.NEWS_MAX,
    FrameType.WANT: limits.WANT_MAX,
    FrameType.DATA: limits.DATA_MAX,
    FrameType.MISSING: limits.MISSING_MAX,
    FrameType.DONE: limits.SMALL_MAX,
    FrameType.HAVE_QUERY: limits.HAVE_QUERY_MAX,
    FrameType.HAVE: limits.HAVE_MAX,
    FrameType.FIND_NODE: limits.SMALL_MAX,
    FrameType.NODES: limits.NODES_MAX,
    FrameType.FIND_PROVIDERS: limits.SMALL_MAX,
    FrameType.PROVIDERS: limits.PROVIDERS_MAX,
    FrameType.ANNOUNCE: limits.SMALL_MAX,
    FrameType.FOLLOW: limits.SMALL_MAX,
    FrameType.HOLDINGS: limits.HOLDINGS_MAX,
    FrameType.FOLLOWERS: limits.FOLLOWERS_MAX,
    FrameType.SUMMARY_QUERY: limits.SMALL_MAX,
    FrameType.SUMMARY: limits.SUMMARY_FRAME_MAX,
    FrameType.RECONCILE: limits.RECONCILE_MAX,
    FrameType.RECONCILED: limits.RECONCILED_MAX,
    FrameType.DELTA: limits.DATA_MAX,
    FrameType.BASELESS: limits.MISSING_MAX,
    FrameType.REF_PUT: limits.REF_PUT_MAX,
    FrameType.REF_VERDICT: limits.REF_PUT_MAX,
    FrameType.REF_READ: limits.SMALL_MAX,
    FrameType.REF_RECORDS: limits.REF_RECORDS_MAX,
    FrameType.REF_LIST: limits.SMALL_MAX,
    FrameType.REF_NAMES: limits.REF_NAMES_MAX,
}
"""Longest body a type may have, in bytes."""

_DECODERS = {body.TYPE: msgspec.msgpack.Decoder(body) for body in Body.__subclasses__()}
_ENCODER = msgspec.msgpack.Encoder()


def encode_body(message: Body) -> bytes:
    return _ENCODER.encode(message)


def decode_body(frame_type: int, body: memoryview) -> Message:
    """The message in one frame of a known type. Raises `Malformed` and nothing else."""
    if frame_type == FrameType.DATA:
        return decode_data(body)
    if frame_type == FrameType.DELTA:
        return decode_deltas(body)
    decoder = _DECODERS[FrameType(frame_type)]
    try:
        return decoder.decode(body)  # type: ignore[return-value]  # the decoders are exactly the other messages
    except (ValueError, RecursionError) as error:
        # ValueError covers msgspec's own errors and broken UTF-8; nesting can hide in fields beyond the known ones.
        raise Malformed(f"{FrameType(frame_type).name} frame does not follow the format: {error}") from None
