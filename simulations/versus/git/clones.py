"""Cloning: from one peer that has it, and on a machine that has it already."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from simulations.versus.bench import Bar, Bench, Case, Contender, Medians, Trial, Turn
from simulations.versus.couple import Node
from simulations.versus.git.corpus import corpus, git
from simulations.versus.git.servers import checked
from simulations.versus.git.sides import URL, Offer, Team, run_git, servers, settle, turn
from simulations.versus.inputs import Different

FORGE, GIT, HTTP = "git clone forge://", "git clone git://", "git clone http://"
BARE, GIT_BARE = "git clone --bare forge://", "git clone --bare git://"
WORKERS = f"git:// checkout.workers={len(os.sched_getaffinity(0))}"
BUNDLE, BLOBLESS, SHALLOW = "http://, bundle-uri", "git://, --filter=blob:none", "git://, --depth 1"


def faster(first: str, other: str, times: float) -> Callable[[Medians], bool]:
    """Whether the first takes at most one `times`-th of the other's time."""
    return lambda medians: times * medians.seconds[first] <= medians.seconds[other]


def check_tip(copy: Path, tip: str) -> None:
    """Raises unless it is a clone of that commit, as git made it."""
    if git(copy, "rev-parse", "HEAD") != tip:
        raise Different(f"{copy} is at another commit than {tip}")


def check_clone(copy: Path, tip: str) -> None:
    """Raises unless it is a sound clone of that commit. Takes longer than most clones."""
    checked(copy)
    check_tip(copy, tip)


class Cloning:
    """Contenders that clone one offer, each into a folder of its own that is new every turn."""

    def __init__(self, bench: Bench, offer: Offer) -> None:
        self._bench = bench
        self._offer = offer

    def plain(self, name: str, url: str, *words: str) -> Contender:
        """Plain git."""
        copy = self._copy(name)

        def afresh() -> None:
            self._make_room(copy)

        def clone() -> Turn:
            return turn(run_git(self._bench.work, "clone", "--quiet", *words, url, copy))

        return Contender(name, clone, afresh, lambda: check_tip(copy, self._offer.tip))

    def workers(self, plain: str) -> Contender:
        """git with as many processes for the checkout as there are processors."""
        return self.plain(WORKERS, plain + self._offer.path.name, "-c", WORKERS.rpartition(" ")[2])

    def tuned(self, plain: str, web: str) -> list[Contender]:
        """git with everything else that it offers against slow clones."""
        name = self._offer.path.name
        bundle = self._offer.path.parent / "bundles" / "all.bundle"
        bundle.parent.mkdir()
        git(self._offer.path, "bundle", "create", bundle, "main")
        return [
            self.plain(BUNDLE, web + name, f"--bundle-uri={web}bundles/all.bundle"),
            self.plain(BLOBLESS, plain + name, "--filter=blob:none"),
            self.plain(SHALLOW, plain + name, "--depth=1"),
        ]

    def forge(self, team: Team, name: str, *words: str, node: Node | None = None) -> Contender:
        """By Forge: always by `node`, or each time by a member that has nothing yet."""
        copy, nodes = self._copy(name), [node] if node else []

        def afresh() -> None:
            if node is not None:
                settle(node.forge.home)
            self._make_room(copy)
            if node is None:
                nodes[:] = [team.guest()]

        def clone() -> Turn:
            before = team.origin_cpu()
            finished = run_git(self._bench.work, "clone", "--quiet", *words, URL, copy, node=nodes[0])
            return turn(finished, **{"origin cpu s": team.origin_cpu() - before})

        return Contender(name, clone, afresh, lambda: check_clone(copy, self._offer.tip))

    def _make_room(self, copy: Path) -> None:
        copy.parent.mkdir(exist_ok=True)
        self._bench.fresh(f"clones/{copy.name}")

    def _copy(self, name: str) -> Path:
        return self._bench.work / "clones" / "".join(letter if letter.isalnum() else "-" for letter in name)


@contextmanager
def cold(bench: Bench, size: str, times: float, *, tuned: bool) -> Iterator[Trial]:
    """From one peer, or one server, on loopback; with checkout. `tuned`: beside all of git's ways, which takes a while
    where one clone takes 20 s."""
    made = corpus(bench.inputs, size)
    bench.fresh("served").mkdir()
    offer = Offer.create(bench.work / "served" / "project.git", made)
    cloning = Cloning(bench, offer)
    with servers(bench, offer) as (plain, web), Team.publishing(bench, offer) as team:
        name = offer.path.name
        yield Trial(
            [
                cloning.forge(team, FORGE),
                cloning.plain(GIT, plain + name),
                cloning.plain(HTTP, web + name),
                cloning.workers(plain),
                *(cloning.tuned(plain, web) if tuned else []),
            ],
            made.bytes,
            [
                Bar(f"{times:g} times faster than git://", faster(FORGE, GIT, times)),
                Bar(f"{times:g} times faster than http://", faster(FORGE, HTTP, times)),
            ],
            f"{made.note} The cloning node is up, a member, and has nothing yet.",
        )


@contextmanager
def again(bench: Bench, size: str) -> Iterator[Trial]:
    """Where this machine's store has it: every clone after the first."""
    made = corpus(bench.inputs, size)
    bench.fresh("served").mkdir()
    offer = Offer.create(bench.work / "served" / "project.git", made)
    cloning = Cloning(bench, offer)
    with servers(bench, offer) as (plain, _), Team.publishing(bench, offer) as team:
        node = team.guest()
        ours = [cloning.forge(team, FORGE, node=node), cloning.forge(team, BARE, "--bare", node=node)]
        ours[0].prepare()
        first = ours[0].turn()
        settle(node.forge.home)
        if not list(node.forge.home.glob("cache/hot/*/pack/*.idx")):
            raise Different("no hot pack was made of the first clone")
        name = offer.path.name
        yield Trial(
            [*ours, cloning.plain(GIT, plain + name), cloning.plain(GIT_BARE, plain + name, "--bare")],
            0,
            [
                Bar("20 times faster than git://, with checkout", faster(FORGE, GIT, 20)),
                Bar("100 times faster than git://, bare", faster(BARE, GIT_BARE, 100)),
                Bar("under 1 s with checkout", lambda medians: medians.seconds[FORGE] < 1),
                Bar(
                    "under 1 % of the first clone's processor time at the origin",
                    lambda medians: medians.figures[FORGE]["origin cpu s"] < 0.01 * first.figures["origin cpu s"],
                ),
            ],
            f"{made.note} The first clone took {first.seconds:.2f} s and {first.figures['origin cpu s']:.2f} s of the "
            "origin's processor time. After it was checked in the background, the machine's hot pack was made, too.",
        )


CASES = [
    Case(
        "git_clone_large",
        "A large repository, from one peer",
        partial(cold, size="large", times=5, tuned=False),
        3,
        warm=False,
    ),
    Case(
        "git_clone_mid",
        "A repository of medium size, from one peer",
        partial(cold, size="mid", times=2, tuned=True),
        5,
    ),
    Case(
        "git_clone_again",
        "The large repository where the store has it",
        partial(again, size="large"),
        3,
        warm=False,
    ),
]
