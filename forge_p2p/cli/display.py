"""How progress looks: one line a phase, with what is known of it and nothing else. Imports rich, so imported late."""

import sys

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from forge_p2p.cli.units import format_duration, format_size
from forge_p2p.node.results import Progress

WORDS = {
    "scan": "Scanning",
    "ingest": "Adding",
    "connect": "Connecting",
    "fetch": "Fetching",
    "restore": "Writing",
    "publish": "Publishing",
    "hand-over": "Handing over",
    "verify": "Verifying",
    "collect": "Collecting",
    "rebuild": "Rebuilding",
}


class Display:
    """The drawing on standard error. Not safe to call from two threads at once."""

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<10}"), BarColumn(bar_width=30), Figures(), console=Console(file=sys.stderr)
        )
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def show(self, progress: Progress) -> None:
        """Draws the state of one phase. A phase of unknown length is over when another one goes on."""
        task = self._tasks.get(progress.phase)
        if task is None:
            self._finish_unknown()
            task = self._bars.add_task(WORDS.get(progress.phase, progress.phase), total=None, progress=progress)
            self._tasks[progress.phase] = task
        self._bars.update(task, completed=progress.done, total=progress.total, progress=progress)

    def stop(self) -> None:
        """Leaves the last state standing."""
        self._finish_unknown()
        self._bars.stop()

    def _finish_unknown(self) -> None:
        for task in self._bars.tasks:
            if task.total is None:
                self._bars.update(task.id, total=max(task.completed, 1), completed=max(task.completed, 1))


class Figures(ProgressColumn):
    """ "6.9 MB of 23.4 MB, 147.1 MB/s, 2.1 s left, 512 of 3,670 files"."""

    def render(self, task: Task) -> Text:
        progress: Progress = task.fields["progress"]
        return Text(", ".join(part for part in (*_amount(progress), *_pace(task), *_items(progress)) if part))


def _amount(progress: Progress) -> list[str]:
    if progress.total:
        return [f"{format_size(progress.done)} of {format_size(progress.total)}"]
    return [format_size(progress.done)] if progress.done else []


def _pace(task: Task) -> list[str]:
    if not task.speed or not task.total or task.finished:
        return []
    left = [f"{format_duration(task.remaining / task.speed)} left"] if task.remaining else []
    return [f"{format_size(task.speed)}/s", *left]


def _items(progress: Progress) -> list[str]:
    if progress.items_total:
        return [f"{progress.items:,} of {progress.items_total:,} files", progress.note]
    return [f"{progress.items:,} files" if progress.items else "", progress.note]
