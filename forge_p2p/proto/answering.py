"""The peer's requests of us: limited, filtered by what it may have, and answered frame by frame.

A chunk outside the peer's scope is answered as one that is not here, and before anyone looks whether it is. Before the
verdict about a client its requests are held unread in meaning, a few KiB in all. Nothing is ever kept of an answer: it
goes to the outbox at once, and the caller's back-pressure decides when it makes the next.

Queries and follows are for members of the session's network: anybody else is told that they are not for it, and the
caller never hears of them.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.ids import Hash
from forge_p2p.proto.auth import Scope
from forge_p2p.proto.hinted import Buffers, hinted_buffers, plain_buffers
from forge_p2p.proto.hints import Answer, Hints, Lacking
from forge_p2p.proto.outputs import (
    AbortStream,
    FollowReceived,
    HaveQueryReceived,
    Output,
    QueryReceived,
    RequestCancelled,
    RequestReceived,
    SendData,
)
from forge_p2p.proto.questions import REPLIES, Patience
from forge_p2p.proto.states import ANSWER, ANSWER_FRAMES, AnswerState, Breach, Timer, TimerKey
from forge_p2p.proto.telling import Telling
from forge_p2p.proto.timers import Deadlines, TokenBucket
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.messages import (
    Done,
    Follow,
    Have,
    HaveQuery,
    Message,
    Missing,
    Query,
    Reply,
    Told,
    Want,
    split_hashes,
)

OPENED_TIMEOUT = 30.0
LOOKUP_RATE = 100_000.0
LOOKUP_BURST = 65_536.0
"""Hashes of HAVE_QUERYs a second: a store looks up about a million. Faster ones wait, they are no breach."""
CANCEL_RATE = 128.0
CANCEL_BURST = 2048.0
"""Requests opened and aborted at once cost us and not the peer (the rapid reset of HTTP/2, CVE-2023-44487)."""
_ABORTED_KEPT = 1024
"""Ids of streams aborted before their request was complete, or came: an abort may overtake bytes sent before it."""

_UNFINISHED = frozenset({AnswerState.SERVING, AnswerState.LOOKING, AnswerState.ASKED, AnswerState.FOLLOWED})

Request = Want | HaveQuery | Query | Follow


@dataclass(slots=True)
class _Answer:
    stream_id: int
    state: AnswerState = AnswerState.OPENED
    reader: FrameReader = field(default_factory=lambda: FrameReader(ANSWER_FRAMES))
    held: Request | None = None
    query: Query | None = None
    hashes: Sequence[Hash] = ()
    asked: Sequence[int] = ()
    """Indexes handed to the caller."""
    waiting: set[int] = field(default_factory=set)
    budget: int = 0
    hints: Hints | None = None
    reported: bool = False
    """The caller knows of it."""
    finished: bool = False
    """The peer's end of the stream is closed."""


