"""`make lab`: plays the scenarios and writes what they gave. Needs root.

python -m simulations.labs [--scenario NAME]... [--system NAME]... [--rounds N] [--quick] [--dry] [--work DIR]
"""

import argparse
import compileall
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from simulations.labs import ownership, report, scenario
from simulations.labs.plays import PLAYS
from simulations.labs.plays.base import Contender, Occasion
from simulations.labs.plays.outcome import Turn
from simulations.labs.scenario import Scenario
from simulations.labs.systems import SYSTEMS
from simulations.labs.tools import LabError, require_root
from simulations.labs.topology import ROOT

MB = 10**6


def main() -> int:
    """Exit code 1 when the lab failed or a bar was missed."""
    options = _parser().parse_args()
    if options.list:
        print("\n".join(f"{name:14} {scenario.load(name).title}" for name in scenario.names()))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        require_root()
        left = ownership.sweep(*([options.work] if options.work else []))
        if left:
            _say(f"removed what earlier runs have left: {', '.join(left)}")
        compileall.compile_dir(ROOT / "forge_p2p", quiet=1)  # as an installation does, whatever the environment says
        good = [] if options.clean else [_play(name, options) for name in options.scenario or scenario.names()]
    except LabError as error:
        _say(f"FAILED: {error}")
        return 1
    return 0 if all(good) else 1


def _play(name: str, options: argparse.Namespace) -> bool:
    """Plays and reports one scenario. Whether it reached its bars; a quick run has none."""
    played = scenario.load(name)
    if options.quick:
        played = msgspec.structs.replace(played, size=played.quick_size, rounds=1)
    _say(f"{name}: {played.title}")
    size = scenario.number(played.size)
    contenders = _contenders(played, options.system)
    turns: dict[str, list[Turn]] = {contender.name: [] for contender in contenders}
    with _work_folder(options.work, size * (played.agents + 1) * 3) as work:
        content = _content(work, size)
        for number in range(options.rounds or played.rounds):
            first = number % max(1, len(contenders))
            for contender in [*contenders[first:], *contenders[:first]]:
                logs = options.logs and options.logs / f"{name}-{contender.system.name}-{number + 1}"
                turns[contender.name].append(_turn(played, contender, content, work, logs))
                _say(f"  {number + 1}  {contender.name}: {_line(turns[contender.name][-1])}")
    outcome = report.Outcome(name, played, size, {name: turns for name, turns in turns.items() if turns})
    if options.quick:
        print(report.section(outcome) + "\n", flush=True)
        return all(not turn.failures for turns in outcome.turns.values() for turn in turns)
    if options.system:
        outcome = report.with_earlier(outcome)
    print(report.section(outcome) + "\n", flush=True)
    if not options.dry:
        report.write(outcome)
    return not any("MISSED" in line for line in outcome.verdicts())


def _contenders(played: Scenario, only: list[str] | None) -> list[Contender]:
    contenders = [Contender(SYSTEMS[name]) for name in only or played.systems]
    if played.bars.goodput:
        contenders += [Contender(contender.system, clean=True) for contender in contenders]
    return contenders


def _turn(played: Scenario, contender: Contender, content: Path, work: Path, logs: Path | None) -> Turn:
    folder = work / "turn"
    folder.mkdir()
    try:
        return PLAYS[played.play].turn(Occasion(played, contender, content, folder))
    finally:
        if logs:
            _keep_logs(folder, logs)
        shutil.rmtree(folder)
        time.sleep(0.5)  # the kernel takes namespaces apart in the background


def _keep_logs(folder: Path, logs: Path) -> None:
    for log in folder.rglob("*.log"):
        kept = logs / log.relative_to(folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, kept)


def _line(turn: Turn) -> str:
    figures = ", ".join(f"{key} {value:.3f}" for key, value in turn.figures.items())
    return "; ".join([figures, *(f"{name}: {text}" for name, text in turn.failures.items())])


@contextmanager
def _work_folder(parent: Path | None, need: int) -> Iterator[Path]:
    """Hosts in miniature have one disk between them, which no real hosts have: so memory, where it is large enough."""
    if parent is None:
        shared = ownership.SHARED_MEMORY
        roomy = shared.is_dir() and shutil.disk_usage(shared).free > 2 * need
        parent = shared if roomy else Path(tempfile.gettempdir())
    if shutil.disk_usage(parent).free < need:
        raise LabError(f"{parent} has no room for {need // MB} MB: give another folder with --work")
    with tempfile.TemporaryDirectory(prefix=ownership.prefix(), dir=parent) as work:
        yield Path(work)


def _content(work: Path, size: int) -> Path:
    """Bytes that do not compress, the same in every run."""
    path = work / "content" / "content.bin"
    path.parent.mkdir()
    source = random.Random(size)
    with path.open("wb") as file:
        for begin in range(0, size, MB):
            file.write(source.randbytes(min(MB, size - begin)))
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("simulations.labs", description="Hosts in miniature. Needs root.")
    parser.add_argument("--scenario", action="append", help="only this one; may be repeated")
    parser.add_argument(
        "--system", action="append", choices=SYSTEMS, help="instead of the scenario's own; may be repeated"
    )
    parser.add_argument("--rounds", type=int, default=0, help="instead of each scenario's own number")
    parser.add_argument("--quick", action="store_true", help="small content, one round, nothing written")
    parser.add_argument("--dry", action="store_true", help="write no files")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--clean", action="store_true", help="only remove what killed runs have left")
    parser.add_argument("--work", type=Path, help="folder for everything that the hosts write (default: in memory)")
    parser.add_argument("--logs", type=Path, help="folder for what the hosts' programs have logged")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
