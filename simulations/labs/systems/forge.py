"""Forge: a node on every host, and `forge get` on all agents."""

import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from forge_p2p.node.control import NoNode, call
from forge_p2p.node.home import Home
from forge_p2p.node.network_results import PeerEntry, PeersResult
from simulations.labs.programs import PATIENCE, Program
from simulations.labs.systems.base import Stage
from simulations.labs.tools import LabError
from simulations.labs.topology import ROOT, Host

NETWORK = "lab"
PORT = 4747
COMMAND = [sys.executable, "-m", "forge_p2p.cli.main"]
LIAR = [sys.executable, "-m", "simulations.labs.hosted.forge_liar"]
GET = [sys.executable, "-m", "simulations.labs.hosted.forge_get"]


class ForgeNetwork:
    """In one network: the origin shares by link, and the agents find and help one another."""

    name: str = "forge"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Mapping[str, Program]]:
        token = found_network(stage.origin, lan=stage.scenario.lan)
        link = run(stage.origin, "share", "--network", NETWORK, str(stage.content))
        join(list(stage.agents.values()), token, lan=stage.scenario.lan)
        for name, host in stage.agents.items():
            up(host, liar=name in stage.scenario.liars)
        for host in stage.agents.values():
            wait_for_peers(host, 1)
        yield fetchers(stage, link)

    def copy(self, host: Host) -> Path:
        return host.folder / "copy"

    def restart(self, stage: Stage, host: Host) -> None:
        """As after a power cut: the folder is there, the process is not."""
        for program in host.programs:
            if program.name.endswith(" up") and program.poll() is None:
                program.stop(signal.SIGKILL)
        up(host, liar=host.name in stage.scenario.liars)


class ForgeTicket(ForgeNetwork):
    """By ticket, without a network: everybody fetches from the origin."""

    name: str = "forge-ticket"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Mapping[str, Program]]:
        settle(stage.origin, lan=False)
        ticket = start(stage.origin, "share", str(stage.content)).line()
        for host in stage.agents.values():
            settle(host, lan=False)
        yield fetchers(stage, ticket)


# Nodes


def home(host: Host) -> Path:
    """The node's folder."""
    return host.folder / "home"


def settle(host: Host, *, lan: bool) -> None:
    """Makes the node's folder with its settings."""
    home(host).mkdir(mode=0o700)
    (home(host) / "config.toml").write_text(f'listen = "[::]:{PORT}"\n[net]\nlan = {str(lan).lower()}\n')


def found_network(host: Host, *, lan: bool) -> str:
    """A node that is up and has founded a network. A token for others."""
    settle(host, lan=lan)
    run(host, "network", "create", NETWORK)
    up(host)
    return run(host, "network", "invite", "--network", NETWORK)


def join(hosts: list[Host], token: str, *, lan: bool) -> None:
    """Makes members of nodes that are not up yet."""
    for host in hosts:
        settle(host, lan=lan)
    for joining in [start(host, "network", "join", token) for host in hosts]:
        finish(joining)


def up(host: Host, *, liar: bool = False) -> Program:
    """Starts the node, and returns when it is up."""
    node = start_up(host, liar=liar)
    node.line()
    return node


def start_up(host: Host, *, liar: bool = False) -> Program:
    """Starts the node."""
    return host.start([*(LIAR if liar else COMMAND), "up"], environment(host), "node.log")


def is_up(host: Host) -> bool:
    """Whether the node answers commands."""
    try:
        call(Home(home(host)), "peers", {"sample": 0.0})
    except NoNode:
        return False
    return True


def first_byte(host: Host, link: str) -> tuple[float, bytes]:
    """Asks the node for a file. Seconds until its first byte was here, and all its bytes."""
    pieces: list[tuple[float, bytes]] = []
    begun = time.monotonic()
    call(
        Home(home(host)),
        "cat",
        {"what": link, "path": ""},
        on_bytes=lambda data: pieces.append((time.monotonic(), bytes(data))),
    )
    return pieces[0][0] - begun, b"".join(data for _, data in pieces)


def peers(host: Host) -> list[PeerEntry]:
    """Whom the node is connected with; nobody while it is not up."""
    try:
        told = call(Home(home(host)), "peers", {"sample": 0.0})
    except NoNode:
        return []
    assert isinstance(told, PeersResult)
    return [member for member in told.members if member.connected > 0]


def wait_for_peers(host: Host, count: int, patience: float = PATIENCE) -> None:
    """Until the node is connected with so many. Raises `LabError`."""
    end = time.monotonic() + patience
    while len(peers(host)) < count:
        if time.monotonic() > end:
            raise LabError(f"{host.name} is connected with {len(peers(host))} nodes, not {count}: {host.errors()}")
        time.sleep(0.02)


# Commands


def start(host: Host, *arguments: str) -> Program:
    """Starts a command on a host."""
    return host.start([*COMMAND, *arguments], environment(host), "node.log")


def run(host: Host, *arguments: str) -> str:
    """Runs a command on a host, to its end. The last line of what it printed. Raises `LabError`."""
    return finish(start(host, *arguments))


def finish(program: Program) -> str:
    """Waits for a command. The last line of what it printed. Raises `LabError`."""
    said = program.rest()
    if program.wait() != 0:
        raise LabError(f"{program.name}: {program.errors()}")
    return (said.strip().splitlines() or [""])[-1]


def fetchers(stage: Stage, what: str) -> dict[str, Program]:
    """`forge get` on every agent, waiting for the word."""
    started = {
        name: host.start([*GET, what, host.folder / "copy"], environment(host), "get.log")
        for name, host in stage.agents.items()
    }
    for program in started.values():
        program.line()
    return started


def environment(host: Host) -> dict[str, str]:
    """A node's folder of its own, and this checkout's Forge."""
    return {"FORGE_HOME": str(home(host)), "PYTHONPATH": str(ROOT)}
