"""Whatever is killed, and whenever: the same command goes on, and little travels twice."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.harness import environment, forge
from tests.node.harness import SETTINGS, contents, getting_json, node, partials, settings, small_tree

MB = 1_000_000
KILL_ALLOWANCE = 3 * MB
"""Bytes that a kill may cost: what had arrived and was not yet in a journal. At worst, on a busy machine, that is the
narrowest window and a batch in hand; about 1 MB as a rule."""


def a_tree(root: Path, size: int) -> Path:
    """Incompressible: half of `size` in one file, the rest in files of every size."""
    small_tree(root, files=60)
    draw = random.Random(7)
    with (root / "half").open("wb") as file:
        for _ in range(size // 2 // MB):
            file.write(draw.randbytes(MB))
    left, number = size // 2, 0
    while left > 0:
        length = min(left, int(2 ** draw.uniform(8, 22)))
        path = root / "many" / f"{number % 10}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.randbytes(length))
        left -= length
        number += 1
    return root


def size_of(root: Path) -> int:
    """Bytes of content below `root`."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


COUNTING = """
import mmap, struct, sys
from forge_p2p.cli.main import main
from forge_p2p.node.fetch.receiving import Receiver
with open(sys.argv.pop(1), "r+b") as file:
    counter = mmap.mmap(file.fileno(), 8)
original = Receiver.chunks
def counted(self, session, number, chunks):
    (before,) = struct.unpack("<Q", counter)
    counter[:] = struct.pack("<Q", before + sum(chunk.size for _, chunk in chunks))
    original(self, session, number, chunks)
Receiver.chunks = counted
sys.exit(main())
"""
"""The command, with a count of all the bytes of content that have come in, kept where its death does not matter."""


def start_get(home: Path, ticket: str, copy: Path, count: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", COUNTING, str(count), "get", ticket, str(copy), "--json"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def came_in(count: Path) -> int:
    """Bytes of content that all the processes started with `count` have received."""
    return int.from_bytes(count.read_bytes(), "little")


def until(process: "subprocess.Popen[str]", true: Callable[[], bool]) -> bool:
    """Waits until something holds or the process has ended; whether it holds."""
    while process.poll() is None:
        if true():
            return True
        time.sleep(0.002)
    return False


def kill_and_resume(tmp_path: Path, size: int, kills: int, seed: int) -> str:
    """Kills a `get` again and again at random moments; checks what is there in the end and what it took."""
    source, copy, home = a_tree(tmp_path / "source", size), tmp_path / "copy", settings(tmp_path / "there")
    total = size_of(source)
    count = tmp_path / "count"
    count.write_bytes(bytes(8))
    draw = random.Random(seed)
    killed = 0
    with node(tmp_path / "here", "share", str(source)) as sharing:
        while True:
            process = start_get(home, sharing.ticket, copy, count)
            goal = came_in(count) + draw.randrange(1, 2 * total // (kills + 2))
            if killed == kills or not until(process, lambda goal=goal: came_in(count) > goal):  # type: ignore[misc]
                break
            time.sleep(draw.uniform(0, 0.02))
            process.kill()
            process.communicate()
            killed += 1
            assert not copy.exists()
        told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert contents(copy) == contents(source)
    assert partials(copy) == []
    assert killed >= kills * 3 // 4, "too few kills met the transfer"
    fetched = came_in(count)
    assert fetched < 1.01 * total + killed * KILL_ALLOWANCE
    return f"{total / MB:.0f} MB, {killed} kills: {fetched / total:.4f} times the content came in"


@pytest.mark.parametrize(
    ("size", "kills"), [(96 * MB, 4), pytest.param(1000 * MB, 20, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_receiver_killed(tmp_path: Path, size: int, kills: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    sys.stderr.write(f"seed {seed}\n")
    sys.stderr.write(kill_and_resume(tmp_path, size, kills, seed) + "\n")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_sender_killed_and_back(tmp_path: Path, how: signal.Signals) -> None:
    """The get that was under way waits for the same node at the same place, and finishes."""
    source, copy, home = a_tree(tmp_path / "source", 60 * MB), tmp_path / "copy", settings(tmp_path / "there")
    count = tmp_path / "count"
    count.write_bytes(bytes(8))
    total = size_of(source)
    with node(tmp_path / "here", "up", lines=2) as up:
        ticket = forge(up.home, "share", str(source)).stdout.strip()
        port = up.lines[-1].rsplit(" ", 1)[-1]
        process = start_get(home, ticket, copy, count)
        assert until(process, lambda: int.from_bytes(count.read_bytes(), "little") > total // 4)
        up.process.send_signal(how)
        up.process.wait()
    assert process.poll() is None, "the transfer was over before the sender was killed"
    with node(tmp_path / "here", "up", "--listen", f"127.0.0.1:{port}", lines=2):
        told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert contents(copy) == contents(source)
    assert came_in(count) < 1.1 * total


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_sender_gone_for_good(tmp_path: Path, how: signal.Signals) -> None:
    source, copy = a_tree(tmp_path / "source", 30 * MB), tmp_path / "copy"
    home = settings(
        tmp_path / "there",
        SETTINGS.replace("reconnect_timeout = 10", "reconnect_timeout = 0").replace(
            "dial_timeout = 2", "dial_timeout = 1"
        ),
    )
    count = tmp_path / "count"
    count.write_bytes(bytes(8))
    with node(tmp_path / "here", "share", str(source)) as sharing:
        process = start_get(home, sharing.ticket, copy, count)
        assert until(process, lambda: came_in(count) > 6 * MB)
        sharing.process.send_signal(how)
        sharing.process.wait()
        out, told = process.communicate(timeout=60)
        assert (process.returncode, out) == (10, ""), told
        assert "the same command goes on" in told
    assert not copy.exists()
    with node(tmp_path / "here", "share", str(source)) as sharing:
        result = getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
    assert result.fetched_bytes < size_of(source) - 2 * MB
    assert contents(copy) == contents(source)


def test_interrupted_by_the_user(tmp_path: Path) -> None:
    source, copy, home = a_tree(tmp_path / "source", 120 * MB), tmp_path / "copy", settings(tmp_path / "there")
    count = tmp_path / "count"
    count.write_bytes(bytes(8))
    with node(tmp_path / "here", "share", str(source)) as sharing:
        process = start_get(home, sharing.ticket, copy, count)
        assert until(process, lambda: came_in(count) > 6 * MB)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        assert "interrupted" in told
        assert not copy.exists()
        result = getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
    assert result.fetched_bytes < size_of(source) - 2 * MB
    assert contents(copy) == contents(source)
