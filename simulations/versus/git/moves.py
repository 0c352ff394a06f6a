"""What comes after the clone: fetching ten new commits, pushing one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from simulations.versus.bench import Bar, Bench, Case, Contender, Medians, Trial
from simulations.versus.git.clones import faster
from simulations.versus.git.corpus import NEWEST, Corpus, corpus, git
from simulations.versus.git.sides import URL, Offer, Team, run_git, servers, turn
from simulations.versus.inputs import Different
from simulations.versus.process import Finished

FORGE, GIT, HTTP = "forge://", "git://", "http://"
COUNTED = (
    "Processor time is that of git and its children: neither what a server does nor what a node and its standby do."
)
TURNS = 16
"""Turns that a repository has commits for, the one that does not count included."""


class Following:
    """A clone, and an offer that moves on: before each turn when it is fetched, in it when it is pushed to."""

    def __init__(self, bench: Bench, name: str, offer: Offer, url: str, team: Team | None = None) -> None:
        self.name = name
        self._offer = offer
        self._copy = bench.fresh(f"copy-{name.rstrip(':/')}")
        self._team = team
        self._node = team.guest() if team else None
        run_git(bench.work, "clone", "--quiet", url, self._copy, node=self._node)

    def _run(self, *words: str) -> Finished:
        return run_git(self._copy, *words, node=self._node)

    def fetching(self) -> Contender:
        """Ten commits more each time."""

        def prepare() -> None:
            self._offer.move(NEWEST)
            if self._team:
                self._team.publish()

        return Contender(
            self.name, lambda: turn(self._run("fetch", "--quiet")), prepare, lambda: self._check("origin/main")
        )

    def pushing(self) -> Contender:
        """One commit more each time."""

        def prepare() -> None:
            (self._copy / "pushed.txt").write_text(os.urandom(64).hex() + "\n")
            self._run("add", "pushed.txt")
            self._run("commit", "--quiet", "--message", "One more")

        words = ("push", "--quiet", "origin", "HEAD:main")
        return Contender(self.name, lambda: turn(self._run(*words)), prepare, lambda: self._check("HEAD"))

    def _check(self, revision: str) -> None:
        """Raises unless the other side's `main` is what the clone has as `revision`."""
        there = self._run("ls-remote", "origin", "refs/heads/main").output.split()[0]
        if git(self._copy, "rev-parse", revision) != there:
            raise Different(f"{self.name}: {revision} of {self._copy} is not {there}")


@contextmanager
def offered(bench: Bench, made: Corpus, back: int) -> Iterator[list[Following]]:
    """Three offers of one repository, each with a clone: Forge's, git://'s, http's."""
    bench.fresh("served").mkdir()
    offers = [Offer.create(bench.work / "served" / f"{name}.git", made, back) for name in ("forge", "git", "http")]
    with servers(bench, *offers) as (plain, web), Team.publishing(bench, offers[0]) as team:
        yield [
            Following(bench, FORGE, offers[0], URL, team),
            Following(bench, GIT, offers[1], f"{plain}{offers[1].path.name}"),
            Following(bench, HTTP, offers[2], f"{web}{offers[2].path.name}"),
        ]


def within(name: str, seconds: float) -> Callable[[Medians], bool]:
    """Whether a contender takes at most so long."""
    return lambda medians: medians.seconds[name] <= seconds


@contextmanager
def fetch(bench: Bench, size: str) -> Iterator[Trial]:
    """Ten commits that somebody else has published."""
    made = corpus(bench.inputs, size)
    commits = int(git(made.path, "rev-list", "--count", "main"))
    with offered(bench, made, NEWEST * min(TURNS, (commits - 1) // NEWEST)) as followings:
        yield Trial(
            [each.fetching() for each in followings],
            0,
            [
                Bar("5 times faster than git://", faster(FORGE, GIT, 5)),
                Bar("5 times faster than http://", faster(FORGE, HTTP, 5)),
                Bar("under 150 ms", within(FORGE, 0.150)),
            ],
            f"{made.note} {COUNTED}",
        )


@contextmanager
def push(bench: Bench, size: str) -> Iterator[Trial]:
    """One commit that changes one file."""
    made = corpus(bench.inputs, size)
    with offered(bench, made, 0) as followings:
        yield Trial(
            [each.pushing() for each in followings],
            0,
            [
                Bar("5 times faster than http://", faster(FORGE, HTTP, 5)),
                Bar("under 200 ms", within(FORGE, 0.200)),
            ],
            f"{made.note} {COUNTED}",
        )


CASES = [
    Case("git_fetch", "`git fetch` of ten new commits", partial(fetch, size="mid"), 9),
    Case("git_push", "`git push` of one commit", partial(push, size="mid"), 9),
]
