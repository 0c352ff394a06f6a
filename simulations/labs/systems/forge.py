"""Forge: a node on every host, and `forge get` on all agents."""

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from simulations.labs.programs import Program, Words
from simulations.labs.systems.base import Stage
from simulations.labs.topology import ROOT, Host

MODULE = [sys.executable, "-m", "forge_p2p.cli.main"]


def environment(host: Host) -> dict[str, str]:
    """A node's folder of its own, and this checkout's Forge."""
    return {"FORGE_HOME": str(home(host)), "PYTHONPATH": str(ROOT)}


def home(host: Host) -> Path:
    """The node's folder."""
    return host.folder / "home"


def forge(host: Host, *arguments: str) -> str:
    """Runs one command on a host. What it wrote to standard output. Raises `LabError`."""
    program = host.start([*MODULE, *arguments], environment(host), "forge.log")
    said = program.rest()
    if program.wait() != 0:
        from simulations.labs.tools import LabError

        raise LabError(f"forge {' '.join(arguments)} on {host.name}: {program.errors()}")
    return said.strip()


class ForgeTicket:
    """By ticket, without a network: everybody fetches from the origin."""

    name: str = "forge-ticket"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Mapping[str, Program]]:
        origin = stage.origin
        shared = origin.start([*MODULE, "share", str(stage.content)], environment(origin), "node.log")
        ticket = shared.line()
        yield fetchers(stage, ticket)

    def copy(self, host: Host) -> Path:
        return host.folder / "copy"

    def restart(self, stage: Stage, host: Host) -> None:
        raise NotImplementedError


class ForgeNetwork(ForgeTicket):
    name: str = "forge"


def fetchers(stage: Stage, what: str) -> dict[str, Program]:
    """`forge get` on every agent, waiting for the word."""
    started = {}
    for name, host in stage.agents.items():
        words: Words = [sys.executable, "-m", "simulations.labs.systems.forge_get", what, str(host.folder / "copy")]
        started[name] = host.start(words, environment(host), "get.log")
    for program in started.values():
        program.line()
    return started


__all__ = ["ForgeNetwork", "ForgeTicket", "json", "signal"]
