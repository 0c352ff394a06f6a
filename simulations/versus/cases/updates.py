"""A new version of what is there already: bytes between the two, and how long it takes."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from simulations.versus import updaters, versions
from simulations.versus.bench import Bar, Bench, Case, Contender, Medians, Trial, Turn
from simulations.versus.couple import NAME, Couple
from simulations.versus.inputs import check_same
from simulations.versus.updaters import CASYNC, COLD, FORGE, RSYNC, WITHOUT_OLD, ZSYNC, ForgeUpdates

PULL = "forge pull"


def wire(medians: Medians, name: str) -> float:
    """What a contender sent and received."""
    return medians.figures[name]["wire bytes"]


def costs_at_most(name: str, limit: float) -> Callable[[Medians], bool]:
    """Whether a contender stays within so many bytes."""
    return lambda medians: wire(medians, name) <= limit


@contextmanager
def line(bench: Bench) -> Iterator[Trial]:
    """One line more in 10 MB."""
    made = versions.text(bench.inputs)
    with ExitStack() as opened:
        forge = ForgeUpdates(bench, made, opened)
        peers = [opened.enter_context(peer(bench, made)) for peer in (updaters.rsync, updaters.casync, updaters.zsync)]
        yield Trial(
            [forge.contender(), forge.cold(), forge.without_old(), *peers],
            bars=[
                Bar("2,000 bytes, connection open", costs_at_most(FORGE, 2000)),
                Bar("12 KB from a cold command", costs_at_most(COLD, 12_000)),
                Bar(
                    "less than rsync when the sender has no old version",
                    lambda medians: wire(medians, WITHOUT_OLD) < wire(medians, RSYNC),
                ),
            ],
            note="Everything from before the new version is published until half a second after it has arrived.",
        )


@contextmanager
def release(bench: Bench, name: str, old: str, new: str) -> Iterator[Trial]:
    """The next release of a package, unpacked."""
    made = versions.wheels(bench.inputs, name, old, new)
    with ExitStack() as opened:
        forge = ForgeUpdates(bench, made, opened)
        peers = [opened.enter_context(peer(bench, made)) for peer in (updaters.rsync, updaters.casync, updaters.zsync)]
        best = Bar(
            "bytes under 0.7 of the best of rsync, casync and zsync",
            lambda medians: wire(medians, FORGE) < 0.7 * min(wire(medians, peer) for peer in (RSYNC, CASYNC, ZSYNC)),
        )
        yield Trial([forge.contender(), *peers], bars=[best], note="Files that are equal have equal times.")


@contextmanager
def disk(bench: Bench) -> Iterator[Trial]:
    """Few blocks of a large file have changed, in place."""
    made = versions.disk(bench.inputs)
    with ExitStack() as opened:
        forge = ForgeUpdates(bench, made, opened)
        rsync = opened.enter_context(updaters.rsync(bench, made, "-a"))
        yield Trial(
            [forge.contender(), rsync],
            bars=[
                Bar("bytes less than rsync", lambda medians: wire(medians, FORGE) < wire(medians, rsync.name)),
                Bar("time less than rsync", lambda medians: medians.seconds[FORGE] < medians.seconds[rsync.name]),
            ],
            note="No turn went before these.",
        )


@contextmanager
def unchanged(bench: Bench) -> Iterator[Trial]:
    """Nothing is new: what the question costs, and finding out that all is in its place."""
    source = versions.text(bench.inputs).new if bench.quick else bench.inputs.tree.path
    copy = bench.fresh("forge.copy")
    with ExitStack() as opened:
        couple = opened.enter_context(Couple.meeting(bench.fresh("couple")))
        opened.enter_context(couple.there.up())
        couple.here.run("publish", NAME, source)
        couple.there.run("pull", NAME, copy)
        peer = opened.enter_context(updaters.rsync(bench, versions.Versions(source, source)))
        peer.prepare()

        def pull() -> Turn:
            before = couple.island.sent()
            finished = couple.there.run("--json", "pull", NAME, copy)
            told = json.loads(finished.output)
            figures = {"wire bytes": couple.island.sent() - before, "in the node s": told["seconds"]}
            return Turn(finished.seconds, figures)

        yield Trial(
            [Contender(PULL, pull, check=lambda: check_same(source, copy)), replace(peer, prepare=void)],
            bars=[
                Bar("50 ms in the node", lambda medians: medians.figures[PULL]["in the node s"] <= 0.05),
                Bar("1 KB", costs_at_most(PULL, 1000)),
            ],
            note="The tree of 32,000 files. The connection is open, and the node up that the command asks.",
        )


def void() -> None:
    """Prepares nothing."""


def _release(name: str, old: str, new: str) -> Case:
    title = f"{name} {old} to {new}, unpacked wheels"
    return Case(f"update_{name}", title, partial(release, name=name, old=old, new=new), 3)


CASES = [
    Case("update_line", "One line inserted into a text file of 10 MB", line, 5),
    _release("numpy", "2.1.0", "2.1.1"),
    _release("django", "5.1", "5.1.1"),
    _release("ansible", "10.2.0", "10.3.0"),
    Case("update_disk", "A file of 4 GB with 1,000 scattered writes of 4 KiB", disk, 1, warm=False),
    Case("pull_unchanged", "`forge pull` of a tree in which nothing changed", unchanged, 9),
]
