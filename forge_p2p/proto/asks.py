"""One request of ours: how it is said, and whether an answer fits it.

Whatever arrives is checked against what was asked: the kind of frame, each index once only, raw bytes in total.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.ids import HASH_SIZE, Hash
from forge_p2p.proto.outputs import (
    ChunksReceived,
    Event,
    HaveReceived,
    ReplyReceived,
    RequestDone,
    RequestFailed,
    RequestMissing,
    ToldOf,
)
from forge_p2p.proto.states import (
    ASK,
    CHUNK_FRAMES,
    REF_FRAMES,
    REPLY_FRAMES,
    SET_FRAMES,
    TOLD_FRAMES,
    AskState,
    Breach,
)
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import CODECS, DATA_OVERHEAD, ROW_SIZE, Data
from forge_p2p.wire.fields import Body, FrameType
from forge_p2p.wire.frames import FrameReader
from forge_p2p.wire.messages import (
    Announce,
    Done,
    FindNode,
    FindProviders,
    Follow,
    Followers,
    Have,
    HaveQuery,
    Holdings,
    Message,
    Missing,
    Query,
    Reply,
    Want,
    code_of,
    printable,
)
from forge_p2p.wire.refs import RefList, RefPut, RefRead
from forge_p2p.wire.sets import Reconcile, SummaryQuery

FOREVER = float("inf")
_BULK = frozenset({FrameType.DATA, FrameType.DELTA})
_FRAMES_ROOM = 64 * 1024
"""What a request's small frames and heads may take beside its chunks."""


class Ask:
    """What all requests have in common. `budget`: raw bytes that may still come. `standing`: it stays open for as long
    as both like, and so counts neither as open nor as stalled."""

    __slots__ = ("_asked", "budget", "deadline", "reader", "state", "stream_id")

    standing = False

    def __init__(self, stream_id: int, deadline: float, asked: AskState, frames: Mapping[int, int]) -> None:
        self.stream_id = stream_id
        self.deadline = deadline
        self.state = AskState.HELD
        self.budget = 0
        self.reader = FrameReader(frames)
        self._asked = asked

    @property
    def active(self) -> bool:
        """Sent, and not at its end."""
        return self.state is self._asked

    @property
    def late_room(self) -> int:
        """Bytes that may still rightly come when it is given up now."""
        return self.budget + _FRAMES_ROOM

    @property
    def size(self) -> int:
        """Bytes of the request, about."""
        return 512

    def request(self, now: float) -> Body:
        """The frame to send."""
        raise NotImplementedError

    def sent(self) -> None:
        self.state = self._asked

    def receive(self, message: Message) -> tuple[Event, AskState]:
        """What a frame of the answer says, and the state that it leads to. Raises `Breach`."""
        after = ASK[self.state].get(type(message))
        if after is None:
            raise Breach(Code.OUT_OF_STATE, f"{type(message).__name__} on a request that is {self.state.name}")
        return self._done(message) if isinstance(message, Done) else self._event(message), after

    def _event(self, message: Message) -> Event:
        raise NotImplementedError

    def _done(self, done: Done) -> Event:
        code = code_of(done.code)
        if code is Code.OK:
            return self._finished(done)
        reason = printable(done.reason) or code.name.lower()
        return RequestFailed(self.stream_id, code, reason, code.retryable)

    def _finished(self, _done: Done) -> Event:
        raise Breach(Code.OUT_OF_STATE, "DONE without the answer")


class WantAsk(Ask):
    """Chunks. Raises `ValueError` at what the protocol does not allow to ask."""

    __slots__ = ("_hashes", "_left", "_priority", "_sparing", "_waiting")

    frames = CHUNK_FRAMES
    """What the answer may be made of."""

    def __init__(
        self, stream_id: int, hashes: Sequence[Hash], priority: int, deadline: float, max_bytes: int, sparing: bool
    ) -> None:
        _check_count(hashes)
        if not 0 <= max_bytes <= limits.WANT_BYTES_MAX or not 0 <= priority <= limits.PRIORITY_MAX:
            raise ValueError(
                f"a request has at most {limits.WANT_BYTES_MAX} bytes and {limits.PRIORITY_MAX} as priority"
            )
        data_max = max_bytes + len(hashes) * ROW_SIZE + DATA_OVERHEAD
        frames = {kind: min(most, data_max) if kind in _BULK else most for kind, most in self.frames.items()}
        super().__init__(stream_id, deadline, AskState.WANTED, frames)
        self.budget = max_bytes
        self._hashes = hashes
        self._priority = priority
        self._sparing = sparing
        self._left = len(hashes)
        self._waiting = bytearray(b"\x01") * self._left

    @property
    def size(self) -> int:
        return len(self._hashes) * HASH_SIZE + 32

    def request(self, now: float) -> Want:
        left_ms = min(max(int((self.deadline - now) * 1000), 1), limits.DEADLINE_MS_MAX)
        return Want(b"".join(self._hashes), self._priority, left_ms, self.budget, self._sparing)

    def _event(self, message: Message) -> Event:
        if isinstance(message, Data):
            return self._data(message)
        assert isinstance(message, Missing)
        self._settle(message.indexes, 0)
        return RequestMissing(self.stream_id, message.indexes)

    def _data(self, data: Data) -> ChunksReceived:
        waiting, hashes, count = self._waiting, self._hashes, len(self._hashes)
        indexes: list[int] = []
        chunks: list[EncodedChunk] = []
        total = 0
        for index, codec, size, stored in data.rows:
            if index >= count or not waiting[index]:
                raise self._unsolicited(index)
            waiting[index] = 0
            total += size
            indexes.append(index)
            chunks.append(EncodedChunk(hashes[index], CODECS[codec], size, stored))
        if total > self.budget:
            raise Breach(Code.LIMIT, f"{total} bytes where {self.budget} were left of those asked for")
        self.budget -= total
        self._left -= len(indexes)
        return ChunksReceived(self.stream_id, indexes, chunks)

    def _settle(self, indexes: Sequence[int], size: int) -> None:
        """These are answered, with so many raw bytes."""
        for index in indexes:
            if index >= len(self._hashes) or not self._waiting[index]:
                raise self._unsolicited(index)
            self._waiting[index] = 0
        if size > self.budget:
            raise Breach(Code.LIMIT, f"{size} bytes where {self.budget} were left of those asked for")
        self.budget -= size
        self._left -= len(indexes)

    def _done(self, done: Done) -> Event:
        return super()._done(done) if self._left else RequestDone(self.stream_id)

    def _finished(self, _done: Done) -> Event:
        raise Breach(Code.OUT_OF_STATE, f"DONE with {self._left} of {len(self._hashes)} unanswered")

    def _unsolicited(self, index: int) -> Breach:
        count = len(self._hashes)
        return Breach(Code.UNSOLICITED, f"an answer to index {index} of {count}, not asked for or answered before")


