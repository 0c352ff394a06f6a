"""The node in the background: what commands do through it, what it survives, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from forge_p2p.content.ticket import parse_ticket
from forge_p2p.node.control import HEADER, Kind, pack
from tests.cli.harness import COMMAND, environment, forge
from tests.node.harness import Node, contents, node, noise, refused, settings, small_tree

VARYING = {"seconds", "ticket", "destination", "wire_sent", "wire_received", "peer", "id", "created", "addresses"}
VARYING |= {"sources"}  # ports and rates
"""Fields of results that differ from run to run."""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Node]:
    """A node that is up in a process of its own."""
    with (tmp_path / "log").open("w") as log, node(tmp_path / "home", "up", lines=2, log=log) as started:
        yield started


def said(home: Path, *arguments: str) -> dict[str, Any]:
    """What a command says with `--json`."""
    result = forge(home, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def steady(value: Any) -> Any:
    """A result without what differs from run to run."""
    if isinstance(value, dict):
        return {name: steady(part) for name, part in value.items() if name not in VARYING}
    if isinstance(value, list):
        return [steady(part) for part in value]
    return value


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def has_ended(pid: int) -> bool:
    """A process that nobody has waited for counts."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_commands_do_the_same_with_and_without_a_node(tmp_path: Path, up: Node) -> None:
    source, alone = small_tree(tmp_path / "source"), settings(tmp_path / "alone")
    with node(tmp_path / "sharing", "share", str(source)) as sharing:
        for home in (up.home, alone):
            copy = tmp_path / f"copy of {home.name}"
            results = [
                said(home, "get", sharing.ticket, str(copy)),
                said(home, "get", sharing.ticket, str(copy)),
                said(home, "ls", sharing.ticket),
                said(home, "ls", sharing.ticket, "d1"),
                said(home, "add", str(source)),
                said(home, "add", str(source)),
                said(home, "shares"),
                said(home, "store", "verify"),
            ]
            cat = subprocess.run(
                [*COMMAND, "cat", sharing.ticket, "large"], env=environment(home), capture_output=True, check=True
            )
            assert contents(copy) == contents(source)
            assert cat.stdout == (source / "large").read_bytes()
            (tmp_path / f"{home.name}.json").write_text(json.dumps(steady(results), indent=1))
    with_node, without = [json.loads((tmp_path / f"{home.name}.json").read_text()) for home in (up.home, alone)]
    assert with_node == without


def test_errors_are_the_same_with_and_without_a_node(tmp_path: Path, up: Node) -> None:
    alone = settings(tmp_path / "alone")
    link = forge(up.home, "add", str(small_tree(tmp_path / "source"))).stdout.strip()
    for arguments, code in [
        (["get", "nonsense", str(tmp_path / "copy")], 2),
        (["get", "fblob1qqqq", str(tmp_path / "copy")], 2),
        (["add", str(tmp_path / "missing")], 2),
        (["unshare", "nothing"], 4),
        (["ls", "ftree1x"], 2),
    ]:
        told = [refused(forge(home, *arguments), code) for home in (up.home, alone)]
        assert told[0] == told[1]
    forge(alone, "add", str(tmp_path / "source"))
    told = [refused(forge(home, "cat", link, "nowhere"), 4) for home in (up.home, alone)]
    assert told[0] == told[1]


def test_detached_life(tmp_path: Path) -> None:
    home = settings(tmp_path / "home")
    source = small_tree(tmp_path / "source")
    started = said(home, "up", "--detach")
    try:
        assert psutil.pid_exists(started["pid"])
        status = said(home, "status")
        assert (status["running"], status["pid"], status["node_id"]) == (True, started["pid"], started["node_id"])
        ticket = forge(home, "share", str(source)).stdout.strip()
        assert [share["path"] for share in said(home, "shares")["shares"]] == [str(source)]
        assert said(settings(tmp_path / "other"), "get", ticket, str(tmp_path / "copy"))["problems"] == []
        assert contents(tmp_path / "copy") == contents(source)
        assert len(said(home, "unshare", str(source))["removed"]) == 1
        assert said(home, "shares")["shares"] == []
        assert "a node is already up" in refused(forge(home, "up", "--detach"), 6)
        assert "a node is already up" in refused(forge(home, "up"), 6)
    finally:
        down = forge(home, "down")
    assert down.returncode == 0, down.stderr
    wait_until(lambda: has_ended(started["pid"]))
    assert not (home / "control.sock").exists()
    assert said(home, "status")["running"] is False
    refused(forge(home, "down"), 4)


