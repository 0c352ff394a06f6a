"""Our requests of one peer: sent when there is room, checked as they are answered, failed when nothing comes.

Room is what the peer granted (open requests) and what the protocol allows (bytes asked for); beyond it requests are
held and go out in order. Everything that arrives is checked against what was asked: index, once only, raw bytes in
total. The peer counts a request given up until it hears of that, and has tolerance for it (`limits.TOLERANCE`);
so it is remembered for a while, and what still arrives on it is dropped, up to what could rightly have been sent.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.ids import HASH_SIZE, Hash
from forge_p2p.proto.outputs import (
    AbortStream,
    ChunksReceived,
    HaveReceived,
    Output,
    RequestDone,
    RequestFailed,
    RequestMissing,
    SendData,
)
from forge_p2p.proto.states import ASK, ASK_FRAMES, AskState, Breach, Timer, TimerKey
from forge_p2p.proto.timers import Deadlines
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import CODECS, DATA_OVERHEAD, ROW_SIZE, Data
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.messages import Done, FrameType, Have, HaveQuery, Message, Missing, Want, code_of, printable

_PROGRESS_BYTES = 16 * 1024
"""Fewer bytes than this, without a whole frame, are no progress: a peer cannot hold a request open by drops."""

TAIL_TIMEOUT = 10.0
_FRAMES_ROOM = 64 * 1024
"""What a request's small frames and heads may take beside its chunks."""


@dataclass(slots=True)
class Ask:
    """One request: what was asked, and what of it is still to come."""

    stream_id: int
    hashes: Sequence[Hash]
    priority: int
    deadline: float
    budget: int
    """Raw bytes that may still come."""
    query: bool
    state: AskState = AskState.HELD
    reader: FrameReader = field(init=False)
    waiting: bytearray = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.hashes)
        self.waiting = bytearray(b"\x01") * self.left
        data_max = self.budget + self.left * ROW_SIZE + DATA_OVERHEAD
        self.reader = FrameReader({**ASK_FRAMES, FrameType.DATA: min(limits.DATA_MAX, data_max)})

    @property
    def active(self) -> bool:
        return self.state is AskState.WANTED or self.state is AskState.QUERIED

    def request(self, now: float) -> Want | HaveQuery:
        blob = b"".join(self.hashes)
        if self.query:
            return HaveQuery(blob)
        left_ms = int((self.deadline - now) * 1000)
        return Want(blob, self.priority, min(max(left_ms, 1), limits.DEADLINE_MS_MAX), self.budget)


