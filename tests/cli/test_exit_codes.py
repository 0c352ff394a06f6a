"""What goes wrong ends with a clear line on standard error and the code that docs/errors.md promises."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND, environment, forge


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["gett"], "there is no command 'gett'. Did you mean 'get'?", "forge --help"),
        (["get"], "missing argument 'TICKET|LINK'", "forge get --help"),
        (["get", "a", "b", "c"], "got unexpected extra argument (c)", "forge get --help"),
        (["store", "frobnicate"], "no such command 'frobnicate'", "forge store --help"),
        (["up", "--listen", "4433"], "'4433' is not an address to listen on", 'write "192.0.2.1:4433" or "[::]:4433"'),
        (
            ["share", ".", "--expires", "soon"],
            "'soon' is not a duration",
            'write it like "30s", "15min", "12h" or "1d"',
        ),
        (
            ["get", "nightly", "copy"],
            "this is neither a link nor a ticket",
            "a link begins with fblob1 or ftree1, a ticket with fticket1; forge pull gets what a name stands for",
        ),
        (
            ["network", "create", "team/nightly"],
            "a network cannot be called 'team/nightly'",
            "1 to 64 printable characters, neither / nor @; forge network join --as gives one a name of your own",
        ),
        (["--json", "cat", "x"], "cat writes content as it is; --json does not apply", "forge ls --json tells of it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(home: Path, arguments: list[str], message: str, hint: str) -> None:
    result = forge(home, *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    if "--json" in arguments:
        told = json.loads(result.stderr)
        assert told == {"error": "UsageError", "message": message, "hint": hint, "exit": 2}
    else:
        assert result.stderr == f"forge: error: {message}\nforge: hint: {hint}\n"


def test_unknown_option(home: Path) -> None:
    result = forge(home, "get", "--frobnicate")
    assert result.returncode == 2
    assert result.stderr.startswith("forge: error: no such option")
    assert "--frobnicate" in result.stderr


def test_nothing_to_stop(home: Path) -> None:
    result = forge(home, "down")
    assert result.returncode == 4
    assert result.stderr == f"forge: error: no node is up on {home}\nforge: hint: forge up starts one\n"


def test_debug_shows_where(home: Path) -> None:
    result = forge(home, "down", "--debug")
    assert result.returncode == 4
    assert "Traceback" in result.stderr
    assert result.stderr.endswith(f"forge: error: no node is up on {home}\nforge: hint: forge up starts one\n")


def test_reader_that_went_away(home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as broken:
        result = subprocess.run(
            [*COMMAND, "completion", "bash"],
            env=environment(home),
            stdout=broken,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (result.returncode, result.stderr) == (141, "")


def test_standard_output_that_is_full(home: Path) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*COMMAND, "completion", "bash"],
            env=environment(home),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 8
    assert result.stderr == "forge: error: No space left on device\n"


@contextmanager
def silent_node(home: Path) -> Iterator[socket.socket]:
    """Something that listens where a node would, and never answers."""
    home.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(home / "control.sock"))
        listener.listen()
        yield listener


def test_interrupted_while_waiting(home: Path) -> None:
    with silent_node(home) as listener:
        command = subprocess.Popen([*COMMAND, "status"], env=environment(home), stderr=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            command.send_signal(signal.SIGINT)
            _, told = command.communicate(timeout=60)
    assert command.returncode == 130
    assert told.strip() == "forge: error: interrupted"


def hang_up(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.close()


def test_node_that_dies_in_the_middle(home: Path) -> None:
    with silent_node(home) as listener:
        threading.Thread(target=hang_up, args=[listener]).start()
        result = forge(home, "status")
    assert result.returncode == 10
    assert result.stderr.startswith("forge: error: the node went away in the middle of the command\n")


def test_home_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    result = forge(file, "add", str(tmp_path))
    assert result.returncode in {6, 7}
    assert str(file) in result.stderr
