"""One connection's protocol, without I/O, clock or randomness.

Bytes, aborts and timeouts go in with the time `now`; what to do and what happened come out of `take()`. The client
opens the control stream and says HELLO; the server answers with a nonce; the client's proof, credentials and first
requests follow at once; the server's WELCOME makes both ends equal, each may ask the other. Requests have a stream each
and live in `exchange`; this module is the hello, the control stream and the end.

Whatever the peer does wrong ends the session with `PeerGone` and `CloseConnection`; no call raises because of it.
Commands raise `ValueError` for what this side does wrong, and do nothing once the session is over.
"""

from collections.abc import Callable, Sequence
from typing import Any

from forge_p2p.errors import Malformed
from forge_p2p.ids import NodeId
from forge_p2p.proto import hello as hellos
from forge_p2p.proto.auth import Refusal, Scope
from forge_p2p.proto.exchange import OVER, Exchange
from forge_p2p.proto.hello import NETWORK, ClientRole, Role, ServerRole, SessionConfig
from forge_p2p.proto.news import Gossip
from forge_p2p.proto.outputs import (
    AuthorizationNeeded,
    CloseConnection,
    Output,
    PeerGone,
    PongReceived,
    Refused,
    SendData,
)
from forge_p2p.proto.states import CONTROL_FRAMES, SESSION, Breach, SessionState, Step, Timer, Trigger
from forge_p2p.proto.timers import TokenBucket
from forge_p2p.wire import limits, messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.fields import Body
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.limits import CONTROL_STREAM

LINGER = 1.0
"""Seconds between our last words and closing, unless the peer closes first: so that it reads them."""

CONTROL_RATE = 16.0
CONTROL_BURST = 128.0
"""Frames on the control stream a second, pings and unknown ones alike."""


