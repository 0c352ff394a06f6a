"""Members of one network as processes with fixed ports, and what is seen of them from outside."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from forge_p2p.node.membership.remembering import Row
from forge_p2p.node.network_results import PeersResult
from tests.cli.harness import COMMAND, environment, forge
from tests.net.namespaces import Host
from tests.node.harness import Node, node, settings

MEMBER = """
listen = "{}:{}"
[store]
reserve = 0
[net]
lan = false
idle_timeout = {}
"""

PATIENCE = 30.0
"""Seconds. Below `LONG`, so that nothing is noticed by the idle timeout."""
LONG = 120


def said(home: Path, *words: str) -> str:
    """What a command printed."""
    done = forge(home, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def until(met: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Waits for it."""
    end = time.monotonic() + patience
    while not met():
        assert time.monotonic() < end, f"not within {patience:g} s: {what}"
        time.sleep(0.1)


def connected(home: Path) -> set[str]:
    """Node ids of those with whom the node on `home` has a session."""
    told = msgspec.json.decode(said(home, "--json", "peers"), type=PeersResult)
    return {each.node_id for each in told.members if each.connected > 0}


def sessions(home: Path) -> int:
    """How many sessions it has."""
    return len(msgspec.json.decode(said(home, "--json", "status"))["peers"])


def remembered(home: Path) -> set[str]:
    """Node ids in the file that outlives a kill."""
    rows: list[Row] = []
    for path in home.glob("networks/*/contacts"):
        with suppress(msgspec.DecodeError):
            rows += msgspec.msgpack.decode(path.read_bytes(), type=list[Row])
    return {node_id.hex() for node_id, addresses, _ in rows if addresses}


def forget(home: Path) -> None:
    """Takes from a node that is down what it remembers of others."""
    for name in ("contacts", "table"):
        for path in home.glob(f"networks/*/{name}"):
            path.unlink()


def id_of(started: Node) -> str:
    """Its node id."""
    return str(msgspec.json.decode(said(started.home, "--json", "status"))["node_id"])


def free_port() -> int:
    """A UDP port on loopback that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def homes(folder: Path, *names: str, idle_timeout: int = LONG) -> list[Path]:
    """Folders of the founder of a network and of others that have joined by its token; none is up."""
    made = [settings(folder / name, MEMBER.format("127.0.0.1", free_port(), idle_timeout)) for name in names]
    said(made[0], "network", "create", "team")
    with node(made[0], "up"):
        token = said(made[0], "network", "invite").splitlines()[-1]
    for home in made[1:]:
        said(home, "network", "join", token)
    return made


@contextmanager
def up_on(machine: Host, home: Path) -> Iterator[None]:
    """A node that is up on a host of its own."""
    words = machine.inside(*COMMAND, "up")
    with subprocess.Popen(words, env=environment(home), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield
        finally:
            process.kill()
