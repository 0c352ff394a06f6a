"""`make bench`: runs the cases and writes what they gave.

python -m simulations.versus [--case NAME]... [--rounds N] [--quick] [--dry] [--work DIR] [--cache DIR]
                            [--repository DIR]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from simulations.versus import report
from simulations.versus.bench import Bench, Case, run_case
from simulations.versus.cases import CASES
from simulations.versus.inputs import Different, Inputs, default_cache
from simulations.versus.process import Failed


def main() -> int:
    """Exit code 1 when a case failed or a bar was missed, so that CI may watch it."""
    options = _parser().parse_args()
    if options.list:
        print("\n".join(f"{case.name:16} {case.title}" for case in CASES.values()))
        return 0
    inputs = Inputs(options.cache, options.quick, options.repository)
    with tempfile.TemporaryDirectory(prefix="forge-versus-", dir=options.work) as work:
        bench = Bench(Path(work), inputs, options.quick, _say)
        good = [_run(bench, CASES[name], options) for name in options.case or CASES]
    return 0 if all(good) else 1


def _run(bench: Bench, case: Case, options: argparse.Namespace) -> bool:
    """Runs and reports one case. Whether it worked and, with the full inputs, reached its bars."""
    _say(f"{case.name}: {case.title}")
    try:
        trial, turns = run_case(bench, case, options.rounds or (2 if options.quick else case.rounds))
    except (Failed, Different) as error:
        _say(f"FAILED: {error}")
        return False
    outcome = report.Outcome(case, trial, turns)
    print(report.section(outcome, report.machine()) + "\n", flush=True)
    if options.quick:
        return True
    if not options.dry and not options.repository:
        report.write(outcome)
    return not any("MISSED" in line for line in outcome.verdicts())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("simulations.versus", description="Forge beside its peers.")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=0, help="instead of each case's own number")
    parser.add_argument("--quick", action="store_true", help="small inputs, two rounds, nothing written")
    parser.add_argument("--dry", action="store_true", help="write no files")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--work", type=Path, help="folder on the file system to measure (default: the temporary one)")
    parser.add_argument(
        "--repository", type=Path, help="a real repository for the cases of git, which is only read; writes no files"
    )
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for inputs (default: %(default)s)")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
