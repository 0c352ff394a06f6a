"""Thousands of nodes in one process, under a virtual clock.

python -m simulations.dht [--nodes N] [--hours H] [--churn SHARE] [--lookups N] [--seed S] [--scenario NAME]...
                          [--baseline] [--write]

Without `--scenario`: all of them. `--baseline` runs the `kademlia` package through the same hour, which takes longer.
`--write` keeps figures and plots, and puts them into docs/dht.md. Exit code 1 when something was missed or violated.
"""

import argparse
import gc
import sys

from simulations.dht import report
from simulations.dht.checks import Violated
from simulations.dht.plots import draw
from simulations.dht.scenarios import SCENARIOS, Options, baseline

USUAL = 10_000
"""Nodes; figures of other numbers are kept beside these."""


def main() -> int:
    options = _parser().parse_args()
    chosen = Options(options.seed, options.nodes, options.hours, options.churn, options.lookups)
    print(f"seed {chosen.seed}", flush=True)
    runs = [SCENARIOS[name] for name in options.scenario or SCENARIOS] + ([baseline] if options.baseline else [])
    missed = False
    for run in runs:
        # All of ours lives to the end of its run, so there is nothing to collect meanwhile; the package leaves cycles.
        (gc.enable if run is baseline else gc.disable)()
        try:
            outcome = run(chosen)
        except Violated as error:
            print(f"{run.__name__}, seed {chosen.seed}: VIOLATED: {error}")
            return 1
        print(report.text(outcome), flush=True)
        missed |= not all(outcome.bars.values())
        if options.write:
            report.save(outcome, usual=options.nodes == USUAL)
        gc.collect()
    if options.write:
        draw(report.load_all())
        report.write_page(report.load_all())
    return int(missed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulations.dht", description=__doc__)
    parser.add_argument("--nodes", type=int, default=USUAL)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--churn", type=float, default=0.2, help="share of the nodes replaced every hour")
    parser.add_argument("--lookups", type=float, default=1.0, help="by every node, every hour")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS))
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--write", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
