"""The requests of both sides of a session: each on a stream of its own, ours in `asking`, the peer's in `answering`."""

from collections.abc import Sequence

from forge_p2p.ids import Hash
from forge_p2p.proto.answering import Answering
from forge_p2p.proto.asking import Asking
from forge_p2p.proto.asks import Ask, FollowAsk, HaveAsk, QueryAsk, QuestionAsk, RefAsk, SetAsk, WantAsk
from forge_p2p.proto.hinted import HintedAsk
from forge_p2p.proto.hints import Answer, Hints
from forge_p2p.proto.outputs import Output, RequestFailed
from forge_p2p.proto.states import SessionState, Timer, TimerKey
from forge_p2p.proto.timers import Deadlines
from forge_p2p.wire.codes import Code
from forge_p2p.wire.limits import CONTROL_STREAM
from forge_p2p.wire.messages import Follow, Query, RefQuery, Reply, SetQuery, Told

OVER = frozenset({SessionState.LEAVING, SessionState.CLOSED})


class Exchange:
    """What a session can do once it is ready, and what it keeps for that. `own_bit`: lowest of the numbers of streams
    that this side opens."""

    def __init__(self, own_bit: int, max_requests: int, stall_timeout: float) -> None:
        self._state = SessionState.NEW
        self._out: list[Output] = []
        self._timers: Deadlines[TimerKey] = Deadlines()
        self._own_bit = own_bit
        self._asking = Asking(self._out, self._timers, stall_timeout)
        self._answering = Answering(self._out, self._timers, max_requests, stranger=own_bit == 1)

    @property
    def state(self) -> SessionState:
        return self._state

    @property
    def outstanding(self) -> int:
        """Raw bytes asked of the peer and not received."""
        return self._asking.outstanding

    # What this side asks

    def want(
        self,
        stream_id: int,
        hashes: Sequence[Hash],
        *,
        max_bytes: int,
        deadline: float,
        now: float,
        priority: int = 128,
        sparing: bool = False,
        hints: Hints | None = None,
    ) -> int:
        """Asks for chunks on a stream just opened; returns the request's id. May be called before `Ready`.

        `hashes`: 1 to 1024. `max_bytes`: the raw bytes there is room for, at most 4 MiB. `deadline` in the clock of
        `now`. Smaller `priority` is more urgent, 0 to 255. `sparing`: only what nobody else has been sent just now.
        `hints`: what this side has that is like them; a peer that knows no deltas does not mind. What the peer has no
        room for yet is held and sent later. Ends with `RequestDone` or `RequestFailed`.
        """
        ask = (
            WantAsk(stream_id, hashes, priority, deadline, max_bytes, sparing)
            if hints is None
            else HintedAsk(stream_id, hashes, priority, deadline, max_bytes, sparing, hints)
        )
        return self._ask(ask, now)

    def have(self, stream_id: int, hashes: Sequence[Hash], *, deadline: float, now: float) -> int:
        """Asks which of 1 to 1024 chunks the peer has. Ends with `HaveReceived` or `RequestFailed`."""
        return self._ask(HaveAsk(stream_id, hashes, deadline), now)

    def query(self, stream_id: int, message: Query, *, deadline: float, now: float) -> int:
        """Asks a member as one node of the DHT another, about names, or about what it has. Ends with `ReplyReceived` or
        `RequestFailed`: at once with `Code.DENIED` if the peer is not (yet) known as a member. A question about names
        that is turned down ends with `ReplyReceived` and a `Done` that says why."""
        kind: type[QuestionAsk] = QueryAsk
        if isinstance(message, RefQuery):
            kind = RefAsk
        elif isinstance(message, SetQuery):
            kind = SetAsk
        return self._ask(kind(stream_id, message, deadline), now) if self._may_ask(stream_id) else stream_id

    def follow(self, stream_id: int, message: Follow, now: float) -> int:
        """Asks a member to be told what it has of a root. `ToldOf` comes any number of times, until `RequestDone`,
        `RequestFailed` or `cancel`. At most 32 at once; fails at once as `query` does."""
        ask = FollowAsk(stream_id, message)
        if self._may_ask(stream_id):
            self._asking.follow(ask, now)
        return stream_id

    def cancel(self, request_id: int, now: float) -> None:
        """Gives a request of ours up, or follows no more; no event comes then. Nothing happens if it is over."""
        self._asking.cancel(request_id, now)

    # What this side answers

    def hints(self, request_id: int) -> Hints | None:
        """What the asker of a received request said of bases; `None` if nothing, or if the request is over."""
        return self._answering.hints(request_id)

    def answer(self, request_id: int, indexes: Sequence[int], chunks: Sequence[Answer], now: float) -> None:
        """Sends chunks of a received request, `None` for what is not here; closes it with the last index answered.
        Deltas and `Lacking.BASE` only for indexes that `hints` speaks of.

        `indexes` are of those that `RequestReceived` gave, each once. Nothing happens if the request is over. A chunk
        beyond the request's bytes ends it with `Code.BUDGET`.
        """
        self._answering.answer(request_id, indexes, chunks, now)

    def answer_have(self, request_id: int, present: Sequence[bool], now: float) -> None:
        """Answers a `HaveQueryReceived`, in the order of its hashes."""
        self._answering.answer_have(request_id, present, now)

    def reply(self, request_id: int, message: Reply, now: float) -> None:
        """Answers a `QueryReceived` with what belongs to it: `Nodes`, `Providers`, `Done` to an `Announce`,
        `RefVerdict`, `RefRecords`, `RefNames`, `SummaryTold`, `Reconciled`."""
        self._answering.reply(request_id, message, now)

    def tell(self, request_id: int, message: Told, now: float) -> None:
        """Tells who follows: prefixes that are new, or contacts. `Holdings` may have any number of prefixes. Often or
        seldom: what exceeds the protocol's rate is gathered and said later. Nothing happens if it follows no more."""
        self._answering.tell(request_id, message, now)

    def finish(self, request_id: int, code: Code, reason: str, now: float) -> None:
        """Ends a received request early: `Code.BUSY`, `BUDGET`, `ELSEWHERE`, `LEAVING`, `STORE`, `DEADLINE`, and
        what is wrong with a `RefPut`: `READ_ONLY`, `NOT_HOME`, `REJECTED`. A follow ends with `Code.OK` when there will
        be nothing more to tell."""
        self._answering.finish(request_id, code, reason, now)

    # For the session

    def _receive_request(self, stream_id: int, data: bytes, fin: bool, now: float) -> None:
        if stream_id & 1 == self._own_bit:
            self._asking.receive(stream_id, data, fin, now)
        else:
            self._answering.receive(stream_id, data, fin, now)

    def _request_aborted(self, stream_id: int, now: float) -> None:
        if stream_id & 1 == self._own_bit:
            self._asking.aborted(stream_id, now)
        else:
            self._answering.aborted(stream_id, now)

    def _request_expired(self, timer: Timer, stream_id: int, now: float) -> None:
        if timer in {Timer.ASK, Timer.TAIL}:
            self._asking.expired(timer, stream_id, now)
        else:
            self._answering.expired(timer, stream_id, now)

    def _ask(self, ask: Ask, now: float) -> int:
        if self._usable(ask.stream_id):
            self._asking.ask(ask, now)
        return ask.stream_id

    def _usable(self, stream_id: int) -> bool:
        """Whether a new request makes sense; if the session is over, the request fails at once."""
        if stream_id & 1 != self._own_bit or stream_id == CONTROL_STREAM:
            raise ValueError(f"stream {stream_id} is not one that this side opens for requests")
        if self._state in OVER:
            self._out.append(RequestFailed(stream_id, Code.GONE, "the session is over", True))
            return False
        return True

    def _may_ask(self, stream_id: int) -> bool:
        """Whether to ask what members ask: nobody else is even told what is looked for."""
        if not self._usable(stream_id):
            return False
        if not self._answering.member:
            self._out.append(RequestFailed(stream_id, Code.DENIED, "the peer is no member of the network", False))
            return False
        return True
