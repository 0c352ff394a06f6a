"""A new version of what is there already: bytes between the two, and how long it takes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from simulations.versus import updaters, versions
from simulations.versus.bench import Bar, Bench, Case, Medians, Trial
from simulations.versus.updaters import CASYNC, COLD, FORGE, RSYNC, WITHOUT_OLD, ZSYNC, ForgeUpdates


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


def _release(name: str, old: str, new: str) -> Case:
    title = f"{name} {old} to {new}, unpacked wheels"
    return Case(f"update_{name}", title, partial(release, name=name, old=old, new=new), 3)


CASES = [
    Case("update_line", "One line inserted into a text file of 10 MB", line, 5),
    _release("numpy", "2.1.0", "2.1.1"),
    _release("django", "5.1", "5.1.1"),
    _release("ansible", "10.2.0", "10.3.0"),
]
