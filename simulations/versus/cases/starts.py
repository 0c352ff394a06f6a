"""How long the smallest commands take, each in a new process."""

from collections.abc import Iterator
from contextlib import contextmanager

from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.peers import Forge, program
from simulations.versus.process import measure

HELP, STATUS, UP_STATUS = "forge --help", "forge status", "forge status, node up"


@contextmanager
def starts(bench: Bench) -> Iterator[Trial]:
    """`git --version` says what the machine takes for a process of a compiled program."""
    alone, node = Forge(bench.fresh("alone")), Forge(bench.fresh("node"))

    def turn(*command: str) -> Turn:
        return Turn(measure(command).seconds)

    measure(node.command("up", "--detach", "--listen", "127.0.0.1:0"))
    try:
        yield Trial(
            [
                Contender(HELP, lambda: Turn(measure(alone.command("--help")).seconds)),
                Contender(STATUS, lambda: Turn(measure(alone.command("status")).seconds)),
                Contender(UP_STATUS, lambda: Turn(measure(node.command("status")).seconds)),
                Contender("git --version", lambda: turn(program("git"), "--version")),
            ],
            bars=[
                Bar("forge --help 150 ms", lambda medians: medians.seconds[HELP] <= 0.150),
                Bar("forge status 250 ms", lambda medians: medians.seconds[STATUS] <= 0.250),
            ],
        )
    finally:
        measure(node.command("down"))


CASES = [Case("cold_start", "Start of a command, new process", starts, 21)]
