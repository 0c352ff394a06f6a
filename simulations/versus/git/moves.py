"""What comes after the clone: fetching ten new commits, pushing one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from simulations.versus.bench import Bar, Bench, Case, Medians, Trial
from simulations.versus.git.clones import faster
from simulations.versus.git.corpus import NEWEST, Corpus, corpus, git
from simulations.versus.git.floor import Floor
from simulations.versus.git.following import Following
from simulations.versus.git.sides import URL, Offer, Team, servers

FORGE, GIT, HTTP = "forge://", "git://", "http://"
COUNTED = (
    "Processor time is that of git and its children: neither what a server does nor what a node and its standby do. "
    "The helper that does nothing is a script that answers at once, with all in place: what git takes for itself."
)
TURNS = 16
"""Turns that a repository has commits for, the one that does not count included."""


@contextmanager
def offered(bench: Bench, made: Corpus, back: int) -> Iterator[list[Following]]:
    """Offers of one repository, each with a clone: Forge's, git://'s, http's, and one that nobody serves."""
    bench.fresh("served").mkdir()
    names = ("forge", "git", "http", "nothing")
    offers = [Offer.create(bench.work / "served" / f"{name}.git", made, back) for name in names]
    with servers(bench, *offers) as (plain, web), Team.publishing(bench, offers[0]) as team:
        yield [
            Following(bench, FORGE, offers[0], URL, team),
            Following(bench, GIT, offers[1], f"{plain}{offers[1].path.name}"),
            Following(bench, HTTP, offers[2], f"{web}{offers[2].path.name}"),
            Floor(bench, offers[3]),
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
