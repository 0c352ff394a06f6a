"""What the log says of those who were sent away: each with the reason, and not more than a disk can bear."""

import logging
import time
from typing import Final

from forge_p2p.ids import NodeId
from forge_p2p.proto.timers import TokenBucket

LOG = logging.getLogger("forge")

RATE: Final = 1.0
BURST: Final = 200.0
"""Lines a second: strangers can call as often as they like, and a line each would fill a disk."""


class RefusalLog:
    """Called from any thread; lines that are left out are counted."""

    def __init__(self) -> None:
        self._lines = TokenBucket.full(RATE, BURST)
        self._left_out = 0

    def note(self, client_id: NodeId, reason: str) -> None:
        """Says why a client was refused."""
        if not self._lines.try_take(1.0, time.monotonic()):
            self._left_out += 1
            return
        more = f" (and {self._left_out} others were since the last line)" if self._left_out else ""
        self._left_out = 0
        LOG.warning("refused %s: %s%s", client_id.hex()[:16], reason, more)
