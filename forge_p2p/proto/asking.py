"""Our requests of one peer: sent when there is room, checked as they are answered, failed when nothing comes.

Room is what the peer granted (open requests) and what the protocol allows (bytes asked for); beyond it requests are
held and go out in order. What arrives is checked by the request itself (`asks`). The peer counts a request given up
until it hears of that, and has tolerance for it (`limits.TOLERANCE`); so it is remembered for a while, and what still
arrives on it is dropped, up to what could rightly have been sent. Follows stand beside all this: they wait for no room
and never stall, and what they bring is bounded by its rate.
"""

from collections import OrderedDict

from forge_p2p.proto.asks import Ask
from forge_p2p.proto.outputs import AbortStream, Output, RequestFailed, SendData
from forge_p2p.proto.states import AskState, Breach, Timer, TimerKey
from forge_p2p.proto.telling import FRAME_COST, TELL_BURST, TELL_RATE
from forge_p2p.proto.timers import Deadlines, TokenBucket
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.messages import Message

_PROGRESS_BYTES = 16 * 1024
"""Fewer bytes than this, without a whole frame, are no progress: a peer cannot hold a request open by drops."""

TAIL_TIMEOUT = 10.0


class Asking:
    """The asking half of a session. Raises `Breach` and `Malformed` at what the peer did wrong."""

    def __init__(self, out: list[Output], timers: Deadlines[TimerKey], stall_timeout: float) -> None:
        self._out = out
        self._timers = timers
        self._stall_timeout = stall_timeout
        self._held: OrderedDict[int, Ask] = OrderedDict()
        self._sent: dict[int, Ask] = {}
        self._active = 0
        self._standing = 0
        self._told = TokenBucket.full(TELL_RATE * limits.TOLERANCE, TELL_BURST * limits.TOLERANCE)
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

    def follow(self, ask: Ask, now: float) -> None:
        """Sends a standing request at once, if there are not too many."""
        if sum([one.standing and one.active for one in self._sent.values()]) >= limits.FOLLOWS_MAX:
            self._fail(ask, Code.BUSY, f"{limits.FOLLOWS_MAX} roots are followed there already")
        else:
            self._send(ask, now)

    def cancel(self, stream_id: int, now: float) -> None:
        ask = self._held.get(stream_id) or self._sent.get(stream_id)
        if ask is not None and (ask.active or ask.state is AskState.HELD):
            self._give_up(ask, Code.CANCELLED, now)

    def receive(self, stream_id: int, data: bytes, fin: bool, now: float) -> None:
        ask = self._sent.get(stream_id)
        if ask is None or ask.state is AskState.LATE:
            self._drop(ask, len(data), fin, now)
            return
        begun = ask.reader.frames
        received = ask.reader.feed(data)
        if ask.standing:
            self._charge(len(data) + (ask.reader.frames - begun) * FRAME_COST, now)
        else:
            self._notice(len(data), bool(received), now)
        for message in received:
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
            self._fail(ask, Code.INTERNAL, "the peer aborted the request")
            self._out.append(AbortStream(stream_id, Code.CANCELLED))
        self._forget(ask, now)

    def expired(self, timer: Timer, stream_id: int, now: float) -> None:
        if timer is Timer.ASK:
            ask = self._held.get(stream_id) or self._sent[stream_id]
            self._fail(ask, Code.DEADLINE, "the deadline passed")
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
        for ask in [ask for ask in self._sent.values() if ask.active and not ask.standing]:
            self._fail(ask, Code.STALLED, f"nothing came for {self._stall_timeout:g} s")
            self._give_up(ask, Code.STALLED, now)

    def fail_all(self, code: Code, reason: str) -> None:
        """The session is over."""
        for ask in [*self._sent.values(), *self._held.values()]:
            if ask.active or ask.state is AskState.HELD:
                self._fail(ask, code, reason)
        self._sent.clear()
        self._held.clear()
        self._active = self._standing = self._outstanding = 0

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
        sent = len(self._sent) - self._standing
        if self._early_room is None:
            return sent < self._max_sent * limits.TOLERANCE
        return sent < self._max_sent and ask.size <= self._early_room

    def _send(self, ask: Ask, now: float) -> None:
        if self._early_room is not None:
            self._early_room -= ask.size
        if ask.standing:
            self._standing += 1
        else:
            if not self._active:
                self._progress_at = now
            self._active += 1
        request = encode_frame(ask.request(now))
        ask.sent()
        self._sent[ask.stream_id] = ask
        self._outstanding += ask.budget
        self._out.append(SendData(ask.stream_id, [request], True))

    # Receiving

    def _notice(self, size: int, whole_frame: bool, now: float) -> None:
        self._unnoticed += size
        if whole_frame or self._unnoticed >= _PROGRESS_BYTES:
            self._unnoticed = 0
            self._progress_at = now

    def _charge(self, cost: int, now: float) -> None:
        if self._told.take(cost, now):
            raise Breach(Code.LIMIT, f"told of holdings faster than {TELL_RATE:g} bytes a second")

    def _handle(self, ask: Ask, message: Message, now: float) -> None:
        budget = ask.budget
        event, after = ask.receive(message)
        self._out.append(event)
        self._outstanding -= budget - ask.budget
        if after is AskState.ENDED:
            self._settle(ask)
            ask.state = after
            self._timers.set((Timer.TAIL, ask.stream_id), now + TAIL_TIMEOUT)
        if self._held:
            self._release(now)

    # Ending

    def _drop(self, ask: Ask | None, size: int, fin: bool, now: float) -> None:
        if ask is not None and ask.standing:
            self._charge(size, now)
        else:
            self._late_room -= size
        if self._late_room < 0:
            raise Breach(Code.UNSOLICITED, "more bytes on streams that were given up than were asked for")
        if fin and ask is not None:
            self._forget(ask, now)

    def _fail(self, ask: Ask, code: Code, reason: str) -> None:
        self._out.append(RequestFailed(ask.stream_id, code, reason, code.retryable))

    def _give_up(self, ask: Ask, code: Code, now: float) -> None:
        self._out.append(AbortStream(ask.stream_id, code))
        self._timers.cancel((Timer.ASK, ask.stream_id))
        if self._held.pop(ask.stream_id, None) is not None:
            return
        if ask.active:
            self._late_room += ask.late_room
            self._settle(ask)
        ask.state = AskState.LATE
        ask.reader = FrameReader({})
        self._timers.set((Timer.TAIL, ask.stream_id), now + TAIL_TIMEOUT)

    def _settle(self, ask: Ask) -> None:
        """Takes an active request out of the sums."""
        self._timers.cancel((Timer.ASK, ask.stream_id))
        if not ask.standing:
            self._active -= 1
        self._outstanding -= ask.budget

    def _forget(self, ask: Ask, now: float) -> None:
        if ask.active:
            self._settle(ask)
        if ask.standing:
            self._standing -= 1
        self._timers.cancel((Timer.TAIL, ask.stream_id))
        del self._sent[ask.stream_id]
        self._release(now)
