"""Folders that are kept the same: how long an edit takes, and the first time."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from simulations.versus import syncthing, versions
from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.couple import NAME, Couple
from simulations.versus.inputs import check_same
from simulations.versus.process import Service
from simulations.versus.syncthing import until, within

WATCH, SYNCTHING, EAGER = "forge sync --watch", "syncthing", "syncthing, fsWatcherDelayS=1"
SYNC = "forge sync"
FILES, MANY = 300, 10_000
"""In the folder that is watched."""

FIRST_MAX = 300.0
"""Seconds after which a first sync of Syncthing's is left, and counts as having taken so long."""

CALM = 1.0
"""Seconds between what one edit causes and the next edit."""


@contextmanager
def watch(bench: Bench, files: int = FILES) -> Iterator[Trial]:
    """Each contender has two folders of its own; each turn edits one file in the first."""
    with ExitStack() as opened:
        files = FILES if bench.quick else files
        folders = {
            name: _folders(bench, place, files) for name, place in ((WATCH, "f"), (SYNCTHING, "s"), (EAGER, "e"))
        }
        opened.enter_context(_forge_watching(bench, *folders[WATCH]))
        for name, delay in ((SYNCTHING, 1 if bench.quick else syncthing.DELAY), (EAGER, 1)):
            pair = syncthing.pair(bench.fresh(f"{folders[name][0].name}.instances"), *folders[name], delay)
            for each in opened.enter_context(pair):
                each.unpause()
        for _, there in folders.values():
            until(_filled(there, files))
        yield Trial(
            [Contender(name, _edit(*folders[name]), lambda: time.sleep(CALM)) for name in folders],
            bars=[
                Bar("1 s", lambda medians: medians.seconds[WATCH] <= 1),
                Bar(
                    "5 times faster than Syncthing",
                    lambda medians: 5 * medians.seconds[WATCH] <= medians.seconds[SYNCTHING],
                ),
            ],
            note=f"{files:,} files. Syncthing lets {syncthing.DELAY} s pass by default before it looks at changes.",
        )


class FirstSyncs:
    """From a full folder that nobody has looked at and an empty one to two equal ones, with both sides connected. The
    full one is copied anew for each turn, so that neither contender finds traces of the other, and nothing is removed
    before the end: a file system without a journal makes files five times slower for minutes after that."""

    def __init__(self, bench: Bench, opened: ExitStack) -> None:
        self._bench = bench
        self._opened = opened.enter_context(ExitStack())
        self._source = versions.text(bench.inputs).new if bench.quick else bench.inputs.tree.path
        self.files = sum(1 for entry in self._source.rglob("*") if entry.is_symlink() or entry.is_file())
        self._turns = 0
        self._here = self._there = self._place = bench.work
        self._couple: Couple | None = None
        self._pair: tuple[syncthing.Instance, syncthing.Instance] | None = None
        self._arrived = 0

    def forge(self) -> Contender:
        """One side after the other, once each."""
        return Contender(SYNC, self._sync, self._meet, lambda: check_same(self._here, self._there))

    def syncthing(self) -> Contender:
        """Until the empty side says that it has all, or too long."""
        return Contender(SYNCTHING, self._unpause, self._pause, self._check_all)

    def _clear(self) -> None:
        self._opened.close()
        self._turns += 1
        self._place = self._bench.fresh(f"sync.{self._turns}")
        self._place.mkdir()
        self._here, self._there = self._place / "here", self._place / "there"
        shutil.copytree(self._source, self._here, symlinks=True)
        self._there.mkdir()

    def _meet(self) -> None:
        self._clear()
        self._couple = self._opened.enter_context(Couple.meeting(self._place / "couple"))
        self._opened.enter_context(self._couple.there.up())

    def _sync(self) -> Turn:
        assert self._couple is not None
        sent = self._couple.here.run("sync", NAME, self._here)
        received = self._couple.there.run("sync", NAME, self._there)
        return Turn(sent.seconds + received.seconds, {"files": self.files})

    def _pause(self) -> None:
        self._clear()
        pair = syncthing.pair(self._place / "syncthing", self._here, self._there)
        self._pair = self._opened.enter_context(pair)

    def _unpause(self) -> Turn:
        assert self._pair is not None
        begin = time.monotonic()
        for each in self._pair:
            each.unpause()
        there = self._pair[1]
        within(FIRST_MAX, lambda: there.has_all(self.files), 0.2)
        self._arrived = there.count()
        return Turn(time.monotonic() - begin, {"files": self._arrived})

    def _check_all(self) -> None:
        if self._arrived == self.files:
            check_same(self._here, self._there)


@contextmanager
def first(bench: Bench) -> Iterator[Trial]:
    """The first time."""
    with ExitStack() as opened:
        syncs = FirstSyncs(bench, opened)
        yield Trial(
            [syncs.forge(), syncs.syncthing()],
            bars=[
                Bar(
                    "10 times faster than Syncthing",
                    lambda medians: 10 * medians.seconds[SYNC] <= medians.seconds[SYNCTHING],
                )
            ],
            note=f"{syncs.files:,} files. No turn went before. "
            f"Syncthing is left after {FIRST_MAX:.0f} s with what it has.",
        )


def _folders(bench: Bench, name: str, files: int) -> tuple[Path, Path]:
    """A folder with so many small files, and an empty one."""
    here, there = bench.fresh(f"{name}.here"), bench.fresh(f"{name}.there")
    here.mkdir()
    there.mkdir()
    for number in range(files):
        (here / f"file{number}").write_text(f"{number}\n" * 1000)
    return here, there


@contextmanager
def _forge_watching(bench: Bench, here: Path, there: Path) -> Iterator[None]:
    with (
        Couple.meeting(bench.fresh("couple")) as couple,
        couple.there.up(),
        Service(couple.here.words("sync", NAME, here, "--watch")) as first,
    ):
        first.last_line()
        with Service(couple.there.words("sync", NAME, there, "--watch")) as second:
            second.last_line()
            yield


def _filled(there: Path, files: int) -> Callable[[], bool]:
    """Whether all files have arrived."""
    return lambda: all((there / f"file{number}").exists() for number in range(files))


def _edit(here: Path, there: Path) -> Callable[[], Turn]:
    """Writes a file anew and waits until its content is in the other folder."""
    numbers = iter(range(1, FILES))

    def turn() -> Turn:
        number = next(numbers)
        text = f"edited {number}\n" * 1000
        begin = time.monotonic()
        (here / f"file{number}").write_text(text)
        until(lambda: _text(there / f"file{number}") == text, 0.002)
        return Turn(time.monotonic() - begin)

    return turn


def _text(file: Path) -> str:
    """Of a file that may be absent for a moment."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


CASES = [
    Case("watch_edit", "An edit on one side, until it is in the other's folder", watch, 3),
    Case("watch_edit_many", "An edit among 10,000 files", partial(watch, files=MANY), 3),
    Case("first_sync", "First sync of a folder, 32,000 files, 534 MB", first, 1, warm=False),
]