class Session(Exchange):
    """One end of a connection. Request ids are stream ids; streams are numbered as in RFC 9000, section 2.1."""

    def __init__(self, role: Role, config: SessionConfig | None = None) -> None:
        self._role = role
        self._config = config or SessionConfig()
        super().__init__(
            0 if isinstance(role, ClientRole) else 1, self._config.max_requests, self._config.stall_timeout
        )
        self._control = FrameReader(CONTROL_FRAMES, skipped_max=1 << 62)
        self._control_bytes = 0
        self._control_rate = TokenBucket.full(CONTROL_RATE, CONTROL_BURST)
        self._gossip = Gossip(self._out, self._timers)
        self._peer: messages.Hello | None = None
        self._last_words = (Code.OK, "")
        self._handlers: dict[type[Any], Callable[[Any, float], None]] = {
            messages.Hello: self._on_hello,
            messages.Proof: self._on_proof,
            messages.Credentials: self._on_credentials,
            messages.Welcome: self._on_welcome,
            messages.Refused: self._on_refused,
            messages.Ping: self._on_ping,
            messages.Pong: self._on_pong,
            messages.Goodbye: self._on_goodbye,
            messages.News: self._on_news,
        }

    def take(self) -> list[Output]:
        """All outputs since the last call, in order."""
        taken = self._out.copy()
        self._out.clear()
        return taken

    # Inputs

    def start(self, now: float) -> None:
        """Begins. The client's first stream, number 0, must have been opened."""
        if self._state is not SessionState.NEW:
            raise ValueError("a session starts once")
        self._timers.set((Timer.HELLO, CONTROL_STREAM), now + self._config.hello_timeout)
        if isinstance(self._role, ClientRole):
            self._move(Step.CONNECT)
            self._say(hellos.client_hello(self._role, self._config))
        else:
            self._move(Step.ACCEPT)

    def receive_stream(self, stream_id: int, data: bytes, fin: bool, now: float) -> None:
        """Bytes of a stream, in its order; `data` must not change afterwards."""
        if self._state in OVER:
            return
        try:
            if stream_id == CONTROL_STREAM:
                self._receive_control(data, fin, now)
            else:
                self._receive_request(stream_id, data, fin, now)
        except (Breach, Malformed) as error:
            self._breach(error)

    def stream_aborted(self, stream_id: int, now: float) -> None:
        """The peer gave a stream up, or wants no more of it."""
        if self._state in OVER:
            return
        try:
            if stream_id == CONTROL_STREAM:
                raise Breach(Code.OUT_OF_STATE, "the control stream was aborted")
            self._request_aborted(stream_id, now)
        except Breach as error:
            self._breach(error)

    def connection_lost(self, reason: str, now: float) -> None:
        """The connection is no more; nothing can be sent."""
        if self._state is SessionState.LEAVING:
            self._close_connection()
        elif self._state is not SessionState.CLOSED:
            self._end(PeerGone(Code.GONE, reason))

    def next_deadline(self) -> float | None:
        """When `handle_timeout` is to be called, unless something else comes before."""
        due = self._timers.next()
        stalled = self._asking.stalled_at()
        if due is None or stalled is None:
            return stalled if due is None else due
        return min(due, stalled)

    def handle_timeout(self, now: float) -> None:
        """Does what is due at `now`; early or repeated calls do no harm."""
        try:
            while (key := self._timers.pop(now)) is not None:
                self._expired(*key, now)
            stalled = self._asking.stalled_at()
            if stalled is not None and stalled <= now:
                self._asking.give_up_stalled(now)
        except Breach as error:
            self._breach(error)

    # The session as a whole

    def decide(self, verdict: Scope | Refusal, now: float, credentials: bytes = b"") -> None:
        """Answers `AuthorizationNeeded`. `credentials`: what this side shows in return, at most 4 KiB."""
        if self._state is SessionState.DECIDING:
            self._decide(verdict, credentials, now)

    def grant(self, scope: Scope, now: float) -> None:
        """From now on the peer may have what `scope` says; a client calls it when it has looked at what the server
        showed (`Ready.credentials`). Nothing happens unless the session is ready."""
        if self._state is SessionState.READY:
            self._admit(scope, now)

    def say_news(self, items: Sequence[bytes], now: float) -> None:
        """Tells a member; items of at most 4 KiB, any number: what is too much at once is said later. Nothing happens
        with anybody else."""
        if self._state is SessionState.READY:
            self._gossip.say(items, now)

    def ping(self, token: int) -> None:
        """Asks for a `PongReceived` with the same token, a u32."""
        if self._state is SessionState.READY:
            self._say(messages.Ping(token))

    def close(self, code: Code, reason: str, now: float) -> None:
        """Leaves, telling the peer why. `CloseConnection` follows when it has closed or `LINGER` is over."""
        if self._state is SessionState.NEW:
            self._end(PeerGone(code, reason))
            self._out.append(CloseConnection(code, reason))
        elif self._state not in OVER:
            self._leave(Step.LEAVE, messages.Goodbye(code, reason[: limits.REASON_CHARS]), now)

    # The control stream

    def _receive_control(self, data: bytes, fin: bool, now: float) -> None:
        before = self._control.frames
        for message in self._control.feed(data):
            self._move(type(message))
            self._handlers[type(message)](message, now)
            if self._state in OVER:
                return
        if self._state is not SessionState.READY:  # asked at the end: much may follow a WELCOME in the same piece
            self._control_bytes += len(data)
            if self._control_bytes > limits.HELLO_BYTES_MAX:
                raise Breach(Code.LIMIT, f"a hello of more than {limits.HELLO_BYTES_MAX} bytes")
        if self._control_rate.take(self._control.frames - before, now):
            raise Breach(Code.LIMIT, f"more than {CONTROL_RATE:g} control frames a second")
        if fin:
            raise Breach(Code.OUT_OF_STATE, "the control stream ended without a goodbye")

    def _move(self, trigger: Trigger) -> None:
        after = SESSION[self._state].get(trigger)
        if after is None:
            name = trigger.name if isinstance(trigger, Step) else trigger.__name__
            raise Breach(Code.OUT_OF_STATE, f"{name} in state {self._state.name}")
        self._state = after

    def _on_hello(self, hello: messages.Hello, now: float) -> None:
        self._peer = hello
        if isinstance(self._role, ClientRole):
            hellos.check_challenge(self._role, hello)
            self._say(hellos.make_proof(self._role, hello.nonce), messages.Credentials(self._role.credentials))
            self._asking.allow_early(now)
            return
        version = hellos.common_version(hello)
        if version is None:
            offer = f"{hello.first_version} to {hello.last_version}"
            self._refuse(Refusal(Code.VERSION, f"versions {offer} are offered, {limits.VERSION} is spoken here"), now)
        else:
            self._say(hellos.server_hello(self._role, self._config, version))

    def _on_proof(self, proof: messages.Proof, now: float) -> None:
        assert isinstance(self._role, ServerRole)
        assert self._peer is not None
        if not hellos.check_proof(self._role, NodeId(self._peer.node_id), proof):
            self._refuse(Refusal(Code.IDENTITY, "the proof of identity does not hold"), now)

    def _on_credentials(self, credentials: messages.Credentials, now: float) -> None:
        assert isinstance(self._role, ServerRole)
        assert self._peer is not None
        client_id = NodeId(self._peer.node_id)
        verdict = self._role.authorizer.authorize(client_id, credentials.token, now)
        if verdict is None:
            self._out.append(AuthorizationNeeded(client_id, credentials.token))
        else:
            self._decide(verdict, b"", now)

    def _on_welcome(self, welcome: messages.Welcome, now: float) -> None:
        assert isinstance(self._role, ClientRole)
        self._open(self._role.scope, welcome.credentials, now)

    def _on_refused(self, refused: messages.Refused, _now: float) -> None:
        code, reason = messages.code_of(refused.code), messages.printable(refused.reason)
        self._end(Refused(code, reason))
        self._out.append(CloseConnection(Code.OK, ""))

    def _on_ping(self, ping: messages.Ping, _now: float) -> None:
        self._say(messages.Pong(ping.token))

    def _on_pong(self, pong: messages.Pong, _now: float) -> None:
        self._out.append(PongReceived(pong.token))

    def _on_goodbye(self, goodbye: messages.Goodbye, _now: float) -> None:
        self._end(PeerGone(messages.code_of(goodbye.code), messages.printable(goodbye.reason)))
        self._out.append(CloseConnection(Code.OK, ""))

    def _on_news(self, news: messages.News, now: float) -> None:
        self._gossip.receive(news, now)

    def _decide(self, verdict: Scope | Refusal, credentials: bytes, now: float) -> None:
        if isinstance(verdict, Refusal):
            self._refuse(verdict, now)
            return
        self._move(Step.ADMIT)
        self._say(messages.Welcome(credentials))
        self._open(verdict, b"", now)

    def _open(self, scope: Scope | None, credentials: bytes, now: float) -> None:
        assert self._peer is not None
        self._timers.cancel((Timer.HELLO, CONTROL_STREAM))
        ready = hellos.ready(self._peer, self._config, credentials)
        self._out.append(ready)
        self._asking.allow(ready.max_requests, now)
        self._answering.allow(networked=NETWORK in ready.capabilities)
        if scope is not None:
            self._admit(scope, now)

    def _admit(self, scope: Scope, now: float) -> None:
        self._answering.admit(scope, now)
        self._gossip.decide(self._answering.member)

    # The end

    def _refuse(self, refusal: Refusal, now: float) -> None:
        words = messages.Refused(refusal.code, refusal.reason[: limits.REASON_CHARS])
        self._leave(Step.REFUSE, words, now)

    def _leave(self, step: Step, words: messages.Refused | messages.Goodbye, now: float) -> None:
        self._move(step)
        self._last_words = (Code(words.code), words.reason)
        self._out.append(SendData(CONTROL_STREAM, [encode_frame(words)], True))
        self._forget_requests(*self._last_words)
        self._timers.set((Timer.LINGER, CONTROL_STREAM), now + LINGER)
        self._out.append(PeerGone(*self._last_words))

    def _breach(self, error: Breach | Malformed) -> None:
        code = error.code if isinstance(error, Breach) else Code.MALFORMED
        self._end(PeerGone(code, str(error)))
        self._out.append(CloseConnection(code, str(error)[: limits.REASON_CHARS]))

    def _end(self, event: PeerGone | Refused) -> None:
        self._state = SessionState.CLOSED
        self._forget_requests(event.code, event.reason)
        self._out.append(event)

    def _forget_requests(self, code: Code, reason: str) -> None:
        self._asking.fail_all(code, reason)
        self._answering.clear()
        self._gossip.clear()
        self._timers.clear()

    def _close_connection(self) -> None:
        self._move(Step.END)
        self._timers.clear()
        self._out.append(CloseConnection(*self._last_words))

    def _expired(self, timer: Timer, stream_id: int, now: float) -> None:
        if timer is Timer.HELLO:
            raise Breach(Code.TIMEOUT, f"no hello within {self._config.hello_timeout:g} s")
        if timer is Timer.LINGER:
            self._close_connection()
        elif timer is Timer.NEWS:
            self._gossip.flush(now)
        else:
            self._request_expired(timer, stream_id, now)

    def _say(self, *words: Body) -> None:
        self._out.append(SendData(CONTROL_STREAM, [encode_frame(message) for message in words], False))
