"""One file from the origin to all agents."""

from contextlib import ExitStack
from pathlib import Path

from simulations.labs.plays.base import Contender
from simulations.labs.plays.outcome import Row, Turn
from simulations.labs.plays.watch import Watch
from simulations.labs.scenario import Scenario
from simulations.labs.systems.base import Stage, System
from simulations.labs.topology import open_lab
from simulations.versus.inputs import Different, check_content

PATIENCE = 60.0
SLOWNESS = 1.5
"""A turn may take `PATIENCE` seconds and this many times what one copy for each agent takes over the uplink."""


def spread(scenario: Scenario, contender: Contender, content: Path, folder: Path) -> Turn:
    """One turn in a lab of its own. Raises `LabError` when the lab itself fails; what fails in it is in the outcome."""
    size, system = content.stat().st_size, contender.system
    cables = scenario.cables(clean=contender.clean)
    one_copy = size * 8 / cables["origin"].up
    with ExitStack() as opened:
        lab = opened.enter_context(open_lab(cables, folder))
        stage = Stage(lab, scenario, content)
        fetchers = opened.enter_context(system.open(stage))
        watch = Watch(stage, system, fetchers, size, lab.traffic("origin"), lab.received())
        watch.run(PATIENCE + SLOWNESS * one_copy * scenario.agents)
        after = lab.traffic("origin")
        for host in lab.hosts.values():
            host.stop()
        failures = {**watch.failures, **_wrong(stage, system, watch)}
        cpu = {name: sum(program.cpu for program in host.programs) for name, host in lab.hosts.items()}
        peak = max(program.peak for host in lab.hosts.values() for program in host.programs)
    last = max(watch.done.values(), default=0.0)
    figures = {
        "seconds": last,
        "last": last / one_copy,
        "copies": (after.sent - watch.before.sent) / size,
        "first": min(watch.done.values(), default=0.0) / one_copy,
        "cpu": sum(cpu.values()),
        "origin_cpu": cpu["origin"],
        "peak_mb": peak / 1e6,
        "finished": len(watch.done) - len(failures.keys() & watch.done.keys()),
    }
    return Turn(figures, failures, _thinned(watch.timeline))


def _wrong(stage: Stage, system: System, watch: Watch) -> dict[str, str]:
    """Agents that said they were done and have other bytes."""
    found = {}
    for name in watch.done:
        try:
            check_content(stage.content, system.copy(stage.lab.hosts[name]))
        except (Different, OSError) as error:
            found[name] = f"wrong content: {error}"
    return found


def _thinned(rows: list[Row]) -> list[Row]:
    """At most 150 rows, three decimals."""
    step = -(-len(rows) // 150) or 1
    kept = rows[::step] if (len(rows) - 1) % step == 0 else [*rows[::step], rows[-1]]
    return [(round(a, 3), round(b, 3), round(c, 3), round(d, 3), round(e, 3)) for a, b, c, d, e in kept]
