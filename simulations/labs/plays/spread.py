"""One file from the origin to all agents."""

import sys
from contextlib import ExitStack

from simulations.labs.plays.base import Occasion
from simulations.labs.plays.outcome import Row, Turn
from simulations.labs.plays.watch import Watch
from simulations.labs.processors import Busy
from simulations.labs.programs import Program
from simulations.labs.scenario import STRANGER
from simulations.labs.systems.base import Stage, System
from simulations.labs.tools import LabError
from simulations.labs.topology import ROOT, open_lab
from simulations.versus.inputs import Different, check_content

QUIET = 0.5
"""Seconds for which the machine is watched before all begin: what is busy then does not belong to the lab."""

PATIENCE = 120.0
SLOWNESS = 1.5
"""A turn may take `PATIENCE` seconds and this many times what one copy for each agent takes over the uplink."""


def spread(occasion: Occasion) -> Turn:
    """One turn in a lab of its own. Raises `LabError` when the lab itself fails; what fails in it is in the outcome."""
    scenario, system = occasion.scenario, occasion.contender.system
    size = occasion.content.stat().st_size
    cables = scenario.cables(clean=occasion.contender.clean)
    one_copy = size * 8 / cables["origin"].up
    with ExitStack() as opened:
        lab = opened.enter_context(open_lab(cables, occasion.folder))
        stage = Stage(lab, scenario, occasion.content)
        fetchers = opened.enter_context(system.open(stage))
        flooder = _flooder(stage)
        watch = Watch(stage, system, fetchers, flooder, size, lab.traffic("origin"), lab.received())
        noise, busy = Busy.during(QUIET), Busy()
        watch.run(PATIENCE + SLOWNESS * one_copy * scenario.agents)
        after, busy_share = lab.traffic("origin"), busy.share()
        flood = _flood_figures(stage, flooder)
        for host in lab.hosts.values():
            host.stop()
        failures = {**watch.failures, **_wrong(stage, system, watch)}
        ours = {name: host.programs for name, host in lab.hosts.items() if name != STRANGER}
        cpu = {name: sum(program.cpu for program in programs) for name, programs in ours.items()}
        peak = max(program.peak for programs in ours.values() for program in programs)
    last = max(watch.done.values(), default=0.0)
    figures = {
        "seconds": last,
        "last": last / one_copy,
        "received": watch.received() / one_copy,
        "copies": (after.sent - watch.before.sent) / size,
        "first": min(watch.done.values(), default=0.0) / one_copy,
        "busy": busy_share,
        "noise": noise,
        "cpu": sum(cpu.values()),
        "origin_cpu": cpu["origin"],
        "peak_mb": peak / 1e6,
        "finished": len(watch.done) - len(failures.keys() & watch.done.keys()),
        **flood,
    }
    return Turn(figures, failures, _thinned(watch.timeline))


def _flooder(stage: Stage) -> Program | None:
    """The stranger with its packets ready, where there is one."""
    if not stage.scenario.flooded:
        return None
    words = [sys.executable, "-m", "simulations.labs.hosted.flooder"]
    numbers = [str(stage.scenario.flood_rate), str(stage.scenario.flood_seconds)]
    flooder = stage.lab.hosts[STRANGER].start([*words, *numbers], {"PYTHONPATH": str(ROOT)})
    flooder.line()
    return flooder


def _flood_figures(stage: Stage, flooder: Program | None) -> dict[str, float]:
    """What the stranger sent, and got for it."""
    if flooder is None:
        return {}
    if flooder.wait() != 0:
        raise LabError(f"the flood failed: {flooder.errors()}")
    traffic = stage.lab.traffic(STRANGER)
    return {"flood_mb": traffic.sent / 1e6, "amplification": traffic.received / traffic.sent}


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
