"""Queries under way: numbers, deadlines, and how long to wait for whom.

Waiting is adaptive and has two steps. After the *patience* a query no longer holds up whoever sent it (a lookup goes on
with the next node), but its answer is still welcome; after the *timeout* it has failed. Patience follows the round
trips seen, as TCP's does (RFC 6298), beginning generous. It learns from late answers as well, and it grows with every
query in a row that is late, so that a network that got slower cannot keep it too short for any answer to be in time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from forge_p2p.content.contact import Contact
from forge_p2p.proto.dht.messages import Output, Query, Reply, SendQuery
from forge_p2p.proto.timers import Deadlines

PATIENCE_FIRST: Final = 2.0
PATIENCE_MIN: Final = 0.1
PATIENCE_MAX: Final = 5.0
TIMEOUT_MIN: Final = 3.0
"""Time for a packet to be lost and sent again."""
TIMEOUT_MAX: Final = 10.0
"""As long as a dial may take (`NetConfig.dial_timeout`)."""
LATE_GROWTH: Final = 1.25
LATE_GROWTH_MAX: Final = 4.0


class Owner(Protocol):
    """Who sent a query, and hears what came of it: `late` at most once, then `replied` or `failed` exactly once."""

    def replied(self, call: "Call", message: Reply, now: float) -> None: ...
    def late(self, call: "Call", now: float) -> None: ...
    def failed(self, call: "Call", now: float) -> None: ...


@dataclass(slots=True)
class Call:
    """A query under way; `tag` is its owner's."""

    number: int
    contact: Contact
    message: Query
    owner: Owner
    tag: Any
    sent: float
    timeout: float


class Patience:
    """How long to wait before going on with somebody else. Seconds."""

    __slots__ = ("_deviation", "_growth", "_mean")

    def __init__(self) -> None:
        self._mean = 0.0
        self._deviation = 0.0
        self._growth = 1.0

    @property
    def seconds(self) -> float:
        estimate = self._mean + 4 * self._deviation if self._mean else PATIENCE_FIRST
        return min(max(estimate * self._growth, PATIENCE_MIN), PATIENCE_MAX)

    def answered(self, after: float) -> None:
        """A query was answered `after` seconds, late or not."""
        if not self._mean:
            self._mean, self._deviation = after, after / 2
        else:
            self._deviation += (abs(after - self._mean) - self._deviation) / 4
            self._mean += (after - self._mean) / 8
        self._growth = 1.0

    def late(self) -> None:
        self._growth = min(self._growth * LATE_GROWTH, LATE_GROWTH_MAX)


class Calls:
    """All queries under way. What is to be sent goes to `out`."""

    def __init__(self, out: list[Output]) -> None:
        self.patience = Patience()
        self._out = out
        self._calls: dict[int, Call] = {}
        self._deadlines: Deadlines[int] = Deadlines()
        self._next_number = 0

    def __len__(self) -> int:
        return len(self._calls)

    def send(self, owner: Owner, contact: Contact, message: Query, tag: Any, now: float) -> None:
        patience = self.patience.seconds
        timeout = min(max(TIMEOUT_MIN, 3 * patience), TIMEOUT_MAX)
        number = self._next_number
        self._next_number += 1
        self._calls[number] = Call(number, contact, message, owner, tag, now, timeout)
        self._deadlines.set(number, now + patience)
        self._out.append(SendQuery(number, contact, message, timeout))

    def answered(self, number: int, now: float) -> Call | None:
        """Takes out a query that was answered; `None` for one that is over."""
        call = self.taken(number)
        if call is not None:
            self.patience.answered(now - call.sent)
        return call

    def taken(self, number: int) -> Call | None:
        """Takes out a query, however it ended; `None` for one that is over."""
        self._deadlines.cancel(number)
        return self._calls.pop(number, None)

    def drained(self) -> list[Call]:
        """Takes out all."""
        calls = list(self._calls.values())
        self._calls.clear()
        self._deadlines.clear()
        return calls

    def next_deadline(self) -> float | None:
        return self._deadlines.next()

    def expired(self, now: float) -> Iterator[tuple[Call, bool]]:
        """Queries that have become late, with False, and those that have failed and are taken out, with True."""
        while (number := self._deadlines.pop(now)) is not None:
            call = self._calls[number]
            end = call.sent + call.timeout
            if end <= now:
                del self._calls[number]
                yield call, True
            else:
                self._deadlines.set(number, end)
                self.patience.late()
                yield call, False
