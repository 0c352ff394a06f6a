"""Content that the gateway's store lacks comes through its node, from members of the network, once for all who ask."""

import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.harness import forge
from tests.edge.conftest import BIG, SMALL, directory, said
from tests.edge.harness import Running, forge_edge, gateway, whole_answer
from tests.node.harness import node, noise
from tests.node.members_up import homes, until

LARGE = noise(9, 12_000_000)


@dataclass(frozen=True, slots=True)
class Far:
    """A gateway beside a member that has nothing; `link` and name `site` are at another member."""

    running: Running
    link: str
    home: Path
    origin: Path


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    folder = tmp_path_factory.mktemp("far")
    origin, near = homes(folder, "origin", "near")
    files = directory(folder / "files")
    (files / "large.bin").write_bytes(LARGE)
    with node(origin, "up"), node(near, "up"):
        link = said(origin, "share", str(files), "--network", "team")
        said(origin, "publish", "site", str(files))
        with gateway(near, folder / "gateway") as running:
            running.token = forge_edge(near, "token").splitlines()[-1]
            yield Far(running, link, near, origin)


def relayed(running: Running) -> int:
    """Bytes that came through the node so far."""
    found = re.search(rb"^forge_gateway_relayed_bytes_total (\S+)$", running.ask("/metrics").body, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def test_many_ask_for_the_same_at_once(far: Far) -> None:
    got: list[bytes] = []

    def ask() -> None:
        got.append(far.running.ask(f"/links/{far.link}/large.bin").body)

    before = relayed(far.running)
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each == LARGE for each in got)
    assert len(got) == 6
    assert relayed(far.running) - before < 3 * len(LARGE), "six readers, and not six fetches"


def test_a_range_brings_its_pieces_alone(far: Far) -> None:
    before = relayed(far.running)
    got = far.running.ask(f"/links/{far.link}/big.bin", Range="bytes=1000000-1000099")
    assert (got.status, got.body) == (206, BIG[1_000_000:1_000_100])
    assert relayed(far.running) - before <= len(BIG)


def test_names_and_directories(far: Far) -> None:
    assert far.running.ask("/refs/site/small.txt").body == SMALL
    assert far.running.ask("/refs/team/site/sub/deep/%C3%BC.html").status == 200
    assert b"large.bin" in far.running.ask(f"/links/{far.link}/").body


def test_what_nobody_has(far: Far) -> None:
    unknown = far.running.ask("/links/" + said(far.origin, "add", __file__))
    assert unknown.status == 404


def test_what_another_network_has_is_not_relayed(far: Far, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.write_bytes(noise(11, 400_000))
    said(far.home, "network", "create", "private")
    words = ("share", str(hidden), "--network", "private")
    until(lambda: forge(far.home, *words).returncode == 0, "the node has noticed its new network")
    link = said(far.home, *words)
    assert far.running.ask(f"/links/{link}").status == 404
    ours = forge_edge(far.home, "token", "--network", "private").splitlines()[-1]
    deadline = time.monotonic() + 20
    while far.running.ask(f"/links/{link}", token=ours).status != 200:
        assert time.monotonic() < deadline


def test_going_down_finishes_what_is_under_way(far: Far, tmp_path: Path) -> None:
    with gateway(far.origin, tmp_path) as running:
        token = forge_edge(far.origin, "token").splitlines()[-1]
        with running.connect() as connection, running.connect() as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(4096).startswith(b"HTTP/1.1 200")
            request = f"GET /links/{far.link}/large.bin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            connection.sendall(request.encode())
            received = bytearray(connection.recv(1000))
            running.process.send_signal(signal.SIGTERM)
            received += whole_answer(connection)
            assert received.endswith(LARGE[-1000:])
            assert bytes(received).partition(b"\r\n\r\n")[2] == LARGE
            assert whole_answer(idle) == b""
        assert running.process.wait(timeout=20) == 0


def test_without_a_node_the_store_is_served(far: Far, tmp_path: Path) -> None:
    home = tmp_path / "alone"
    said(home, "network", "create", "team")
    with node(home, "up", "--no-lan"):
        link = said(home, "share", __file__, "--network", "team")
        said(home, "publish", "site", str(Path(__file__).parent))
    token = forge_edge(home, "token", "--write").splitlines()[-1]
    with gateway(home, tmp_path / "gateway") as running:
        running.token = token
        assert running.ask(f"/links/{link}").body == Path(__file__).read_bytes()
        assert running.ask("/refs/site/harness.py").status == 200
        assert b"node is down" in running.ask("/readyz").body
        assert running.ask(f"/links/{far.link}").status == 404
        assert running.ask("/links", method="POST", body=b"x").status == 503
