"""How long a reader waits for the home of a name, where what is known elsewhere will do."""

from typing import Final

from forge_p2p.ids import NodeId

FIRST: Final = 3.0
"""Seconds: a handshake takes two round trips, to find a home that has moved some more, and each may be lost once."""

KNOWN_AWAY: Final = 0.5
"""Seconds for a home that was waited for in vain within the last `BELIEVED`: it takes no longer if it is back."""

BELIEVED: Final = 60.0


class Patience:
    """Remembers which homes were waited for in vain. Times in seconds of any one clock."""

    def __init__(self) -> None:
        self._missed: dict[NodeId, float] = {}

    def for_home(self, home: NodeId, now: float) -> float:
        """Seconds to wait for it."""
        missed = self._missed.get(home)
        return FIRST if missed is None or now - missed >= BELIEVED else KNOWN_AWAY

    def missed(self, home: NodeId, waited: float, now: float) -> None:
        """It was not reached by who would have `waited` so long. Only of the whole patience is that believed: otherwise
        who asks often would never wait long enough for a home that is slow."""
        if waited >= FIRST:
            self._missed = {each: when for each, when in self._missed.items() if now - when < BELIEVED}
            self._missed[home] = now

    def reached(self, home: NodeId) -> None:
        """It is there."""
        self._missed.pop(home, None)
