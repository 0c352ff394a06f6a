"""When what has come is acknowledged: with what it makes this side say, if that follows soon. An acknowledgement by
itself is 33 bytes, as many as most frames."""

import math

from forge_p2p.net.engine import EngineConnection

ANSWER_WAIT = 0.015
"""Seconds. A peer expects acknowledgements within `engine.MAX_ACK_DELAY` (RFC 9000, section 18.2)."""
FIRST_ANSWER_WAIT = 0.002
"""Right after the handshake qh3's first probe for what is not acknowledged goes out after less: measured on loopback,
at 4 ms it does, at 2 ms not."""
NEW = 1.0
"""Seconds for which that holds."""
ANSWER_BYTES = 1200
"""Of what has come at once, or is on its way to the peer: more is part of something long, whose sender waits for
acknowledgements."""


class Answers:
    """What one connection has still to acknowledge. `owed`: bytes that have come since this side last said anything;
    `due`: until when that may wait."""

    __slots__ = ("_patient_from", "due", "owed")

    def __init__(self) -> None:
        self.owed = 0
        self.due = math.inf
        self._patient_from = math.inf

    def established(self, now: float) -> None:
        """The handshake is complete; before, nothing waits."""
        self._patient_from = now + NEW

    def given(self) -> None:
        """All there is to say is being said."""
        self.owed, self.due = 0, math.inf

    def may_wait(self, engine: EngineConnection, now: float, *, reading: bool) -> bool:
        """Whether what there is to say may go with what is said next: by `due`, or whenever that is, where something
        came (`reading`) that needs no answer, as the acknowledgement of what was said last."""
        if self._patient_from == math.inf or self.owed >= ANSWER_BYTES:
            return False
        is_new, on_its_way = now < self._patient_from, engine.unsent()
        if on_its_way >= (1 if is_new else ANSWER_BYTES):
            return False
        if not reading or on_its_way or engine.owes(now):
            self.due = min(self.due, now + (FIRST_ANSWER_WAIT if is_new else ANSWER_WAIT))
        return True
