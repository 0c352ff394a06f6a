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


@contextmanager
def first(bench: Bench) -> Iterator[Trial]:
    """From a full folder that nobody has looked at and an empty one to two equal ones, with both sides connected."""
    source = versions.text(bench.inputs).new if bench.quick else bench.inputs.tree.path
    files = sum(1 for entry in source.rglob("*") if entry.is_symlink() or entry.is_file())
    here, there = bench.work / "sync.here", bench.work / "sync.there"
    with ExitStack() as service:

        def clear() -> None:
            """The copy is made anew as well, so that neither finds traces of the other."""
            service.close()
            shutil.copytree(source, bench.fresh(here.name), symlinks=True)
            bench.fresh(there.name).mkdir()

        def forge_ready() -> None:
            clear()
            couples.append(service.enter_context(Couple.meeting(bench.fresh("couple"))))
            service.enter_context(couples[-1].there.up())

        def syncthing_ready() -> None:
            clear()
            pairs.append(service.enter_context(syncthing.pair(bench.fresh("syncthing"), here, there)))

        def forge() -> Turn:
            sent, received = couples[-1].here.run("sync", NAME, here), couples[-1].there.run("sync", NAME, there)
            return Turn(sent.seconds + received.seconds, {"files": files})

        def other() -> Turn:
            begin = time.monotonic()
            for each in pairs[-1]:
                each.unpause()
            within(FIRST_MAX, lambda: pairs[-1][1].has_all(files), 0.2)
            arrived.append(pairs[-1][1].count())
            return Turn(time.monotonic() - begin, {"files": arrived[-1]})

        def check_other() -> None:
            if arrived[-1] == files:
                check_same(here, there)

        couples: list[Couple] = []
        pairs: list[tuple[syncthing.Instance, syncthing.Instance]] = []
        arrived: list[int] = []
        yield Trial(
            [
                Contender(SYNC, forge, forge_ready, lambda: check_same(here, there)),
                Contender(SYNCTHING, other, syncthing_ready, check_other),
            ],
            bars=[
                Bar(
                    "10 times faster than Syncthing",
                    lambda medians: 10 * medians.seconds[SYNC] <= medians.seconds[SYNCTHING],
                )
            ],
            note=f"{files:,} files. No turn went before. Syncthing is left after {FIRST_MAX:.0f} s with what it has.",
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
