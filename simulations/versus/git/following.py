"""A clone that keeps up with what it was made from: fetching ten new commits, pushing one."""

import os
from collections.abc import Mapping

from simulations.versus.bench import Bench, Contender
from simulations.versus.git.corpus import NEWEST, git
from simulations.versus.git.sides import Offer, Team, run_git, turn
from simulations.versus.inputs import Different
from simulations.versus.process import Finished


class Following:
    """A clone, and an offer that moves on: before each turn when it is fetched, in it when it is pushed to."""

    def __init__(self, bench: Bench, name: str, offer: Offer, url: str, team: Team | None = None) -> None:
        self.name = name
        self._offer = offer
        self._copy = bench.fresh(f"copy-{name.rstrip(':/')}")
        self._team = team
        self._variables: Mapping[str, str] = {}
        self._node = team.guest() if team else None
        run_git(bench.work, "clone", "--quiet", url, self._copy, node=self._node)

    def _run(self, *words: str) -> Finished:
        return run_git(self._copy, *words, node=self._node, **self._variables)

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