class Asking:
    """The asking half of a session. Raises `Breach` and `Malformed` at what the peer did wrong."""

    def __init__(self, out: list[Output], timers: Deadlines[TimerKey], stall_timeout: float) -> None:
        self._out = out
        self._timers = timers
        self._stall_timeout = stall_timeout
        self._held: OrderedDict[int, Ask] = OrderedDict()
        self._sent: dict[int, Ask] = {}
        self._active = 0
        self._max_sent = 0
        self._early_room: int | None = None
        self._outstanding = 0
        self._late_room = 0
        self._progress_at = 0.0
        self._unnoticed = 0

    @property
    def outstanding(self) -> int:
        """Raw bytes asked for and not received."""
        return self._outstanding

    @property
    def waiting(self) -> int:
        """Requests held back for want of room."""
        return len(self._held)

    def allow_early(self, now: float) -> None:
        """The proof is out: a few small requests may follow it."""
        self._max_sent = limits.EARLY_STREAMS_MAX
        self._early_room = limits.EARLY_BYTES_MAX
        self._release(now)

    def allow(self, max_requests: int, now: float) -> None:
        self._max_sent = max_requests
        self._early_room = None
        self._release(now)

    def ask(self, ask: Ask, now: float) -> None:
        self._held[ask.stream_id] = ask
        self._timers.set((Timer.ASK, ask.stream_id), ask.deadline)
        self._release(now)

    def cancel(self, stream_id: int, now: float) -> None:
        ask = self._held.get(stream_id) or self._sent.get(stream_id)
        if ask is not None and (ask.active or ask.state is AskState.HELD):
            self._give_up(ask, Code.CANCELLED, now)

    def receive(self, stream_id: int, data: bytes, fin: bool, now: float) -> None:
        ask = self._sent.get(stream_id)
        if ask is None or ask.state is AskState.LATE:
            self._drop(ask, len(data), fin, now)
            return
        self._notice(len(data), now)
        for message in ask.reader.feed(data):
            self._progress_at = now
            self._handle(ask, message, now)
        if fin:
            if ask.state is not AskState.ENDED or not ask.reader.between_frames:
                raise Breach(Code.OUT_OF_STATE, "an answer ended in the middle")
            self._forget(ask, now)

    def aborted(self, stream_id: int, now: float) -> None:
        ask = self._sent.get(stream_id)
        if ask is None:
            return
        if ask.active:
            self._fail(ask, Code.INTERNAL, "the peer aborted the request", True)
            self._out.append(AbortStream(stream_id, Code.CANCELLED))
        self._forget(ask, now)

    def expired(self, timer: Timer, stream_id: int, now: float) -> None:
        if timer is Timer.ASK:
            ask = self._held.get(stream_id) or self._sent[stream_id]
            self._fail(ask, Code.DEADLINE, "the deadline passed", True)
            self._give_up(ask, Code.DEADLINE, now)
        else:
            ask = self._sent[stream_id]
            if ask.state is AskState.ENDED:
                self._out.append(AbortStream(stream_id, Code.TIMEOUT))
            self._forget(ask, now)

    def stalled_at(self) -> float | None:
        """When the open requests count as stalled, unless something comes before."""
        return self._progress_at + self._stall_timeout if self._active else None

    def give_up_stalled(self, now: float) -> None:
        for ask in [ask for ask in self._sent.values() if ask.active]:
            self._fail(ask, Code.STALLED, f"nothing came for {self._stall_timeout:g} s", True)
            self._give_up(ask, Code.STALLED, now)

    def fail_all(self, code: Code, reason: str) -> None:
        """The session is over."""
        for ask in [*self._sent.values(), *self._held.values()]:
            if ask.active or ask.state is AskState.HELD:
                self._fail(ask, code, reason, code.retryable)
        self._sent.clear()
        self._held.clear()
        self._active = self._outstanding = 0

    # Sending

    def _release(self, now: float) -> None:
        while self._held:
            ask = next(iter(self._held.values()))
            if not self._has_room(ask):
                return
            del self._held[ask.stream_id]
            self._send(ask, now)

    def _has_room(self, ask: Ask) -> bool:
        if self._active >= self._max_sent or self._outstanding + ask.budget > limits.ANSWER_BYTES_MAX:
            return False
        if self._early_room is None:
            return len(self._sent) < self._max_sent * limits.TOLERANCE
        return len(self._sent) < self._max_sent and _request_size(ask) <= self._early_room

    def _send(self, ask: Ask, now: float) -> None:
        if self._early_room is not None:
            self._early_room -= _request_size(ask)
        if not self._active:
            self._progress_at = now
        ask.state = AskState.QUERIED if ask.query else AskState.WANTED
        self._sent[ask.stream_id] = ask
        self._active += 1
        self._outstanding += ask.budget
        self._out.append(SendData(ask.stream_id, [encode_frame(ask.request(now))], True))

    # Receiving

    def _notice(self, size: int, now: float) -> None:
        self._unnoticed += size
        if self._unnoticed >= _PROGRESS_BYTES:
            self._unnoticed = 0
            self._progress_at = now

    def _handle(self, ask: Ask, message: Message, now: float) -> None:
        after = ASK[ask.state].get(type(message))
        if after is None:
            raise Breach(Code.OUT_OF_STATE, f"{type(message).__name__} on a request that is {ask.state.name}")
        if isinstance(message, Data):
            self._on_data(ask, message)
        elif isinstance(message, Missing):
            self._on_missing(ask, message)
        elif isinstance(message, Done):
            self._on_done(ask, message)
        elif isinstance(message, Have):
            self._on_have(ask, message)
        if after is AskState.ENDED:
            self._settle(ask)
            ask.state = after
            self._timers.set((Timer.TAIL, ask.stream_id), now + TAIL_TIMEOUT)
        if self._held:
            self._release(now)

    def _on_data(self, ask: Ask, data: Data) -> None:
        waiting, hashes, count = ask.waiting, ask.hashes, len(ask.hashes)
        indexes: list[int] = []
        chunks: list[EncodedChunk] = []
        total = 0
        for index, codec, size, stored in data.rows:
            if index >= count or not waiting[index]:
                raise _unsolicited(index, count)
            waiting[index] = 0
            total += size
            indexes.append(index)
            chunks.append(EncodedChunk(hashes[index], CODECS[codec], size, stored))
        if total > ask.budget:
            raise Breach(Code.LIMIT, f"{total} bytes where {ask.budget} were left of those asked for")
        ask.budget -= total
        ask.left -= len(indexes)
        self._outstanding -= total
        self._out.append(ChunksReceived(ask.stream_id, indexes, chunks))

    def _on_missing(self, ask: Ask, missing: Missing) -> None:
        for index in missing.indexes:
            if index >= len(ask.hashes) or not ask.waiting[index]:
                raise _unsolicited(index, len(ask.hashes))
            ask.waiting[index] = 0
        ask.left -= len(missing.indexes)
        self._out.append(RequestMissing(ask.stream_id, missing.indexes))

    def _on_done(self, ask: Ask, done: Done) -> None:
        if not ask.left:
            self._out.append(RequestDone(ask.stream_id))
            return
        code = code_of(done.code)
        if code is Code.OK:
            raise Breach(Code.OUT_OF_STATE, f"DONE with {ask.left} of {len(ask.hashes)} unanswered")
        reason = printable(done.reason) or code.name.lower()
        self._out.append(RequestFailed(ask.stream_id, code, reason, code.retryable))

    def _on_have(self, ask: Ask, have: Have) -> None:
        count = len(ask.hashes)
        bits = f"{int.from_bytes(have.bitmap):0{8 * len(have.bitmap)}b}"
        if len(have.bitmap) != (count + 7) // 8 or "1" in bits[count:]:
            raise Breach(Code.MALFORMED, f"a bitmap of {len(have.bitmap)} bytes for {count} hashes")
        self._out.append(HaveReceived(ask.stream_id, [bit == "1" for bit in bits[:count]]))

    # Ending

    def _drop(self, ask: Ask | None, size: int, fin: bool, now: float) -> None:
        self._late_room -= size
        if self._late_room < 0:
            raise Breach(Code.UNSOLICITED, "more bytes on streams that were given up than were asked for")
        if fin and ask is not None:
            self._forget(ask, now)

    def _fail(self, ask: Ask, code: Code, reason: str, retryable: bool) -> None:
        self._out.append(RequestFailed(ask.stream_id, code, reason, retryable))

    def _give_up(self, ask: Ask, code: Code, now: float) -> None:
        self._out.append(AbortStream(ask.stream_id, code))
        self._timers.cancel((Timer.ASK, ask.stream_id))
        if self._held.pop(ask.stream_id, None) is not None:
            return
        if ask.active:
            self._late_room += ask.budget + _FRAMES_ROOM
            self._settle(ask)
        ask.state = AskState.LATE
        ask.reader = FrameReader({})
        self._timers.set((Timer.TAIL, ask.stream_id), now + TAIL_TIMEOUT)

    def _settle(self, ask: Ask) -> None:
        """Takes an active request out of the sums."""
        self._timers.cancel((Timer.ASK, ask.stream_id))
        self._active -= 1
        self._outstanding -= ask.budget

    def _forget(self, ask: Ask, now: float) -> None:
        if ask.active:
            self._settle(ask)
        self._timers.cancel((Timer.TAIL, ask.stream_id))
        del self._sent[ask.stream_id]
        self._release(now)


