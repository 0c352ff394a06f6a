"""Nodes for the tests: real ones, in this process or in processes of their own, talking QUIC on loopback."""

import os
import random
import shutil
import signal
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import pytest
import trio

from forge_p2p.config import NetConfig, NodeConfig, StoreConfig
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, Report, ignore_progress
from forge_p2p.node.network import Network, open_network
from forge_p2p.node.operations import getting, sharing
from forge_p2p.node.results import GetResult, ShareResult
from tests.cli.harness import COMMAND, environment

CHUNK = 256 * 1024
LOOPBACK = "127.0.0.1:0"
CONFIG = NodeConfig(listen=LOOPBACK, store=StoreConfig(reserve=0))
HASTY = NodeConfig(
    listen=LOOPBACK,
    store=StoreConfig(reserve=0),
    net=NetConfig(idle_timeout=4.0, dial_timeout=1.5, stall_timeout=0.8, reconnect_timeout=0.5),
)
"""Little patience, so that tests of peers that say nothing end soon."""

SETTINGS = """
listen = "127.0.0.1:0"
[store]
reserve = 0
[net]
idle_timeout = 4
dial_timeout = 2
stall_timeout = 1.5
reconnect_timeout = 10
"""
"""Little patience for a process, which takes a moment to start again."""


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


# Directories


@dataclass(frozen=True, slots=True)
class Seen:
    """All that Forge promises to keep of one path. `mtime_ns` of files alone; `content` is a symlink's target, too."""

    kind: str
    mode: int
    mtime_ns: int
    content: bytes


def contents(root: Path) -> dict[bytes, Seen]:
    """Everything below `root` but pipes, symlinks not followed."""
    found: dict[bytes, Seen] = {}
    base = os.fsencode(root)
    for folder, folders, files in os.walk(base):
        for name in folders + files:
            path = os.path.join(folder, name)
            if not stat.S_ISFIFO(os.lstat(path).st_mode):
                found[os.path.relpath(path, base)] = _seen(path)
    return found


def _seen(path: bytes) -> Seen:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return Seen("symlink", 0, 0, os.readlink(path))
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Seen("directory", mode, 0, b"")
    with open(path, "rb") as file:
        return Seen("file", mode, status.st_mtime_ns, file.read())


def small_tree(root: Path, seed: int = 0, files: int = 20) -> Path:
    """A few files in a few directories, one of them of several chunks."""
    for number in range(files):
        path = root / f"d{number % 4}" / f"f{number:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(seed * 1000 + number, 500 + 137 * number))
    (root / "large").write_bytes(noise(seed, 3 * CHUNK + 17))
    return root


def partials(destination: Path) -> list[str]:
    """What lies beside `destination` and has a name of Forge's own."""
    return [name for name in os.listdir(destination.parent) if ".forge" in name]


def settings(home: Path, text: str = SETTINGS) -> Path:
    """Writes a settings file into `home`, which is made."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "config.toml").write_text(text)
    return home


# Nodes in this process


@asynccontextmanager
async def running(home: Path, config: NodeConfig = CONFIG, *, serve: bool = True) -> AsyncIterator[Network]:
    """A node on `home`."""
    with LocalNode(Home(home), config) as local:
        async with open_network(local, serve=serve) as network:
            yield network


async def share(network: Network, path: Path, expires: float = 0.0) -> ShareResult:
    return await sharing.share(network, path=str(path), expires=expires, report=ignore_progress)


async def get(
    network: Network,
    what: str,
    destination: Path,
    *,
    peers: list[str] | None = None,
    check: bool = False,
    report: Report = ignore_progress,
) -> GetResult:
    """As the command does it: what is there already needs no network."""

    def already_there() -> GetResult | None:
        return getting.already_there(
            network.node, what=what, destination=str(destination), peers=peers or [], check=check, report=report
        )

    result = await trio.to_thread.run_sync(already_there)
    if result is not None:
        return result
    return await getting.get(
        network, what=what, destination=str(destination), peers=peers or [], check=check, report=report
    )


# Nodes in processes of their own


@dataclass(slots=True)
class Node:
    """A `forge share` or `forge up` under way. `lines` are what it has said on standard output."""

    process: "subprocess.Popen[str]"
    home: Path
    lines: list[str] = field(default_factory=list)

    @property
    def ticket(self) -> str:
        return self.lines[-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ends it as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def node(home: Path, *arguments: str, lines: int = 1, log: IO[str] | None = None) -> Iterator[Node]:
    """Starts `forge ARGUMENTS` and waits for its first lines of output; kills it in the end."""
    if not (home / "config.toml").exists():
        settings(home)
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=environment(home), stdout=subprocess.PIPE, stderr=log, text=True
    )
    started = Node(process, home)
    try:
        assert process.stdout is not None
        for _ in range(lines):
            line = process.stdout.readline()
            assert line, f"forge {' '.join(arguments)} ended with {process.wait()} instead of saying something"
            started.lines.append(line.rstrip("\n"))
        yield started
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def getting_json(result: "subprocess.CompletedProcess[str]") -> GetResult:
    """What `forge get --json` said. It must have gone well."""
    assert result.returncode == 0, result.stderr
    return msgspec.json.decode(result.stdout, type=GetResult)


def refused(result: "subprocess.CompletedProcess[str]", code: int) -> str:
    """The message of a command that had to fail with `code`, checked for its form: one line, and a hint at most."""
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    lines = result.stderr.splitlines()
    assert lines[0].startswith("forge: error: "), result.stderr
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("forge: hint: ")), result.stderr
    return result.stderr


def strace(*arguments: str) -> list[str]:
    """The words that run a command under strace, its own output thrown away."""
    if shutil.which("strace") is None:
        pytest.fail("strace is missing: apt install strace")
    return ["strace", "-f", "-qqq", "-o", os.devnull, *arguments]