class Answering:
    """The answering half of a session. Raises `Breach` and `Malformed` at what the peer did wrong."""

    def __init__(self, out: list[Output], timers: Deadlines[TimerKey], max_requests: int, *, stranger: bool) -> None:
        self._out = out
        self._timers = timers
        self._scope: Scope | None = None
        self._networked = False
        self._telling = Telling(out, timers)
        self._answers: dict[int, _Answer] = {}
        self._aborted: OrderedDict[int, None] = OrderedDict()
        self._max_requests = limits.EARLY_STREAMS_MAX if stranger else max_requests * limits.TOLERANCE
        self._max_admitted = max_requests * limits.TOLERANCE
        self._early_room = limits.EARLY_BYTES_MAX if stranger else None
        self._outstanding = 0
        self._lookups = TokenBucket.full(LOOKUP_RATE, LOOKUP_BURST)
        self._patience = Patience()
        self._cancels = TokenBucket.full(CANCEL_RATE, CANCEL_BURST)

    @property
    def member(self) -> bool:
        """Whether the peer is known to belong to the session's network."""
        return self._networked and self._scope is not None and self._scope.member

    def allow(self, *, networked: bool) -> None:
        """The hello is over: the peer may ask as much as was agreed. `networked`: about the network too."""
        self._max_requests = self._max_admitted
        if networked:  # what a stream brings, request or FOLLOW, shows when it is all there and may be looked at
            self._max_requests += limits.FOLLOWS_MAX * limits.TOLERANCE
        self._early_room = None
        self._networked = networked

    def admit(self, scope: Scope, now: float) -> None:
        """What the peer may have is known: from now on it is answered, beginning with what it has asked already."""
        self._scope = scope
        for entry in list(self._answers.values()):
            if entry.held is not None:
                message, entry.held = entry.held, None
                self._begin(entry, message, now)

    def receive(self, stream_id: int, data: bytes, fin: bool, now: float) -> None:
        if stream_id in self._aborted:
            return
        entry = self._answers.get(stream_id) or self._open(stream_id, now)
        if self._early_room is not None:
            self._early_room -= len(data)
            if self._early_room < 0:
                raise Breach(Code.LIMIT, f"more than {limits.EARLY_BYTES_MAX} bytes of requests before the verdict")
        for message in entry.reader.feed(data):
            self._handle(entry, message, now)
        if fin:
            if entry.state is AnswerState.OPENED or not entry.reader.between_frames:
                raise Breach(Code.OUT_OF_STATE, "a request ended in the middle")
            entry.finished = True
            if entry.state is AnswerState.ANSWERED:
                self._forget(entry)

    def aborted(self, stream_id: int, now: float) -> None:
        entry = self._answers.get(stream_id)
        if entry is None or not entry.finished:
            self._aborted[stream_id] = None
            if len(self._aborted) > _ABORTED_KEPT:
                self._aborted.popitem(last=False)
        if entry is not None:
            if entry.state is not AnswerState.ANSWERED:
                self._out.append(AbortStream(stream_id, Code.CANCELLED))
                if entry.reported:
                    self._out.append(RequestCancelled(stream_id))
            self._forget(entry)
        if self._cancels.take(1, now):
            raise Breach(Code.LIMIT, "requests are opened and aborted too fast")

    def expired(self, timer: Timer, stream_id: int, now: float) -> None:
        if timer is Timer.TELL:
            self._telling.flush(now)
            return
        entry = self._answers[stream_id]
        if timer is Timer.OPENED:
            raise Breach(Code.TIMEOUT, f"a stream was left open without a request for {OPENED_TIMEOUT:g} s")
        if timer is Timer.LOOKUP:
            self._look(entry, now)
            return
        self._out.append(RequestCancelled(stream_id))
        self._end(entry, [], Code.DEADLINE, "the deadline passed", now)

    def hints(self, stream_id: int) -> Hints | None:
        """See `Session.hints`."""
        entry = self._answers.get(stream_id)
        return None if entry is None else entry.hints

    def answer(self, stream_id: int, indexes: Sequence[int], chunks: Sequence[Answer], now: float) -> None:
        """See `Session.answer`."""
        entry = self._answers.get(stream_id)
        if entry is None or entry.state is not AnswerState.SERVING:
            return
        if not entry.waiting.issuperset(indexes) or len(set(indexes)) != len(indexes):
            raise ValueError("an answer to an index that is not open")
        total = sum([chunk.size for chunk in chunks if chunk is not None and chunk is not Lacking.BASE])
        if total > entry.budget:
            self._end(entry, [], Code.BUDGET, f"{total} bytes are next, {entry.budget} are left", now)
            return
        entry.budget -= total
        self._outstanding -= total
        entry.waiting.difference_update(indexes)
        if entry.hints is None:
            buffers = plain_buffers(indexes, cast("Sequence[EncodedChunk | None]", chunks))
        else:
            buffers = hinted_buffers(indexes, chunks)
        if entry.waiting:
            self._out.append(SendData(stream_id, buffers, False))
        else:
            self._end(entry, buffers, Code.OK, "", now)

    def answer_have(self, stream_id: int, present: Sequence[bool], now: float) -> None:
        entry = self._answers.get(stream_id)
        if entry is None or entry.state is not AnswerState.LOOKING:
            return
        bits = bytearray((len(entry.hashes) + 7) // 8)
        for index, here in zip(entry.asked, present, strict=True):
            if here:
                bits[index >> 3] |= 0x80 >> (index & 7)
        self._finish(entry, [encode_frame(Have(bytes(bits)))], now)

    def reply(self, stream_id: int, reply: Reply, now: float) -> None:
        """See `Session.reply`."""
        entry = self._answers.get(stream_id)
        if entry is None or entry.state is not AnswerState.ASKED:
            return
        assert entry.query is not None
        if type(reply) is not REPLIES[type(entry.query)]:
            raise ValueError(f"{type(reply).__name__} is no reply to {type(entry.query).__name__}")
        self._finish(entry, [encode_frame(reply)], now)

    def tell(self, stream_id: int, message: Told, now: float) -> None:
        """See `Session.tell`."""
        self._telling.tell(stream_id, message, now)

    def finish(self, stream_id: int, code: Code, reason: str, now: float) -> None:
        """See `Session.finish`."""
        entry = self._answers.get(stream_id)
        if entry is not None and entry.state in _UNFINISHED:
            if code is Code.OK and entry.state is not AnswerState.FOLLOWED:
                raise ValueError(f"a request with {len(entry.waiting)} indexes unanswered cannot end well")
            self._end(entry, [], code, reason, now)

    def clear(self) -> None:
        """The session is over."""
        self._answers.clear()
        self._telling.clear()

    # Requests coming in

    def _open(self, stream_id: int, now: float) -> _Answer:
        if len(self._answers) >= self._max_requests:
            raise Breach(Code.LIMIT, f"more than {self._max_requests} requests at once")
        entry = self._answers[stream_id] = _Answer(stream_id)
        self._timers.set((Timer.OPENED, stream_id), now + OPENED_TIMEOUT)
        return entry

    def _handle(self, entry: _Answer, message: Message, now: float) -> None:
        after = ANSWER[entry.state].get(type(message))
        if after is None:
            raise Breach(Code.OUT_OF_STATE, f"{type(message).__name__} on a request that is {entry.state.name}")
        assert isinstance(message, Request)
        self._timers.cancel((Timer.OPENED, entry.stream_id))
        if self._scope is None:
            entry.state, entry.held = AnswerState.HELD, message
        else:
            self._begin(entry, message, now)

    def _begin(self, entry: _Answer, message: Request, now: float) -> None:
        if isinstance(message, Want):
            self._filter(entry, message)
            self._begin_want(entry, message, now)
        elif isinstance(message, HaveQuery):
            self._filter(entry, message)
            self._begin_have(entry, now)
        elif not self.member:
            self._end(entry, [], Code.DENIED, "for members of the network only", now)
        elif isinstance(message, Follow):
            self._begin_follow(entry, message, now)
        else:
            self._begin_query(entry, message, now)

    def _filter(self, entry: _Answer, message: Want | HaveQuery) -> None:
        assert self._scope is not None
        allows = self._scope.allows
        entry.hashes = split_hashes(message.hashes)
        entry.asked = [index for index, chunk in enumerate(entry.hashes) if allows(chunk)]
        if isinstance(message, Want) and (message.bases or message.signatures):
            bases = {index: Hash(base) if allows(Hash(base)) else None for index, base in message.bases}
            entry.hints = Hints(bases, dict(message.signatures), message.signs)

    def _begin_have(self, entry: _Answer, now: float) -> None:
        entry.state = AnswerState.LOOKING
        wait = self._lookups.take(len(entry.hashes), now)
        if wait:
            self._timers.set((Timer.LOOKUP, entry.stream_id), now + wait)
        else:
            self._look(entry, now)

    def _begin_query(self, entry: _Answer, query: Query, now: float) -> None:
        if self._patience.lasts(query, now):
            entry.state, entry.query, entry.reported = AnswerState.ASKED, query, True
            self._out.append(QueryReceived(entry.stream_id, query))
        else:
            self._end(entry, [], Code.BUSY, "such questions come too fast", now)

    def _begin_follow(self, entry: _Answer, follow: Follow, now: float) -> None:
        if len(self._telling) >= limits.FOLLOWS_MAX * limits.TOLERANCE:
            self._end(entry, [], Code.BUSY, f"more than {limits.FOLLOWS_MAX} roots are followed", now)
        else:
            entry.state, entry.reported = AnswerState.FOLLOWED, True
            self._telling.open(entry.stream_id)
            self._out.append(FollowReceived(entry.stream_id, follow))

    def _begin_want(self, entry: _Answer, want: Want, now: float) -> None:
        if self._outstanding + want.max_bytes > limits.ANSWER_BYTES_MAX * limits.TOLERANCE:
            raise Breach(Code.LIMIT, f"more than {limits.ANSWER_BYTES_MAX} bytes asked for at once")
        entry.state = AnswerState.SERVING
        entry.budget = want.max_bytes
        self._outstanding += want.max_bytes
        entry.waiting = set(entry.asked)
        denied = tuple([index for index in range(len(entry.hashes)) if index not in entry.waiting])
        buffers: Buffers = [encode_frame(Missing(denied))] if denied else []
        if not entry.asked:
            self._end(entry, buffers, Code.OK, "", now)
            return
        if buffers:
            self._out.append(SendData(entry.stream_id, buffers, False))
        deadline = now + want.deadline_ms / 1000
        self._timers.set((Timer.ANSWER, entry.stream_id), deadline)
        entry.reported = True
        hashes = [entry.hashes[index] for index in entry.asked]
        self._out.append(
            RequestReceived(entry.stream_id, entry.asked, hashes, want.priority, deadline, want.max_bytes, want.sparing)
        )

    def _look(self, entry: _Answer, now: float) -> None:
        if entry.asked:
            entry.reported = True
            self._out.append(HaveQueryReceived(entry.stream_id, [entry.hashes[index] for index in entry.asked]))
        else:
            self.answer_have(entry.stream_id, (), now)

    # Ending

    def _end(self, entry: _Answer, buffers: Buffers, code: Code, reason: str, now: float) -> None:
        done = encode_frame(Done(code, reason[: limits.REASON_CHARS]))
        self._finish(entry, [*buffers, done], now)

    def _finish(self, entry: _Answer, buffers: Buffers, now: float) -> None:
        self._settle(entry)
        entry.state = AnswerState.ANSWERED
        self._out.append(SendData(entry.stream_id, buffers, True))
        if entry.finished:
            self._forget(entry)
        else:
            self._timers.cancel((Timer.ANSWER, entry.stream_id))
            self._timers.set((Timer.OPENED, entry.stream_id), now + OPENED_TIMEOUT)

    def _settle(self, entry: _Answer) -> None:
        self._outstanding -= entry.budget
        entry.budget = 0
        entry.waiting = set()
        if entry.state is AnswerState.FOLLOWED:
            self._telling.close(entry.stream_id)

    def _forget(self, entry: _Answer) -> None:
        self._settle(entry)
        for timer in (Timer.OPENED, Timer.ANSWER, Timer.LOOKUP):
            self._timers.cancel((timer, entry.stream_id))
        del self._answers[entry.stream_id]
