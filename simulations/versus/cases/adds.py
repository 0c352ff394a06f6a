"""`forge add` beside `git add` and `restic backup`, each into an empty store of its own, and once more unchanged."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.inputs import MB
from simulations.versus.peers import Forge, program
from simulations.versus.process import Finished, measure

FORGE, GIT, RESTIC = "forge add", "git add", "restic backup"


def turn(finished: Finished) -> Turn:
    return Turn(finished.seconds, {"peak MB": finished.peak / MB, "cpu s": finished.cpu})


def disk(path: Path) -> float:
    """Bytes that everything below `path` takes on disk."""
    entries = (entry.lstat() for entry in path.rglob("*"))
    return float(sum(entry.st_blocks * 512 for entry in entries))


class Adding:
    """The three stores of one case and how they are filled. `again` keeps them between turns."""

    def __init__(self, bench: Bench, source: Path, *, again: bool = False) -> None:
        self.bench = bench
        self.source = source
        self.again = again
        self.forge = Forge(bench.work / "store.forge")
        self.git = bench.work / "store.git"
        self.restic = bench.work / "store.restic"

    def contenders(self) -> list[Contender]:
        return [
            Contender(FORGE, self._forge_turn, self._once(self._forge_forget)),
            Contender(GIT, self._git_turn, self._once(self._git_forget)),
            Contender(RESTIC, self._restic_turn, self._once(self._restic_forget)),
        ]

    def _once(self, forget: Callable[[], None]) -> Callable[[], None]:
        done: list[bool] = []

        def prepare() -> None:
            if not (self.again and done):
                forget()
                done.append(True)

        return prepare

    def _forge_forget(self) -> None:
        self.bench.fresh(self.forge.home.name)

    def _forge_turn(self) -> Turn:
        finished = measure(self.forge.command("--json", "add", self.source))
        assert json.loads(finished.output)["bytes"] > 0
        return self._with_disk(turn(finished), self.forge.home)

    def _git_forget(self) -> None:
        self.bench.fresh(self.git.name)
        measure([program("git"), "init", "--quiet", "--bare", self.git])

    def _git_turn(self) -> Turn:
        folder = self.source if self.source.is_dir() else self.source.parent
        finished = measure(
            [program("git"), "--git-dir", self.git, "--work-tree", folder, "add", "--all", "--force", "."],
            folder=folder,
        )
        return self._with_disk(turn(finished), self.git)

    def _restic_forget(self) -> None:
        self.bench.fresh(self.restic.name)
        self.bench.fresh("restic.cache")
        self._restic_run("init")

    def _restic_turn(self) -> Turn:
        return self._with_disk(turn(self._restic_run("backup", self.source)), self.restic)

    def _restic_run(self, *words: str | os.PathLike[str]) -> Finished:
        cache = self.bench.work / "restic.cache"
        return measure(
            [program("restic"), "--quiet", "--repo", self.restic, "--cache-dir", cache, *words],
            environment={"RESTIC_PASSWORD": "bench"},
        )

    def _with_disk(self, measured: Turn, path: Path) -> Turn:
        return Turn(measured.seconds, {**measured.figures, "disk MB": disk(path) / MB})


@contextmanager
def big(bench: Bench) -> Iterator[Trial]:
    """One large incompressible file."""
    source = bench.inputs.big
    size = source.stat().st_size
    bar = Bar("600 MB/s", lambda medians: size / medians.seconds[FORGE] >= 600 * MB)
    yield Trial(Adding(bench, source).contenders(), size, [bar])


@contextmanager
def tree(bench: Bench) -> Iterator[Trial]:
    """Many files."""
    source = bench.inputs.tree
    bars = [
        Bar("2 times faster than git add", lambda medians: 2 * medians.seconds[FORGE] <= medians.seconds[GIT]),
        Bar("faster than restic backup", lambda medians: medians.seconds[FORGE] < medians.seconds[RESTIC]),
    ]
    note = (
        f"{source.files:,} files, {source.bytes / MB:.0f} MB. git runs with its default settings, which compress each "
        "file by zlib; restic compresses by zstd and encrypts."
    )
    yield Trial(Adding(bench, source.path).contenders(), source.bytes, bars, note)


@contextmanager
def tree_again(bench: Bench) -> Iterator[Trial]:
    """The same tree into the same stores."""
    bar = Bar("under 0.5 s", lambda medians: medians.seconds[FORGE] < 0.5)
    yield Trial(Adding(bench, bench.inputs.tree.path, again=True).contenders(), 0, [bar])


CASES = [
    Case("add_big", "`forge add` of 1 GB incompressible", big, 5),
    Case("add_tree", "`forge add` of the tree", tree, 5),
    Case("add_tree_again", "`forge add` of the tree again, unchanged", tree_again, 9),
]
