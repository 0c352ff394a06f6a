"""Processes that are kept running: started again when they end, after a pause that grows, and ended in order."""

import asyncio
import ctypes
import logging
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

LOG = logging.getLogger("forge.seed")

PAUSE_FIRST, PAUSE_MAX = 0.5, 30.0
"""Seconds until a child that ended is started again, doubled each time."""

STEADY: Final = 60.0
"""Seconds after which a child counts as running well, and its pause is the first again."""

_PR_SET_PDEATHSIG: Final = 1
_LIBC = ctypes.CDLL(None)


class Child:
    """A program with its arguments, run by this Python. `grace`: seconds that it has for ending."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], grace: float) -> None:
        self.name = name
        self._words = [sys.executable, "-m", module, *arguments]
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keeps it running until `stop`."""
        pause = PAUSE_FIRST
        while not self._stopping.is_set():
            started = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                *self._words, stdin=asyncio.subprocess.DEVNULL, preexec_fn=die_with_parent
            )
            LOG.info("%s: process %d", self.name, self._process.pid)
            code = await self._process.wait()
            if self._stopping.is_set():
                return
            pause = PAUSE_FIRST if time.monotonic() - started > STEADY else pause
            LOG.error("%s ended with %d; it is started again in %.1f s", self.name, code, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX)

    async def stop(self) -> None:
        """Asks it to end, waits, and ends it."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._grace):
                await process.wait()
        except TimeoutError:
            LOG.error("%s did not end within %.0f s and was killed", self.name, self._grace)
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def die_with_parent() -> None:
    """Between fork and exec: if whoever looks after the child is killed, the child is asked to end, so that the next
    one finds the folder free."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