class HaveAsk(Ask):
    """Which chunks are there. Raises `ValueError` at what the protocol does not allow to ask."""

    __slots__ = ("_hashes",)

    def __init__(self, stream_id: int, hashes: Sequence[Hash], deadline: float) -> None:
        _check_count(hashes)
        super().__init__(stream_id, deadline, AskState.QUERIED, CHUNK_FRAMES)
        self._hashes = hashes

    @property
    def size(self) -> int:
        return len(self._hashes) * HASH_SIZE + 32

    def request(self, now: float) -> HaveQuery:
        return HaveQuery(b"".join(self._hashes))

    def _event(self, message: Message) -> Event:
        assert isinstance(message, Have)
        count = len(self._hashes)
        bits = f"{int.from_bytes(message.bitmap):0{8 * len(message.bitmap)}b}"
        if len(message.bitmap) != (count + 7) // 8 or "1" in bits[count:]:
            raise Breach(Code.MALFORMED, f"a bitmap of {len(message.bitmap)} bytes for {count} hashes")
        return HaveReceived(self.stream_id, [bit == "1" for bit in bits[:count]])

    def _finished(self, _done: Done) -> Event:
        raise Breach(Code.OUT_OF_STATE, f"DONE with {len(self._hashes)} unanswered")


class QuestionAsk(Ask):
    """A question that one frame answers."""

    __slots__ = ("_query",)

    frames: ClassVar[Mapping[int, int]]
    """What may be that frame."""

    def __init__(self, stream_id: int, query: Query, deadline: float) -> None:
        super().__init__(stream_id, deadline, _SOUGHT[type(query)], self.frames)
        self._query = query

    def request(self, now: float) -> Query:
        return self._query

    def _event(self, message: Message) -> Event:
        assert isinstance(message, Reply)
        return ReplyReceived(self.stream_id, message)


class QueryAsk(QuestionAsk):
    """A question to a node of the DHT."""

    __slots__ = ()

    frames = REPLY_FRAMES

    def _finished(self, done: Done) -> Event:
        return ReplyReceived(self.stream_id, done) if isinstance(self._query, Announce) else super()._finished(done)


class RefAsk(QuestionAsk):
    """A question about names. Being turned down is an answer, too: whoever asked has to know the code."""

    __slots__ = ()

    frames = REF_FRAMES

    @property
    def size(self) -> int:
        return limits.REF_PUT_MAX if isinstance(self._query, RefPut) else super().size

    def _done(self, done: Done) -> Event:
        return super()._done(done) if done.code == Code.OK else ReplyReceived(self.stream_id, done)


class SetAsk(QuestionAsk):
    """A question about what the peer has."""

    __slots__ = ()

    frames = SET_FRAMES

    @property
    def late_room(self) -> int:
        """The longest answer may be on its way."""
        return super().late_room + limits.SUMMARY_FRAME_MAX


class FollowAsk(Ask):
    """A root followed at the peer, until either has enough."""

    __slots__ = ("_follow",)

    standing = True

    def __init__(self, stream_id: int, follow: Follow) -> None:
        super().__init__(stream_id, FOREVER, AskState.FOLLOWING, TOLD_FRAMES)
        self._follow = follow

    @property
    def late_room(self) -> int:
        """Counted by the rate of what is told instead."""
        return 0

    def request(self, now: float) -> Follow:
        return self._follow

    def _event(self, message: Message) -> Event:
        assert isinstance(message, Holdings | Followers)
        return ToldOf(self.stream_id, message)

    def _finished(self, _done: Done) -> Event:
        return RequestDone(self.stream_id)


_SOUGHT: Mapping[type[Query], AskState] = {
    FindNode: AskState.NODES_SOUGHT,
    FindProviders: AskState.PROVIDERS_SOUGHT,
    Announce: AskState.ANNOUNCED,
    RefPut: AskState.PUTTING,
    RefRead: AskState.READING,
    RefList: AskState.LISTING,
    SummaryQuery: AskState.SUMMARISING,
    Reconcile: AskState.RECONCILING,
}


def _check_count(hashes: Sequence[Hash]) -> None:
    if not 0 < len(hashes) <= limits.HASHES_MAX:
        raise ValueError(f"a request names 1 to {limits.HASHES_MAX} chunks, not {len(hashes)}")
