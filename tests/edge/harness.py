"""Gateways in processes of their own, beside real nodes, and a client that says exactly what it is told to."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.harness import ROOT, TIMEOUT, environment

EDGE = [sys.executable, "-m", "forge_edge.main"]

SETTINGS = """
home = "{home}"
[store]
reserve = 0
quota = "{quota}"
[gateway]
listen = "127.0.0.1:0"
{more}
"""

UNLIMITED = "rate = 100000\nburst = 100000\n"


def edge_environment(home: Path) -> dict[str, str]:
    """As for `forge`, with both packages on the path."""
    return environment(home, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'edge'}")


def forge_edge(home: Path, *arguments: str) -> str:
    """What a command of `forge-edge` printed."""
    done = subprocess.run(
        [*EDGE, *arguments],
        env=edge_environment(home),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


@dataclass(slots=True)
class Running:
    """A gateway that is up."""

    process: "subprocess.Popen[str]"
    host: str
    port: int
    log: Path
    errors: Path
    token: str = field(default="", repr=False)

    def ask(
        self, path: str, *, method: str = "GET", token: str | None = None, body: bytes | None = None, **headers: str
    ) -> Reply:
        """One request on a connection of its own. `headers`: `If_Match` stands for If-Match."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        token = self.token if token is None else token
        if token:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection((self.host, self.port), timeout=30)

    def said(self) -> str:
        """All that it has written anywhere."""
        return self.log.read_text() + self.errors.read_text()


@contextmanager
def gateway(home: Path, folder: Path, more: str = "", quota: str = "0") -> Iterator[Running]:
    """A gateway beside `home`, with these settings of `[gateway]` too."""
    more = more if "rate" in more else UNLIMITED + more
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "seed.toml"
    file.write_text(SETTINGS.format(home=home, more=more, quota=quota))
    log, errors = folder / "out.log", folder / "errors.log"
    with log.open("w") as out, errors.open("w") as err:
        process = subprocess.Popen(
            [*EDGE, "serve", "--config", str(file)],
            env=edge_environment(home),
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
        copying: subprocess.Popen[bytes] | None = None
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert first, errors.read_text()
            host, _, port = json.loads(first)["url"].partition("://")[2].rpartition(":")
            copying = subprocess.Popen(["cat"], stdin=process.stdout, stdout=out)
            yield Running(process, host, int(port), log, errors)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            process.wait(timeout=40)
            process.stdout.close()
            if copying is not None:
                copying.wait(timeout=10)


def whole_answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = bytearray()
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return bytes(received)
