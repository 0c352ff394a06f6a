"""An event loop's selector that keeps its thread to a small share of the processor.

zeroconf looks at every packet of the LAN's port 5353, whoever sends it, with the interpreter lock that the node's own
thread needs as well. Under a flood this selector lets the thread pause, the packets wait in the kernel's buffer, and
what does not fit there is lost, as it may be on any network.
"""

import selectors
import time

SHARE = 0.1
"""Of one processor, in the long run."""

BURST = 1.0
"""Seconds of processor time that may be used at once after a quiet time: some 5000 packets."""

_LONGEST_PAUSE = 0.25
"""Seconds, so that the loop can be stopped meanwhile."""


class PacedSelector(selectors.DefaultSelector):
    """For one loop in one thread; made in that thread."""

    def __init__(self) -> None:
        super().__init__()
        self._allowance = BURST
        self._seen = time.monotonic()
        self._used = time.thread_time()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As its parent's, after a pause if the thread has had its share."""
        now, used = time.monotonic(), time.thread_time()
        earned = (now - self._seen) * SHARE - (used - self._used)
        self._allowance = min(BURST, self._allowance + earned)
        self._seen, self._used = now, used
        if self._allowance < 0:
            time.sleep(min(-self._allowance / SHARE, _LONGEST_PAUSE))
        return super().select(timeout)
