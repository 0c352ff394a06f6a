"""What is told to those who follow roots here, no faster than the protocol allows.

Whatever exceeds the rate is gathered: prefixes add up, of flags and contacts the last word counts. So a follower that
is told of every chunk as it arrives gets few large frames where many chunks arrive, and each at once where few do.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from forge_p2p.ids import PREFIX_SIZE
from forge_p2p.proto.outputs import Output, SendData
from forge_p2p.proto.states import Timer, TimerKey
from forge_p2p.proto.timers import Deadlines, TokenBucket
from forge_p2p.wire import limits
from forge_p2p.wire.fields import PackedContact
from forge_p2p.wire.frames import encode_frame
from forge_p2p.wire.messages import Followers, Holdings, Told

TELL_RATE = 512.0 * 1024
TELL_BURST = 8.0 * 1024 * 1024
"""Bytes a second on all FOLLOW streams of a direction together. At once: the prefixes of 64 GB in chunks of 64 KiB."""
FRAME_COST = 512
"""Bytes that a frame counts for beside its own: a thousand frames a second are what the rate allows."""

CONTACTS_MAX = 256
"""Contacts that wait to be told to one follower; the oldest go first."""

_PREFIX_BYTES = limits.PREFIXES_MAX * PREFIX_SIZE
_TIMER = (Timer.TELL, limits.CONTROL_STREAM)


@dataclass(slots=True)
class _Follower:
    complete: bool = False
    origin: bool = False
    previous: bool = False
    withheld: int = 0
    unsaid: bool = False
    """The flags have not been told since they were set."""
    prefixes: bytearray = field(default_factory=bytearray)
    contacts: OrderedDict[bytes, PackedContact] = field(default_factory=OrderedDict)

    def merge(self, message: Told) -> None:
        if isinstance(message, Holdings):
            self.complete, self.origin, self.previous = message.complete, message.origin, message.previous
            self.withheld = max(self.withheld, message.withheld)
            self.unsaid = True
            self.prefixes += message.prefixes
            return
        for contact in message.packed:
            self.contacts[contact.node_id] = contact
            self.contacts.move_to_end(contact.node_id)
            if len(self.contacts) > CONTACTS_MAX:
                self.contacts.popitem(last=False)

    def next(self) -> Told | None:
        """The next frame for it."""
        if self.complete:
            self.prefixes.clear()
        if self.unsaid or self.prefixes:
            prefixes = bytes(self.prefixes[:_PREFIX_BYTES])
            del self.prefixes[:_PREFIX_BYTES]
            withheld, self.withheld = (0 if self.complete else self.withheld), 0
            self.unsaid = False
            return Holdings(self.complete, self.origin, prefixes, self.previous, withheld)
        if self.contacts:
            count = min(len(self.contacts), limits.FOLLOWERS_COUNT)
            return Followers(tuple([self.contacts.popitem(last=False)[1] for _ in range(count)]))
        return None


class Telling:
    """The followers of one session, by the ids of their requests."""

    def __init__(self, out: list[Output], timers: Deadlines[TimerKey]) -> None:
        self._out = out
        self._timers = timers
        self._followers: dict[int, _Follower] = {}
        self._turns: OrderedDict[int, None] = OrderedDict()
        """Those to whom something is to be said; each gets one frame in turn."""
        self._bucket = TokenBucket.full(TELL_RATE, TELL_BURST)

    def __len__(self) -> int:
        return len(self._followers)

    def open(self, stream_id: int) -> None:
        self._followers[stream_id] = _Follower()

    def close(self, stream_id: int) -> None:
        """It follows no more; what was not said is not said."""
        self._followers.pop(stream_id, None)
        self._turns.pop(stream_id, None)
        if not self._turns:
            self._timers.cancel(_TIMER)

    def clear(self) -> None:
        """The session is over."""
        self._followers.clear()
        self._turns.clear()

    def tell(self, stream_id: int, message: Told, now: float) -> None:
        """Nothing happens if it follows no more."""
        follower = self._followers.get(stream_id)
        if follower is not None:
            follower.merge(message)
            self._turns[stream_id] = None
            self.flush(now)

    def flush(self, now: float) -> None:
        """Says what may be said now."""
        while self._turns:
            if wait := self._bucket.debt(now):
                self._timers.set(_TIMER, now + wait)
                return
            stream_id, _ = self._turns.popitem(last=False)
            message = self._followers[stream_id].next()
            if message is not None:
                frame = encode_frame(message)
                self._bucket.take(len(frame) + FRAME_COST, now)
                self._out.append(SendData(stream_id, [frame], False))
                self._turns[stream_id] = None
