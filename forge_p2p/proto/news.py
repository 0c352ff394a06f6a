"""News between members: said no faster than the protocol allows, dropped from who is no member.

Much news is said in small frames, one after the other: a QUIC stream keeps as much memory as was ever on its way on it,
and the control stream stays open as long as the session.

The peer of a client may speak before the client knows whether it is a member: until then what it says is kept.
"""

from collections.abc import Sequence

from forge_p2p.proto.outputs import NewsReceived, Output, SendData
from forge_p2p.proto.states import Breach, Timer, TimerKey
from forge_p2p.proto.timers import Deadlines, TokenBucket
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import encode_frame
from forge_p2p.wire.messages import News

NEWS_RATE = 3.0
NEWS_BURST = 1.0
"""NEWS frames a second from one side; the first two at once."""
HEARD_RATE = 6.0
HEARD_BURST = 96.0
"""Those that may come: all that an honest sender says in the 30 s for which a network may hold it up, and more."""
PIECE = 4 * 1024
"""Bytes of items in one frame."""

_TIMER = (Timer.NEWS, limits.CONTROL_STREAM)


class Gossip:
    """The news of one session, in both directions. `member`: whether the peer is one; `None` while that is open."""

    def __init__(self, out: list[Output], timers: Deadlines[TimerKey]) -> None:
        self._out = out
        self._timers = timers
        self._member: bool | None = None
        self._unsaid: list[bytes] = []
        self._unheard: list[Sequence[bytes]] = []
        """Bounded by the rate at which news may come."""
        self._said = TokenBucket.full(NEWS_RATE, NEWS_BURST)
        self._heard = TokenBucket.full(HEARD_RATE, HEARD_BURST)

    def decide(self, member: bool) -> None:
        """Whether the peer is a member is known."""
        self._member = member
        if member:
            self._out += [NewsReceived(items) for items in self._unheard]
        self._unheard.clear()

    def say(self, items: Sequence[bytes], now: float) -> None:
        """Nothing is said to who is no member. Raises `ValueError` at an item that is too long."""
        if any(len(item) > limits.NEWS_ITEM_MAX for item in items):
            raise ValueError(f"an item of news has at most {limits.NEWS_ITEM_MAX} bytes")
        if self._member:
            self._unsaid.extend(items)
            self.flush(now)

    def flush(self, now: float) -> None:
        """Says what may be said now."""
        while self._unsaid:
            if wait := self._said.debt(now):
                self._timers.set(_TIMER, now + wait)
                return
            self._said.take(1.0, now)
            self._out.append(SendData(limits.CONTROL_STREAM, [encode_frame(News(self._next()))], False))

    def receive(self, news: News, now: float) -> None:
        """Raises `Breach` when they come too fast."""
        if self._heard.take(1.0, now):
            raise Breach(Code.LIMIT, f"more than {HEARD_RATE:g} frames of news a second")
        if self._member:
            self._out.append(NewsReceived(news.items))
        elif self._member is None:
            self._unheard.append(news.items)

    def clear(self) -> None:
        """The session is over."""
        self._unsaid.clear()
        self._unheard.clear()

    def _next(self) -> tuple[bytes, ...]:
        """The items of one frame."""
        items: list[bytes] = []
        room = PIECE
        for item in self._unsaid[: limits.NEWS_ITEMS_MAX]:
            if len(item) > room and items:
                break
            items.append(item)
            room -= len(item)
        del self._unsaid[: len(items)]
        return tuple(items)
