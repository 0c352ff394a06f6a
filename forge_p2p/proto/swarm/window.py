"""How much may be asked for: the bytes that are under way or in memory, and a bound that follows the disk.

While what arrives is stored at once the window grows, up to what a long path needs; where it piles up it shrinks, for
all of that is lost if the process is killed.
"""

from forge_p2p.proto.swarm.base import MIB, SwarmLimits


class Window:
    """Raw bytes asked for or received and not yet written, against their bound."""

    __slots__ = ("_backlog", "_least", "_limits", "_size", "unwritten")

    def __init__(self, limits: SwarmLimits) -> None:
        self._limits = limits
        self._least = min(limits.window, limits.narrowest)
        self._size = self._least
        self._backlog = 0
        self.unwritten = 0

    @property
    def full(self) -> bool:
        """Whether no more may be asked for."""
        return self.unwritten >= self._size

    @property
    def share(self) -> int:
        """The most bytes of one request."""
        return min(self._limits.request_bytes, max(self._size // 4, MIB))

    def received(self, size: int) -> None:
        """So much of what was asked for is in memory."""
        self._backlog += size

    def stored(self, size: int) -> None:
        """`size` raw bytes of what was received would outlive the process."""
        self._backlog -= size
        if self._backlog > self._limits.backlog:
            self._size = max(self._size - size, self._least)
        elif self._backlog < self._limits.backlog // 2:
            self._size = min(self._size + size, self._limits.window)
