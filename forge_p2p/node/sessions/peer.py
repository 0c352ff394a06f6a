"""A session driven over a connection: bytes in, outputs out, events to whoever waits for them.

One task receives; sending happens in the task that caused it, so that back-pressure holds up the one who has much to
say and nobody else. The outbox is emptied before anything is awaited, so what a task takes out is what it put in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from forge_p2p.errors import ForgeError, PeerError, Refused, StreamClosed
from forge_p2p.ids import Hash, NodeId
from forge_p2p.net.base import Connection, StreamData
from forge_p2p.node.sessions.handlers import FollowHandler, MemberHandler, RequestHandler, SessionHandler
from forge_p2p.proto import outputs
from forge_p2p.proto.hints import Hints
from forge_p2p.proto.session import LINGER, Session
from forge_p2p.proto.states import SessionState
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.content.membership import Membership
    from forge_p2p.ids import NetworkId
    from forge_p2p.node.membership.holdings import MemberScope

REQUEST_DEADLINE = 300.0
"""Seconds. A request is at most 4 MiB: slower than 14 KB/s is asked of somebody else, or again."""
URGENT, NORMAL = 64, 128
MAX_RAW = 4 * 1024 * 1024

_OVER = (SessionState.LEAVING, SessionState.CLOSED)
_NO_RIGHT = (Code.DENIED, Code.EXPIRED, Code.REVOKED)
_SLOW = (Code.DEADLINE, Code.CANCELLED, Code.ELSEWHERE)
"""Ends of a request that say nothing about the next one."""


@dataclass(frozen=True, slots=True)
class MemberSide:
    """What makes a session one of a network: which, who the peer is in it, and what the peer may have."""

    network: "NetworkId"
    membership: "Membership"
    scope: "MemberScope"


@dataclass(slots=True)
class _Asked:
    """A request of ours under way. `answered`: some of it was, be it as missing."""

    number: int
    handler: RequestHandler
    answered: bool = False


@dataclass(slots=True)
class _Query:
    """A query of ours under way."""

    over: trio.Event = field(default_factory=trio.Event)
    reply: messages.Reply | None = None
    problem: str = ""


class PeerSession:
    """One peer. `ended` is set when the session is over; `reason` then says why (`None`: an orderly end), and
    `retryable` whether another session with the same peer may do better."""

    def __init__(self, connection: Connection, session: Session, handler: SessionHandler) -> None:
        self.connection = connection
        self.session = session
        self.where = f"{connection.address.host} port {connection.address.port}"
        self.peer_id: NodeId | None = None
        self.credentials = b""
        """What the server has shown of itself."""
        self.capabilities: frozenset[str] = frozenset()
        self.member: MemberSide | None = None
        self.opened: set[Hash] = set()
        """Roots that the member has told to be complete there: their chunks may be named as bases."""
        self.since = self.used = trio.current_time()
        self.ready = trio.Event()
        self.answering = trio.Lock()
        """Held by whoever sends an answer, until the connection has taken it."""
        self.ended = trio.Event()
        self.reason: ForgeError | None = None
        self.retryable = True
        self.has_left = False
        """It has said goodbye: it goes down."""
        self.members: MemberHandler | None = None
        """Hears what the peer says as a member; a session of a ticket needs none."""
        self._handler = handler
        self._requests: dict[int, _Asked] = {}
        self._queries: dict[int, _Query] = {}
        self._follows: dict[int, FollowHandler] = {}
        self._scope = trio.CancelScope()
        self._closing: outputs.CloseConnection | None = None
        if connection.is_client:
            connection.open_stream()  # the control stream has to be the first
        session.start(self.since)

    async def run(self) -> None:
        """Drives the session to its end; never raises for what the peer or the network does."""
        try:
            await self.flush()
            while not self._closing:
                await self._step()
        except PeerError as error:
            self._lost(error)
        finally:
            self.ready.set()
            self.ended.set()
            self._handler.gone(self)
            if self.members is not None:
                self.members.gone(self)
            with trio.move_on_after(1.0, shield=True):
                last = self._closing
                await self.connection.aclose(int(last.code) if last else 0, last.reason if last else "")

    async def request(
        self,
        number: int,
        hashes: Sequence[Hash],
        urgent: bool,
        handler: RequestHandler,
        *,
        max_bytes: int = MAX_RAW,
        sparing: bool = False,
        hints: Hints | None = None,
    ) -> None:
        """Asks the peer for chunks, for at most `max_bytes` of them: it chooses. `sparing`: not for what others have
        just been sent. `hints`: what is here that is like them. Raises `PeerError` when the session is over or has no
        stream to spare."""
        stream_id = self._open()
        self._requests[stream_id] = _Asked(number, handler)
        now = trio.current_time()
        self.session.want(
            stream_id,
            hashes,
            max_bytes=max_bytes,
            deadline=now + REQUEST_DEADLINE,
            now=now,
            priority=URGENT if urgent else NORMAL,
            sparing=sparing,
            hints=hints,
        )
        await self.flush()

    def give_up(self, number: int) -> None:
        """Wants nothing more of a request; nothing more is reported of it."""
        for stream_id, asked in self._requests.items():
            if asked.number == number:
                del self._requests[stream_id]
                self.session.cancel(stream_id, trio.current_time())
                self._scope.deadline = trio.current_time()  # the receive loop sends the abort
                return

    async def query(self, message: messages.Query, timeout: float) -> messages.Reply:
        """Asks as one node of the DHT another, and waits `timeout` seconds at most. Raises `PeerError`."""
        query = _Query()
        stream_id = self._open()
        self._queries[stream_id] = query
        now = trio.current_time()
        self.session.query(stream_id, message, deadline=now + timeout, now=now)
        try:
            await self.flush()
            await query.over.wait()
        finally:
            if self._queries.pop(stream_id, None) is not None:
                self.session.cancel(stream_id, trio.current_time())
        if query.reply is None:
            raise PeerError(f"{self.where} did not answer: {query.problem}")
        return query.reply

    async def follow(self, message: messages.Follow, handler: FollowHandler) -> int:
        """Asks to be told what the peer holds of a root; returns what `unfollow` takes. Raises `PeerError`."""
        stream_id = self._open()
        self._follows[stream_id] = handler
        self.session.follow(stream_id, message, now=trio.current_time())
        try:
            await self.flush()
        except trio.Cancelled:
            if self._take_back(stream_id):
                self._scope.deadline = trio.current_time()  # the receive loop sends the abort
            raise
        return stream_id

    async def unfollow(self, stream_id: int) -> None:
        """Wants to know no more. Raises `PeerError`."""
        if self._take_back(stream_id):
            await self.flush()

    def _take_back(self, stream_id: int) -> bool:
        """Whether there is something to send for it."""
        if self._follows.pop(stream_id, None) is None or self.ended.is_set():
            return False
        self.session.cancel(stream_id, trio.current_time())
        return True

    async def reply(self, request_id: int, message: messages.Reply) -> None:
        """Answers a question of the peer's. Raises `PeerError`."""
        self.session.reply(request_id, message, trio.current_time())
        await self.flush()

    async def finish(self, request_id: int, code: Code, reason: str) -> None:
        """Has nothing more to say to a request of the peer's, and why. Raises `PeerError`."""
        self.session.finish(request_id, code, reason, trio.current_time())
        await self.flush()

    @property
    def busy(self) -> bool:
        """Whether anything of ours is under way."""
        return bool(self._requests or self._queries or self._follows)

    def _open(self) -> int:
        """A stream for a request. Raises `PeerError` when the session is over or has none to spare."""
        if self.ended.is_set():
            raise self.reason or PeerError(f"the session with {self.where} is over")
        self.used = trio.current_time()
        return self.connection.open_stream()

    def blame(self, error: ForgeError, code: Code = Code.CORRUPT) -> None:
        """Ends the session with `error` as its reason; by default for bytes that nobody may send."""
        self.reason = error
        self.session.close(code, error.message, trio.current_time())
        self._scope.deadline = trio.current_time()

    async def leave(self, code: Code = Code.OK, reason: str = "done") -> None:
        """Says goodbye, if there is anybody to say it to, and waits a moment until it is said."""
        if self.ended.is_set():
            return
        self.session.close(code, reason, trio.current_time())
        try:
            await self.flush()
        except PeerError:
            return

    async def flush(self) -> None:
        """Carries out what the session wants done. Raises `PeerError` when the connection is gone."""
        sends = []
        while taken := self.session.take():  # an event's handler may end the session
            for output in taken:
                if isinstance(output, outputs.SendData):
                    sends.append(output)
                elif isinstance(output, outputs.AbortStream):
                    self.connection.abort_stream(output.stream_id, int(output.code))
                elif isinstance(output, outputs.CloseConnection):
                    self._closing = output
                else:
                    self._dispatch(output)
        self._reschedule()
        if sends:
            await self._send(sends)
        if self._closing:
            self._scope.deadline = trio.current_time()

    async def _send(self, sends: Sequence[outputs.SendData]) -> None:
        over = self.session.state in _OVER
        with trio.move_on_after(LINGER if over else math.inf):  # last words wait for no peer that does not read
            for send in sends:
                try:
                    await self.connection.send(send.stream_id, send.buffers, send.fin)
                except StreamClosed:
                    continue  # the peer gave this request up while it was being answered; its abort is on the way to us

    async def _step(self) -> None:
        with trio.CancelScope() as self._scope:
            self._reschedule()
            events = await self.connection.receive()
            now = trio.current_time()
            for event in events:
                if isinstance(event, StreamData):
                    self.session.receive_stream(event.stream_id, event.data, event.fin, now)
                else:
                    self.session.stream_aborted(event.stream_id, now)
        if self._scope.cancelled_caught:
            self.session.handle_timeout(trio.current_time())
        await self.flush()

    def _reschedule(self) -> None:
        deadline = self.session.next_deadline()
        self._scope.deadline = float("inf") if deadline is None else deadline

    def _lost(self, error: PeerError) -> None:
        if self.reason is None:
            self.reason = error
        self.session.connection_lost(error.message, trio.current_time())
        for output in self.session.take():
            if not isinstance(output, outputs.SendData | outputs.AbortStream | outputs.CloseConnection):
                self._dispatch(output)

    def _dispatch(self, event: outputs.Event) -> None:
        match event:
            case outputs.ChunksReceived():
                asked = self._requests[event.request_id]
                asked.answered = True
                asked.handler.chunks(self, asked.number, list(zip(event.indexes, event.chunks, strict=True)))
            case outputs.DeltasReceived():
                asked = self._requests[event.request_id]
                asked.answered = True
                asked.handler.deltas(self, asked.number, list(zip(event.indexes, event.deltas, strict=True)))
            case outputs.RequestBaseless():
                asked = self._requests[event.request_id]
                asked.answered = True
                asked.handler.baseless(self, asked.number, event.indexes)
            case outputs.RequestMissing():
                asked = self._requests[event.request_id]
                asked.answered = True
                asked.handler.missing(asked.number, event.indexes)
            case outputs.RequestDone():
                self._over(event.request_id, Code.OK, "")
            case outputs.RequestFailed():
                self._over(event.request_id, event.code, event.reason)
            case outputs.Ready():
                self.peer_id = event.peer_id
                self.credentials = event.credentials
                self.capabilities = event.capabilities
                self.ready.set()
            case outputs.Refused():
                self.reason = (Refused if event.code in _NO_RIGHT else PeerError)(
                    f"{self.where} refused: {event.reason}"
                )
            case outputs.PeerGone():
                self._gone(event)
            case _:
                self._serve(event)

    def _serve(self, event: outputs.Event) -> None:
        match event:
            case outputs.RequestReceived():
                self._handler.requested(self, event)
            case outputs.RequestCancelled():
                self._handler.cancelled(self, event.request_id)
                if self.members is not None:
                    self.members.unfollowed(self, event.request_id)
            case outputs.HaveQueryReceived():
                self._handler.queried(self, event)
            case outputs.AuthorizationNeeded():
                self._handler.authorization_needed(self, event.client_id, event.credentials)
            case _:
                self._hear_member(event)

    def _hear_member(self, event: outputs.Event) -> None:
        match event:
            case outputs.ReplyReceived():
                query = self._queries.pop(event.request_id)
                query.reply = event.message
                query.over.set()
            case outputs.ToldOf():
                if event.request_id in self._follows:
                    self._follows[event.request_id].told(self, event.message)
            case outputs.QueryReceived() if self.members is not None:
                self.members.asked(self, event)
            case outputs.FollowReceived() if self.members is not None:
                self.members.followed(self, event)
            case outputs.NewsReceived() if self.members is not None:
                self.members.told_news(self, event)

    def _over(self, request_id: int, code: Code, reason: str) -> None:
        """A request, a query or a FOLLOW of ours ended."""
        if request_id in self._follows:
            self._follows.pop(request_id).unfollowed(self, code)
        elif request_id in self._queries:
            query = self._queries.pop(request_id)
            query.problem = reason or code.name.lower()
            query.over.set()
        elif request_id in self._requests:
            self._request_over(self._requests.pop(request_id), code, reason)

    def _request_over(self, asked: _Asked, code: Code, reason: str) -> None:
        """A request that brought nothing would bring nothing again: whoever wants it tries in another session."""
        asked.handler.ended(asked.number, code)
        hopeless = code is Code.STALLED or not (code is Code.OK or asked.answered or code in _SLOW)
        if hopeless and self.session.state not in _OVER:
            code = Code.TIMEOUT if code is Code.STALLED else Code.OK
            self.blame(PeerError(f"{self.where} does not answer: {reason}"), code)

    def _gone(self, event: outputs.PeerGone) -> None:
        self.retryable = event.code.retryable or event.code is Code.OK
        self.has_left = event.code is Code.LEAVING
        if self.reason is None and event.code in _NO_RIGHT:
            self.reason = Refused(f"{self.where} refused: {event.reason}")
        elif self.reason is None and event.code is not Code.OK:
            self.reason = PeerError(f"the session with {self.where} ended: {event.reason or event.code.name.lower()}")
        for asked in list(self._requests.values()):
            asked.handler.ended(asked.number, event.code)
        self._requests.clear()
        for request_id in [*self._queries, *self._follows]:
            self._over(request_id, event.code, event.reason)
        self.ended.set()
