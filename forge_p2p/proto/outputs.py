"""What a session hands out: things to do on the connection, and things that happened.

A request's id is the id of its stream, on both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.ids import Hash, NodeId
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import Follow, Query, Reply, Told


@dataclass(frozen=True, slots=True)
class SendData:
    """Queue these buffers on a stream, in order; `fin`: nothing follows."""

    stream_id: int
    buffers: Sequence[bytes | memoryview]
    fin: bool


@dataclass(frozen=True, slots=True)
class AbortStream:
    """Give a stream up in both directions."""

    stream_id: int
    code: Code


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close the connection; always the last output."""

    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Both ends know each other. `capabilities`: those both have. `max_requests`: how many the peer answers at once.
    `credentials`: what a server has shown of itself in return; empty from a client."""

    peer_id: NodeId
    agent: str
    version: int
    capabilities: frozenset[str]
    max_requests: int
    credentials: bytes = b""


@dataclass(frozen=True, slots=True)
class AuthorizationNeeded:
    """The authorizer wants to think about it: call `Session.decide`."""

    client_id: NodeId
    credentials: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The server said no. The session is over."""

    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class PeerGone:
    """The session is over: either side left, the connection ended, or the protocol was broken; `code` says which.

    What the peer had asked for need not be answered any more.
    """

    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """The peer wants chunks that it may have. `indexes` are theirs within the request: pass them to `Session.answer`.

    `deadline` is in the clock of `now`; `max_bytes` are raw bytes: of more chunks, choose. `sparing`: leave out what
    others have just been sent, and end with `Code.ELSEWHERE`.
    """

    request_id: int
    indexes: Sequence[int]
    hashes: Sequence[Hash]
    priority: int
    deadline: float
    max_bytes: int
    sparing: bool = False


@dataclass(frozen=True, slots=True)
class RequestCancelled:
    """The peer gave its request up, or its deadline passed: stop answering. Or it follows no more: stop telling."""

    request_id: int


@dataclass(frozen=True, slots=True)
class ChunksReceived:
    """Chunks that were asked for, in stored form and not yet verified. Their data view one shared frame buffer."""

    request_id: int
    indexes: Sequence[int]
    chunks: Sequence[EncodedChunk]


@dataclass(frozen=True, slots=True)
class DeltasReceived:
    """As `ChunksReceived`, as deltas against the bases that were named."""

    request_id: int
    indexes: Sequence[int]
    deltas: Sequence[DeltaChunk]


@dataclass(frozen=True, slots=True)
class RequestBaseless:
    """The peer has these and not their bases. They count as answered: ask again, with a signature or for the whole."""

    request_id: int
    indexes: Sequence[int]


@dataclass(frozen=True, slots=True)
class RequestMissing:
    """The peer lacks these, or keeps them from us."""

    request_id: int
    indexes: Sequence[int]


@dataclass(frozen=True, slots=True)
class RequestDone:
    """Every index has been answered, or all is told of what was followed; the request is over."""

    request_id: int


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The request is over; some indexes, the bitmap or the reply never came, or nothing more will be told. `retryable`:
    worth asking this peer again."""

    request_id: int
    code: Code
    reason: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class HaveQueryReceived:
    """The peer asks which of these we have (others of its query it may not know about): call `Session.answer_have`."""

    request_id: int
    hashes: Sequence[Hash]


@dataclass(frozen=True, slots=True)
class HaveReceived:
    """Which of the queried hashes the peer has, in the query's order. The query is over."""

    request_id: int
    present: Sequence[bool]


@dataclass(frozen=True, slots=True)
class QueryReceived:
    """A member asks as one node of the DHT another: call `Session.reply`."""

    request_id: int
    message: Query


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """The answer to a query: of the type that belongs to it, `Done` with `Code.OK` to an `Announce`. It is over."""

    request_id: int
    message: Reply


@dataclass(frozen=True, slots=True)
class FollowReceived:
    """A member wants to know what is here of a root: call `Session.tell`, now and whenever there is more, until
    `RequestCancelled`."""

    request_id: int
    message: Follow


@dataclass(frozen=True, slots=True)
class ToldOf:
    """What a peer has of a root that is followed there, or who else follows it."""

    request_id: int
    message: Told


@dataclass(frozen=True, slots=True)
class NewsReceived:
    """From a member; to be checked item by item."""

    items: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class PongReceived:
    token: int


Event = (
    Ready
    | AuthorizationNeeded
    | Refused
    | PeerGone
    | RequestReceived
    | RequestCancelled
    | ChunksReceived
    | DeltasReceived
    | RequestBaseless
    | RequestMissing
    | RequestDone
    | RequestFailed
    | HaveQueryReceived
    | HaveReceived
    | QueryReceived
    | ReplyReceived
    | FollowReceived
    | ToldOf
    | NewsReceived
    | PongReceived
)
Action = SendData | AbortStream | CloseConnection
Output = Action | Event