def new_want(stream_id: int, hashes: Sequence[Hash], priority: int, deadline: float, max_bytes: int) -> Ask:
    """Raises `ValueError` at what the protocol does not allow to ask."""
    if not 0 < len(hashes) <= limits.HASHES_MAX:
        raise ValueError(f"a request names 1 to {limits.HASHES_MAX} chunks, not {len(hashes)}")
    if not 0 <= max_bytes <= limits.WANT_BYTES_MAX or not 0 <= priority <= limits.PRIORITY_MAX:
        raise ValueError(f"a request has at most {limits.WANT_BYTES_MAX} bytes and {limits.PRIORITY_MAX} as priority")
    return Ask(stream_id, hashes, priority, deadline, max_bytes, query=False)


def new_query(stream_id: int, hashes: Sequence[Hash], deadline: float) -> Ask:
    if not 0 < len(hashes) <= limits.HASHES_MAX:
        raise ValueError(f"a query names 1 to {limits.HASHES_MAX} chunks, not {len(hashes)}")
    return Ask(stream_id, hashes, 0, deadline, 0, query=True)


def _request_size(ask: Ask) -> int:
    return len(ask.hashes) * HASH_SIZE + 32


def _unsolicited(index: int, count: int) -> Breach:
    return Breach(Code.UNSOLICITED, f"an answer to index {index} of {count}, not asked for or answered before")
