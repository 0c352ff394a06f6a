"""A work tree of 30,000 files: into an empty folder, and from one commit to another."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.couple import Node
from simulations.versus.git.clones import faster
from simulations.versus.git.corpus import Corpus, corpus, git
from simulations.versus.git.moves import within
from simulations.versus.git.servers import QUIET
from simulations.versus.git.sides import NAME, Offer, Team, run_git, settle, turn
from simulations.versus.inputs import Different
from simulations.versus.process import measure

FORGE, FILES, FIRST = "forge git checkout", "forge git checkout --no-git", "forge, the machine's first"
GIT = f"git checkout, checkout.workers={len(os.sched_getaffinity(0))}"
BEHIND = 4
"""Commits between the two of `again`: some ten files."""


class Checkouts:
    """What is checked out, and who does it: a node that has the repository, and git in a clone of its own."""

    def __init__(self, bench: Bench, made: Corpus, node: Node) -> None:
        self._bench = bench
        self._made = made
        self._node = node

    def forge(self, name: str, *words: str, cold: bool = False) -> Contender:
        """Into a folder that is not there yet. `cold`: without the hot pack."""
        work = self._bench.work / "work" / name.replace(" ", "-")

        def prepare() -> None:
            self._fresh(work)
            if cold:
                self._bench.fresh(str(self._hot.relative_to(self._bench.work)))
            elif not list(self._hot.glob("*/pack/*.idx")):
                raise Different("there is no hot pack")

        return Contender(
            name, lambda: self.run(self._made.tip, work, *words), prepare, lambda: self._check(work, self._made.tip)
        )

    def git(self) -> Contender:
        """In a clone that has everything but the work tree."""
        work = self._bench.work / "work" / "git"

        def prepare() -> None:
            self._fresh(work)
            git(self._made.path, "clone", "--quiet", "--no-checkout", self._made.path, work)

        return Contender(
            GIT, lambda: self.switch(self._made.tip, work), prepare, lambda: self._check(work, self._made.tip)
        )

    def to_and_fro(self, name: str, work: Path, move: Callable[[str, Path], Turn]) -> Contender:
        """In a work tree that is there, between two commits."""
        commits = [self._made.tip, git(self._made.path, "rev-parse", f"main~{BEHIND}")]
        where = cycle(reversed(commits))
        there = [commits[0]]

        def go() -> Turn:
            there[:] = [next(where)]
            return move(there[0], work)

        return Contender(name, go, check=lambda: self._check(work, there[0]))

    def run(self, commit: str, work: Path, *words: str) -> Turn:
        """`forge git checkout`."""
        command = self._node.words("git", "checkout", f"team/{NAME}", commit, work, *words)
        return turn(measure(command, environment=QUIET))

    def switch(self, commit: str, work: Path) -> Turn:
        """`git checkout`."""
        workers = GIT.rpartition(" ")[2]
        return turn(run_git(work, "-c", workers, "checkout", "--quiet", "--force", "--detach", commit))

    @property
    def _hot(self) -> Path:
        return self._node.forge.home / "cache" / "hot"

    def settle(self) -> None:
        """Until the hot pack is made that the last checkout has asked for."""
        settle(self._node.forge.home)

    def _fresh(self, work: Path) -> None:
        self.settle()
        work.parent.mkdir(exist_ok=True)
        self._bench.fresh(f"work/{work.name}")

    def _check(self, work: Path, commit: str) -> None:
        """Raises unless git finds the folder to be that commit."""
        index = self._bench.work / "check.index"
        index.unlink(missing_ok=True)
        words = ["--git-dir", str(self._made.path), "--work-tree", str(work)]
        environment = {**QUIET, "GIT_INDEX_FILE": str(index)}
        measure(["git", *words, "read-tree", commit], environment=environment)
        told = measure(["git", *words, "status", "--porcelain", "--no-renames"], environment=environment).output
        others = [line for line in told.splitlines() if line[1] != " " and line != "?? .git"]
        if others:
            raise Different(f"{work} is not {commit}: {others[:3]}")


@contextmanager
def checking_out(bench: Bench) -> Iterator[tuple[Checkouts, Corpus]]:
    """A node that has the repository, and has checked it out once."""
    made = corpus(bench.inputs, "wide")
    bench.fresh("served").mkdir()
    with Team.publishing(bench, Offer.create(bench.work / "served" / "project.git", made)) as team:
        checkouts = Checkouts(bench, made, team.guest())
        checkouts.run(made.tip, bench.fresh("first"))
        checkouts.settle()
        yield checkouts, made


@contextmanager
def empty(bench: Bench) -> Iterator[Trial]:
    """Into an empty folder."""
    with checking_out(bench) as (checkouts, made):
        yield Trial(
            [
                checkouts.forge(FORGE),
                checkouts.forge(FILES, "--no-git"),
                checkouts.forge(FIRST, cold=True),
                checkouts.git(),
            ],
            0,
            [Bar("2 times faster than git checkout with workers", faster(FORGE, GIT, 2))],
            f"{made.note} Forge makes the clone, too; git's is there before. But for the one that is called so, none "
            "of Forge's is the machine's first: the hot pack is there, which is made in the background after that.",
        )


@contextmanager
def again(bench: Bench) -> Iterator[Trial]:
    """After some ten files have changed."""
    with checking_out(bench) as (checkouts, made):
        ours, theirs, files = (bench.fresh(name) for name in ("ours", "theirs", "files"))
        checkouts.run(made.tip, ours)
        checkouts.run(made.tip, files, "--no-git")
        git(made.path, "clone", "--quiet", made.path, theirs)
        changed = git(made.path, "diff", "--name-only", f"main~{BEHIND}", "main").splitlines()
        yield Trial(
            [
                checkouts.to_and_fro(FORGE, ours, checkouts.run),
                checkouts.to_and_fro(FILES, files, lambda commit, work: checkouts.run(commit, work, "--no-git")),
                checkouts.to_and_fro(GIT, theirs, checkouts.switch),
            ],
            0,
            [Bar("0.3 s", within(FORGE, 0.3))],
            f"{made.note} {len(changed)} of them differ.",
        )


CASES = [
    Case("git_checkout", "`forge git checkout` into an empty folder", empty, 5),
    Case("git_checkout_again", "`forge git checkout` after some ten files have changed", again, 9),
]
