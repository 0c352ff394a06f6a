"""The progress bar: on standard error, on a terminal, and only for what takes long enough to be watched."""

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from forge_p2p.cli.settings import Settings
from forge_p2p.node.results import Progress

if TYPE_CHECKING:
    from forge_p2p.cli.display import Display

PATIENCE = 0.2
"""Seconds before anything is drawn. A command that ends sooner does not pay for importing rich either (40 ms)."""


class ProgressBar:
    """Shows the `Progress` it is called with, from any thread, one line a phase; leaving its context ends it."""

    def __init__(self, settings: Settings) -> None:
        self.watched = not settings.quiet and sys.stderr.isatty()
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._display: Display | None = None

    def __call__(self, progress: Progress) -> None:
        if not self.watched or time.monotonic() - self._start < PATIENCE:
            return
        with self._lock:
            if not self.watched:
                return
            if self._display is None:
                from forge_p2p.cli.display import Display

                self._display = Display()
            self._display.show(progress)

    def close(self) -> None:
        """Leaves the last state on the terminal, below which results are printed."""
        with self._lock:
            self.watched = False
            display, self._display = self._display, None
        if display is not None:
            display.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
