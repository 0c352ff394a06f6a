"""When a fetch gives up: some of what is wanted nobody has, and nobody has come with it for a while."""

import math

from forge_p2p.errors import NotFound
from forge_p2p.proto.swarm import Swarm


class Hope:
    """That of one fetch. `grace`: seconds for which what no peer has is waited for, in case that another comes."""

    def __init__(self, swarm: Swarm, grace: float) -> None:
        self.ends_at = math.inf
        """When to check at the latest; infinite while nothing is hopeless."""
        self._swarm = swarm
        self._grace = grace

    def check(self, now: float) -> None:
        """Raises `NotFound` when it is over."""
        lost = self._swarm.hopeless(now) if self._swarm.peers else []
        if not lost:
            self.ends_at = math.inf
            return
        self.ends_at = min(self.ends_at, now + self._grace)
        if now >= self.ends_at:
            who = "the peer does not have" if self._swarm.peers == 1 else "no peer has"
            raise NotFound(
                f"{who} {len(lost)} of the chunks, first {lost[0].hash.hex()[:16]}…",
                hint="the share may have been removed or its source damaged; ask for a new ticket",
            )
