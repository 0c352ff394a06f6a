"""Members that were connected find each other again when all that their token names are gone."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import pytest

from forge_p2p.node.network_results import PeersResult
from forge_p2p.node.remembering import Row
from tests.cli.harness import forge
from tests.node.harness import Node, node, settings

MEMBER = """
listen = "127.0.0.1:{}"
[store]
reserve = 0
[net]
lan = false
dial_timeout = 2
"""


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def said(home: Path, *words: str) -> str:
    done = forge(home, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def until(met: Callable[[], bool], what: str, patience: float = 30.0) -> None:
    end = time.monotonic() + patience
    while not met():
        assert time.monotonic() < end, f"not within {patience:g} s: {what}"
        time.sleep(0.1)


def connected(home: Path) -> set[str]:
    """Node ids of those with whom the node on `home` has a session."""
    told = msgspec.json.decode(said(home, "--json", "peers"), type=PeersResult)
    return {each.node_id for each in told.members if each.connected > 0}


def remembered(home: Path) -> set[str]:
    """Node ids in the file that outlives a kill."""
    rows: list[Row] = []
    for path in home.glob("networks/*/contacts"):
        with suppress(msgspec.DecodeError):
            rows += msgspec.msgpack.decode(path.read_bytes(), type=list[Row])
    return {node_id.hex() for node_id, addresses, _ in rows if addresses}


def id_of(started: Node) -> str:
    text = said(started.home, "--json", "status")
    return str(msgspec.json.decode(text)["node_id"])


def homes(folder: Path) -> list[Path]:
    """Folders of a founder and of two that have joined by its token; none is up."""
    made = [settings(folder / name, MEMBER.format(free_port())) for name in ("founder", "first", "second")]
    said(made[0], "network", "create", "team")
    with node(made[0], "up"):
        token = said(made[0], "network", "invite").splitlines()[-1]
    for home in made[1:]:
        said(home, "network", "join", token)
    return made


def test_members_killed_at_once_find_each_other_without_their_founder(tmp_path: Path) -> None:
    founder, first, second = homes(tmp_path)
    with ExitStack() as stack:
        nodes = [stack.enter_context(node(home, "up")) for home in (founder, first, second)]
        ids = [id_of(each) for each in nodes]
        until(lambda: ids[2] in connected(first) and ids[1] in connected(second), "the two members are connected")
        until(lambda: ids[2] in remembered(first) and ids[1] in remembered(second), "and remember each other")
        for each in nodes:
            each.kill()
    for table in tmp_path.glob("*/networks/*/table"):
        table.unlink()  # what a node has seen in five minutes may be there; these had no time for it
    with node(first, "up"), node(second, "up"):
        until(lambda: ids[2] in connected(first) and ids[1] in connected(second), "the two have found each other")


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, msgspec.msgpack.encode([(b"short", [], 1.0)])])
def test_a_damaged_memory_costs_nothing_but_itself(tmp_path: Path, content: bytes) -> None:
    founder, first, _ = homes(tmp_path)
    [network] = first.glob("networks/*/network")
    (network.parent / "contacts").write_bytes(content)
    with node(founder, "up") as up, node(first, "up"):
        until(lambda: id_of(up) in connected(first), "the member has joined all the same")
        until(lambda: id_of(up) in remembered(first), "and its memory is whole again")
