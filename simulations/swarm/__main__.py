"""Plays swarms: `python -m simulations.swarm`, or one of them with other numbers.

python -m simulations.swarm --scenario lab-liar --seed 7
python -m simulations.swarm --agents 1000 --size 1GB --seed 1
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from forge_p2p.cli.units import parse_size
from simulations.swarm import report
from simulations.swarm.play import Outcome, Play, Scenario
from simulations.swarm.scenarios import CROWD, SCENARIOS

SEEDS = (1, 2, 3, 4, 5)
FEW = 100
"""Agents up to which five plays take less than a minute."""


def main(words: Sequence[str]) -> int:
    """Returns 1 if a bar was missed; an invariant that does not hold ends it with the seed."""
    options = _options(words)
    missed = False
    for scenario in _chosen(options):
        outcomes = []
        for seed in options.seed or ([1] if scenario.agents > FEW else SEEDS):
            outcome = Play(scenario, seed).run()
            print(_line(outcome), flush=True)
            outcomes.append(outcome)
        bars = SCENARIOS.get(scenario.name)
        verdicts = bars[1].verdicts(outcomes) if bars else []
        missed = missed or any(line.startswith("MISSED") for line in verdicts)
        print(*(f"  {line}" for line in verdicts), sep="\n")
        if options.write and bars:
            report.write(scenario.name, outcomes)
    if options.write:
        print(report.plot().relative_to(report.ROOT))
        report.write_page()
    return int(missed)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulations.swarm", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="all, if none is named")
    parser.add_argument("--agents", type=int, help="of a crowd of another size")
    parser.add_argument("--size", type=parse_size, help='of its content, like "1GB"')
    parser.add_argument("--seed", type=int, action="append", help="1 to 5 if none is named, of a crowd 1")
    parser.add_argument("--write", action="store_true", help="keep the figures, and draw them")
    return parser.parse_args(words)


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    if options.agents or options.size:
        agents, size = options.agents or CROWD.agents, options.size or CROWD.size
        same = (agents, size) == (CROWD.agents, CROWD.size)
        return [CROWD if same else replace(CROWD, name=f"crowd of {agents}", agents=agents, size=size)]
    return [SCENARIOS[name][0] for name in options.scenario or SCENARIOS]


def _line(outcome: Outcome) -> str:
    return (
        f"{outcome.scenario}, seed {outcome.seed}: {outcome.finished} of {outcome.expected} done after "
        f"{outcome.seconds:.2f} s ({outcome.ratio:.3f} of the bound; half after {outcome.median:.2f} s), "
        f"{outcome.copies:.3f} copies from the origin, {outcome.duplicates:.2%} twice, {outcome.corrupt:.2%} wrong; "
        f"{outcome.processor_seconds:.1f} s of processor, {outcome.chunk_microseconds:.0f} µs a piece; "
        f"trace {outcome.trace}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
