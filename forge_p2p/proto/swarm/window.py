"""How much may be asked for: the bytes that are under way or in memory, and bounds that follow the disk and the path.

While what arrives is stored at once the window grows, up to what a long path needs; where it piles up it shrinks, for
all of that is lost if the process is killed.

Of a peer that is alone, no more is under way than comes within one and a half times its delay and a few milliseconds:
enough that it never waits, and no queue in between, which would be lost with the process and sent once more. It is
found by trying, as delay-based congestion control does (L. Brakmo and L. Peterson, "TCP Vegas", 1995): a request that
is answered within that time, and finds most of what came before stored, lets more be under way, any other less. The few
milliseconds are allowed bit by bit as content comes. But a
two-hundredth of what has come in this process may always be under way: to lose that is no loss, larger requests cost
less, and where delays vary too much to tell anything by them the window is wide before long.
"""

from math import inf

from forge_p2p.proto.swarm.base import MIB, SwarmLimits

_HARMLESS = 200


class Window:
    """Raw bytes asked for or received and not yet written, against their bound."""

    __slots__ = ("_allowed", "_backlog", "_brought", "_delay", "_flight", "_least", "_limits", "_size", "unwritten")

    def __init__(self, limits: SwarmLimits) -> None:
        self._limits = limits
        self._least = min(limits.window, limits.narrowest)
        self._size = self._least
        self._backlog = 0
        self._brought = 0
        self._flight = min(limits.window, limits.flight_least)
        self._delay = inf
        self._allowed = limits.backlog
        self.unwritten = 0

    def widen(self) -> None:
        """A bucket is among the sources: what comes from it comes in ranges of megabytes, several at once, and is as
        quickly asked for again."""
        self._allowed = max(self._allowed, self._limits.backlog_edge)
        self._least = min(self._limits.window, max(self._least, self._limits.narrowest_edge))
        self._size = max(self._size, self._least)

    @property
    def full(self) -> bool:
        """Whether no more may be asked for."""
        return self.unwritten >= self._size

    @property
    def share(self) -> int:
        """The most bytes of one request."""
        return min(self._limits.request_bytes, max(self._size // 4, MIB))

    def free_alone(self, outstanding: int) -> int:
        """The most bytes of one request to a peer that is alone and owes `outstanding`: half of what may be under way,
        and nothing until so much is free."""
        harmless = min(self._brought // _HARMLESS, self._limits.flight_enough)
        flight = min(max(self._flight, harmless), self._limits.window)
        part = min(flight // 2, self._limits.request_bytes)
        return part if outstanding + self._backlog + part <= flight else 0

    def begun(self, age: float) -> None:
        """A request's first bytes came so long after it."""
        self._delay = min(self._delay, age)

    def answered(self, size: int, age: float) -> None:
        """A request of `size` bytes was answered in full so long after it."""
        limits = self._limits
        margin = limits.flight_margin * min(1.0, self._brought / limits.flight_ramp)
        prompt = age <= 1.5 * self._delay + margin
        if prompt and self._backlog <= self._flight * 3 // 4:
            self._flight = min(self._flight + size // 2, limits.window)
        else:
            least = min(limits.window, limits.flight_least)
            self._flight = max(self._flight - size // 2, least)

    def received(self, size: int) -> None:
        """So much of what was asked for is in memory."""
        self._backlog += size
        self._brought += size

    def stored(self, size: int) -> None:
        """`size` raw bytes of what was received would outlive the process."""
        self._backlog -= size
        if self._backlog > self._allowed:
            self._size = max(self._size - size, self._least)
        elif self._backlog < self._allowed // 2:
            self._size = min(self._size + size, self._limits.window)
