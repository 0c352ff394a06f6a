"""The progress bar: on standard error, on a terminal, and only for what takes long enough to be watched."""

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from forge_p2p.cli.settings import Settings
from forge_p2p.node.results import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Display
    from rich.progress import TaskID

PATIENCE = 0.2
"""Seconds before anything is drawn. A command that ends sooner does not pay for importing rich either (40 ms)."""

WORDS = {
    "scan": "Scanning",
    "ingest": "Adding",
    "connect": "Connecting",
    "fetch": "Fetching",
    "restore": "Writing",
    "verify": "Verifying",
    "collect": "Collecting",
    "rebuild": "Rebuilding",
}


class ProgressBar:
    """Shows the `Progress` it is called with, from any thread, one line a phase; leaving its context ends it."""

    def __init__(self, settings: Settings) -> None:
        self.watched = not settings.quiet and sys.stderr.isatty()
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._display: Display | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        if not self.watched or time.monotonic() - self._start < PATIENCE:
            return
        with self._lock:
            self._show(progress)

    def _show(self, progress: Progress) -> None:
        if self._display is None:
            self._display = _new_display()
            self._display.start()
        task = self._tasks.get(progress.phase)
        if task is None:
            task = self._display.add_task(WORDS.get(progress.phase, progress.phase), total=None, items="")
            self._tasks[progress.phase] = task
        self._display.update(task, completed=progress.done, total=progress.total, items=_items(progress))

    def close(self) -> None:
        """Leaves the last state on the terminal, below which results are printed."""
        with self._lock:
            self.watched = False
            if self._display is not None:
                self._display.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _items(progress: Progress) -> str:
    """ "120/4,000 files", or the note, or both."""
    count = f"{progress.items:,}" if progress.items or progress.items_total else ""
    if progress.items_total:
        count += f"/{progress.items_total:,}"
    return "  ".join(part for part in (f"{count} files" if count else "", progress.note) if part)


def _new_display() -> "Display":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Display

    return Display(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[items]}", markup=False),
        console=Console(file=sys.stderr),
    )
