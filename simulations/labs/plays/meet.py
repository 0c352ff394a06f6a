"""Fresh nodes of one network on one LAN: how long until they are connected."""

import time
from contextlib import ExitStack

from simulations.labs.plays.base import Occasion
from simulations.labs.plays.outcome import Turn
from simulations.labs.programs import PATIENCE
from simulations.labs.systems import forge
from simulations.labs.topology import Host, open_lab

LOOK = 0.03
"""Seconds between two looks at a node: the error of the figure."""


def meet(occasion: Occasion) -> Turn:
    """The agents join a network whose founder has gone, so that they have nobody but each other, and start at once.
    `seconds`: until each is connected with every other. `up`: until the last says that it is up."""
    scenario = occasion.scenario
    with ExitStack() as opened:
        lab = opened.enter_context(open_lab(scenario.cables(), occasion.folder))
        token = forge.found_network(lab.hosts["origin"], lan=scenario.lan)
        lab.hosts["origin"].stop()
        agents = [lab.hosts[name] for name in scenario.names()]
        forge.join(agents, token, lan=scenario.lan)
        begun = time.monotonic()
        nodes = [forge.start_up(agent) for agent in agents]
        connected, up = 0.0, 0.0
        while not connected and time.monotonic() - begun < PATIENCE:
            time.sleep(LOOK)
            if not up and all(forge.is_up(agent) for agent in agents):
                up = time.monotonic() - begun
            if up and all(len(forge.peers(agent)) >= len(agents) - 1 for agent in agents):
                connected = time.monotonic() - begun
        failures = {} if connected else {agent.name: _why(agent) for agent in agents}
        for host in lab.hosts.values():
            host.stop()
        figures = {"seconds": connected or PATIENCE, "up": up, "cpu": sum(node.cpu for node in nodes)}
    return Turn(figures, failures)


def _why(agent: Host) -> str:
    return f"connected with {len(forge.peers(agent))} nodes after {PATIENCE:.0f} s; {agent.errors()}"
