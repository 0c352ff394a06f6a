"""The two ends of a git case: a repository on offer that can move on, and who clones it, by Forge or otherwise."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from simulations.versus.bench import Bench, Turn
from simulations.versus.couple import Couple, Node, newcomer
from simulations.versus.git.corpus import Corpus, git
from simulations.versus.git.servers import QUIET, daemon, http
from simulations.versus.inputs import MB
from simulations.versus.peers import program
from simulations.versus.process import Failed, Finished, measure

NAME = "project"
URL = f"forge://team/{NAME}"
_BEGINNING = 0.3
_PATIENCE = 600.0
"""Seconds that a process behind another one may take to begin, and to end."""
BESIDE = Path(sys.executable).parent


def turn(finished: Finished, **more: float) -> Turn:
    return Turn(finished.seconds, {"peak MB": finished.peak / MB, "cpu s": finished.cpu, **more})


def run_git(folder: Path, *words: str | Path, node: Node | None = None, **variables: str) -> Finished:
    """One git command in `folder`, as `node`'s user would run it, or else anybody with these `variables` in the
    environment. Raises `Failed`."""
    command = [program("git"), "-C", folder, *words]
    if node is None:
        return measure(command, environment={**QUIET, **variables})
    environment = {**QUIET, "FORGE_HOME": str(node.forge.home), "PATH": f"{BESIDE}:{os.environ['PATH']}"}
    return measure(command, environment=environment, within=node.island.entering)


@dataclass(slots=True)
class Offer:
    """A bare repository whose objects are those of a corpus, and whose `main` is `back` commits behind that one's."""

    path: Path
    made: Corpus
    back: int = 0

    @classmethod
    def create(cls, path: Path, made: Corpus, back: int = 0) -> "Offer":
        git(made.path, "clone", "--quiet", "--bare", "--shared", made.path, path)
        git(path, "config", "uploadpack.allowFilter", "true")
        git(path, "config", "http.receivepack", "true")
        offer = cls(path, made, back)
        offer.move(0)
        return offer

    def move(self, commits: int) -> None:
        """`main` moves on."""
        self.back -= commits
        git(self.path, "update-ref", "refs/heads/main", git(self.made.path, "rev-parse", f"main~{self.back}"))

    @property
    def tip(self) -> str:
        return git(self.path, "rev-parse", "main")


@dataclass(slots=True)
class Team:
    """Forge's ends: a node that publishes an offer, and others that clone from it."""

    bench: Bench
    couple: Couple
    offer: Offer
    _guests: ExitStack = field(default_factory=ExitStack)
    _count: int = 0

    @classmethod
    @contextmanager
    def publishing(cls, bench: Bench, offer: Offer) -> Iterator["Team"]:
        with Couple.meeting(bench.fresh("couple")) as couple:
            team = cls(bench, couple, offer)
            team.publish()
            with team._guests:
                yield team

    def publish(self) -> None:
        self.couple.here.run("git", "publish", self.offer.path, f"team/{NAME}")

    def guest(self) -> Node:
        """A member that has nothing yet and is up; the one before is gone."""
        self._guests.close()
        self._count += 1
        node = newcomer(self.bench.fresh(f"guest{self._count}"), self.couple.here)
        self._guests.enter_context(node.up())
        self._guests.callback(self.bench.fresh, f"guest{self._count}")
        return node

    def origin_cpu(self) -> float:
        """Processor seconds of the publishing node so far."""
        return cpu_of(self.couple.here.forge.home)


def settle(home: Path) -> None:
    """Waits until nothing is done any more behind what was run with this folder as its node's: checks of clones, hot
    packs. Raises `Failed` if that takes too long."""
    time.sleep(_BEGINNING)
    give_up = time.monotonic() + _PATIENCE
    while any(_is_behind(process.info["cmdline"] or [], str(home)) for process in psutil.process_iter(["cmdline"])):
        if time.monotonic() > give_up:
            raise Failed(f"something goes on and on behind {home}")
        time.sleep(0.1)


def _is_behind(words: list[str], home: str) -> bool:
    return home in words and "up" not in words and "forge_p2p.cli.standby.answering" not in words


def cpu_of(home: Path) -> float:
    """Processor seconds of all processes that run with this folder as their node's."""
    total = 0.0
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(home) in words and "up" in words:
            total += time.clock_gettime(_clock_of(process.pid))
    return total


def _clock_of(pid: int) -> int:
    """The clock of a process, which counts nanoseconds where `/proc` has hundredths of a second; as
    clock_getcpuclockid(3) makes it: what a large origin does for one more clone is less than a hundredth."""
    return ~pid << 3 | 2


@contextmanager
def servers(bench: Bench, *offers: Offer) -> Iterator[tuple[str, str]]:
    """The URLs, with a slash, at which git's servers have the offers: git:// and http://. Bundles are beside them."""
    root = offers[0].path.parent
    with daemon(root) as plain, http(root, bench.fresh("http")) as web:
        yield plain, web
