"""How busy this machine's processors are: all hosts share them, and whoever else works here disturbs."""

import time
from pathlib import Path

IDLE, WAITING = 3, 4
"""Columns of /proc/stat, proc(5)."""


class Busy:
    """Counts from its making on."""

    def __init__(self) -> None:
        self._idle, self._total = _ticks()

    def share(self) -> float:
        """Of all processors' time since then, what was not idle."""
        idle, total = _ticks()
        return 1.0 - (idle - self._idle) / max(1, total - self._total)

    @classmethod
    def during(cls, seconds: float) -> float:
        """The share during the next `seconds`."""
        busy = cls()
        time.sleep(seconds)
        return busy.share()


def _ticks() -> tuple[int, int]:
    line = Path("/proc/stat").read_text("utf-8").partition("\n")[0]
    ticks = [int(word) for word in line.split()[1:9]]
    return ticks[IDLE] + ticks[WAITING], sum(ticks)