def test_killed_node_leaves_nothing_in_the_way(tmp_path: Path, up: Node) -> None:
    up.kill()
    assert (up.home / "control.sock").exists()
    assert said(up.home, "status")["running"] is False
    assert forge(up.home, "add", str(small_tree(tmp_path / "source"))).returncode == 0
    with node(up.home, "up", lines=2):
        assert said(up.home, "status")["running"] is True


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly_on_a_signal(up: Node, stop: signal.Signals) -> None:
    up.process.send_signal(stop)
    assert up.process.wait(timeout=20) == 0
    assert not (up.home / "control.sock").exists()
    assert "Traceback" not in (up.home.parent / "log").read_text()


def test_home_with_a_very_long_path(tmp_path: Path) -> None:
    home = tmp_path.joinpath(*["x" * 200 for _ in range(4)])
    source = small_tree(tmp_path / "source")
    with node(home, "up", lines=2):
        assert said(home, "status")["running"] is True
        ticket = forge(home, "share", str(source)).stdout.strip()
        forge(home, "get", ticket, str(tmp_path / "copy"))
    assert contents(tmp_path / "copy") == contents(source)


def test_command_killed_in_the_middle(tmp_path: Path, up: Node) -> None:
    """Its operation ends with it, and the node lives on."""
    (tmp_path / "large").write_bytes(noise(1, 1 << 20) * 600)
    command = subprocess.Popen([*COMMAND, "add", str(tmp_path / "large")], env=environment(up.home))
    wait_until(lambda: said(up.home, "store", "stat")["staging"] > 0)
    command.kill()
    command.wait()
    wait_until(lambda: said(up.home, "store", "stat")["staging"] == 0)
    assert said(up.home, "store", "stat")["pins"] == []
    assert said(up.home, "status")["pid"] == up.process.pid


def test_reader_of_cat_goes_away(tmp_path: Path, up: Node) -> None:
    (tmp_path / "large").write_bytes(noise(1, 1 << 20) * 40)
    link = forge(up.home, "add", str(tmp_path / "large")).stdout.strip()
    command = subprocess.Popen([*COMMAND, "cat", link], env=environment(up.home), stdout=subprocess.PIPE)
    assert command.stdout is not None
    assert command.stdout.read(1000) == noise(1, 1000)
    command.stdout.close()
    assert command.wait(timeout=20) == 141
    assert said(up.home, "status")["pid"] == up.process.pid


