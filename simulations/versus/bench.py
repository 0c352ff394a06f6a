"""What a case is, and how its contenders take turns.

Every contender gets one untimed turn first, unless turns take minutes, which also brings the inputs into the page cache
for all of them. After that they take turns, in an order that rotates from round to round, each turn with a fresh
destination and after a `sync`, so that nobody writes back what another has left.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from simulations.versus.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Turn:
    """One measured turn. `figures` are what else was counted: bytes on the wire, peak memory."""

    seconds: float
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a case's job. `prepare` is not timed; `check` raises when the job was not done right."""

    name: str
    turn: Callable[[], Turn]
    prepare: Callable[[], None] = lambda: None
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Bar:
    """What issue or design asks for: a text, and whether the medians (seconds and figures by contender) reach it."""

    text: str
    reached: Callable[["Medians"], bool]


@dataclass(frozen=True, slots=True)
class Medians:
    """Median seconds and median figures by contender's name. The first contender is Forge."""

    seconds: dict[str, float]
    figures: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Trial:
    """A case made ready: its inputs are there, its services run."""

    contenders: Sequence[Contender]
    size: int = 0
    """Bytes a turn moves, for rates; 0 where a rate says nothing."""
    bars: Sequence[Bar] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """`open` gives the context in which the case can be run."""

    name: str
    title: str
    open: Callable[["Bench"], AbstractContextManager[Trial]]
    rounds: int = 5
    warm: bool = True
    """Whether each contender has a turn first that does not count. Not where a turn takes minutes."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a run works. `quick` asks for small inputs: the same code, no meaningful figures."""

    work: Path
    inputs: Inputs
    quick: bool
    say: Callable[[str], None]

    def fresh(self, name: str) -> Path:
        """A path below the work folder at which nothing exists."""
        path = self.work / name
        if path.is_dir() and not path.is_symlink():
            _remove(path)
        else:
            path.unlink(missing_ok=True)
        return path


def run_case(bench: Bench, case: Case, rounds: int) -> tuple[Trial, dict[str, list[Turn]]]:
    """Every contender's turns. Raises what a contender's check raises."""
    with case.open(bench) as trial:
        for contender in trial.contenders if case.warm else []:
            _turn(contender)
            contender.check()
        turns: dict[str, list[Turn]] = {contender.name: [] for contender in trial.contenders}
        for number in range(rounds):
            first = number % len(trial.contenders)
            for contender in [*trial.contenders[first:], *trial.contenders[:first]]:
                turn = _turn(contender)
                turns[contender.name].append(turn)
                if number == 0 and not case.warm:
                    contender.check()
                bench.say(f"  {case.name} {number + 1}/{rounds}  {contender.name}: {turn.seconds:.3f} s")
    return trial, turns


def _turn(contender: Contender) -> Turn:
    contender.prepare()
    os.sync()
    time.sleep(0.05)
    return contender.turn()


def _remove(path: Path) -> None:
    """Removes a folder in which what a measured command has left behind may still write for a moment, as the check of
    a clone does."""
    for _ in range(50):
        with suppress(OSError):
            shutil.rmtree(path)
            return
        time.sleep(0.2)
    shutil.rmtree(path)