def say(home: Path, data: bytes) -> bytes:
    """Sends bytes to the control socket and closes that direction; what comes back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        connection.connect(str(home / "control.sock"))
        answer = b""
        with suppress(ConnectionError):  # it may close with bytes of ours unread
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
    return answer


def call(operation: str, **arguments: object) -> bytes:
    return pack(Kind.CALL, json.dumps({"operation": operation, "arguments": arguments}).encode())


NONSENSE = {
    "nothing": b"",
    "noise": noise(1, 5000),
    "half a header": b"\x01\x00",
    "half a body": HEADER.pack(Kind.CALL, 100) + b"{",
    "a length of 4 GB": HEADER.pack(Kind.CALL, 0xFFFFFFFF) + b"x" * 100,
    "another kind": pack(Kind.RESULT, b"{}"),
    "no JSON": pack(Kind.CALL, b"\xff" * 100),
    "another shape": pack(Kind.CALL, b"[1, 2, 3]"),
    "no such operation": call("format_disk"),
    "private things": call("__class__"),
    "arguments missing": call("add"),
    "arguments too many": call("shares", colour="red"),
    "arguments of other types": call("add", path=5),
    "more arguments of other types": call("get", what=["x"], destination=None),
    "an argument of ours": call("add", path="/", report="x"),
    "two calls": call("shares") + call("shares"),
}


def test_nonsense_on_the_control_socket(up: Node) -> None:
    for name, data in NONSENSE.items():
        answer = say(up.home, data)
        assert not answer or answer[0] in (Kind.ERROR, Kind.RESULT), name
        assert up.process.poll() is None, f"{name} ended the node"
    assert said(up.home, "status")["pid"] == up.process.pid


def test_many_silent_connections_to_the_control_socket(up: Node) -> None:
    held = []
    for _ in range(60):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(up.home / "control.sock"))
        held.append(connection)
    assert said(up.home, "status")["pid"] == up.process.pid
    for connection in held:
        connection.close()


def test_control_socket_is_the_owners_alone(up: Node) -> None:
    assert os.stat(up.home).st_mode & 0o077 == 0
    assert os.stat(up.home / "control.sock").st_mode & 0o077 == 0
    assert os.stat(up.home / "node.key").st_mode & 0o077 == 0


def test_get_killed_in_the_middle(tmp_path: Path, up: Node) -> None:
    """The node lets the destination go, keeps what has arrived, and finishes when asked again."""
    source = small_tree(tmp_path / "source")
    with (source / "bulk").open("wb") as file:
        for seed in range(80):
            file.write(noise(seed, 1 << 20))
    with node(tmp_path / "sharing", "share", str(source)) as sharing:
        words = ["get", sharing.ticket, str(tmp_path / "copy")]
        command = subprocess.Popen([*COMMAND, *words], env=environment(up.home), stdout=subprocess.DEVNULL)
        wait_until(lambda: bool(list(tmp_path.glob(".copy.*.forge-partial/bulk"))) or command.poll() is not None)
        command.kill()
        command.wait()
        assert not (tmp_path / "copy").exists()
        wait_until(lambda: forge(up.home, *words).returncode == 0)
    assert contents(tmp_path / "copy") == contents(source)
    assert said(up.home, "status")["pid"] == up.process.pid


def test_port_that_is_taken(tmp_path: Path, up: Node) -> None:
    address = f"127.0.0.1:{up.lines[-1].rsplit(' ', 1)[-1]}"
    told = refused(forge(tmp_path / "other", "up", "--listen", address), 10)
    assert f"cannot listen on 127.0.0.1 port {address.rpartition(':')[2]}" in told
    assert told == refused(forge(tmp_path / "other", "up", "--detach", "--listen", address), 10)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_share_that_serves_by_itself(tmp_path: Path, stop: signal.Signals) -> None:
    """It is a node: other commands use it, and its share outlives it until the next node is up."""
    source = small_tree(tmp_path / "source")
    with node(tmp_path / "home", "share", str(source)) as sharing:
        assert said(sharing.home, "status")["running"] is True
        assert len(said(sharing.home, "shares")["shares"]) == 1
        sharing.process.send_signal(stop)
        assert sharing.process.wait(timeout=20) == 0
        assert not (sharing.home / "control.sock").exists()
    port = parse_ticket(sharing.ticket).addresses[0][1]
    with node(tmp_path / "home", "up", "--listen", f"127.0.0.1:{port}", lines=2):
        assert forge(settings(tmp_path / "there"), "get", sharing.ticket, str(tmp_path / "copy")).returncode == 0
    assert contents(tmp_path / "copy") == contents(source)


def test_share_of_nothing(tmp_path: Path) -> None:
    home = settings(tmp_path / "home")
    told = refused(forge(home, "share", str(tmp_path / "missing")), 2)
    assert str(tmp_path / "missing") in told
    assert not (home / "control.sock").exists()
    assert said(home, "shares")["shares"] == []
