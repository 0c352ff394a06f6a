"""Real namespaces, cables and rates. They need root, iproute2 and util-linux, and say so where they miss them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from simulations.labs import ownership
from simulations.labs.programs import Program
from simulations.labs.tools import LabError
from simulations.labs.topology import BURST, ROOT, Cable, Lab, open_lab

FAST = Cable(10**9, 10**9)
PORT = 7000

LISTEN = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)
s.bind(("", {PORT}))
print("ready", flush=True)
while True:
    data, sender = s.recvfrom(65536)
    s.sendto(data, sender)
    print(sender[0], len(data), flush=True)
"""

ASK = f"""
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[2]))
begin = time.monotonic()
try:
    s.sendto(b"x" * 100, (sys.argv[1], {PORT}))
    s.recv(1000)
    print(time.monotonic() - begin)
except OSError as error:
    print("nothing", error)
"""


@contextmanager
def lab(folder: Path, **cables: Cable) -> Iterator[Lab]:
    try:
        with open_lab(cables, folder) as opened:
            yield opened
    except LabError as error:
        pytest.fail(str(error))


def listen(opened: Lab, name: str) -> Program:
    listener = opened.hosts[name].start([sys.executable, "-c", LISTEN])
    assert listener.line() == "ready"
    return listener


def ask(opened: Lab, name: str, address: str, patience: float = 20.0) -> str:
    """What a host hears that sends one datagram to `address`: seconds until the answer, or that there was none."""
    asking = opened.hosts[name].start([sys.executable, "-c", ASK, address, str(patience)])
    said = asking.rest()
    assert asking.wait() == 0, asking.errors()
    return said.strip()


def test_hosts_reach_each_other_and_nobody_else(tmp_path: Path) -> None:
    with lab(tmp_path, one=FAST, two=FAST) as opened:
        one, two = opened.hosts["one"], opened.hosts["two"]
        listener = listen(opened, "two")
        assert float(ask(opened, "one", two.address)) > 0
        assert listener.line() == f"{one.address} 100"
        assert ask(opened, "one", "192.0.2.1", 0.1).startswith("nothing")
        sent, received = opened.traffic("one"), opened.traffic("two")
        assert sent.sent >= 142
        assert received.received >= 142
        assert opened.received()["two"] == received.received


COUNT = 200

COLLECT = f"""
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)
s.bind(("", {PORT}))
print("ready", flush=True)
s.recv(2000)
begin = time.monotonic()
for _ in range({COUNT} - 1):
    s.recv(2000)
print(time.monotonic() - begin, flush=True)
"""

SEND = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range({COUNT}):
    s.sendto(bytes(1000), (sys.argv[1], {PORT}))
"""


@pytest.mark.parametrize("narrow", [Cable(10**6, 10**9), Cable(10**9, 10**6)], ids=["up", "down"])
def test_a_cable_is_as_narrow_as_was_said(tmp_path: Path, narrow: Cable) -> None:
    sender, receiver = (narrow, FAST) if narrow.up < narrow.down else (FAST, narrow)
    with lab(tmp_path, one=sender, two=receiver) as opened:
        collecting = opened.hosts["two"].start([sys.executable, "-c", COLLECT])
        assert collecting.line() == "ready"
        opened.hosts["one"].start([sys.executable, "-c", SEND, opened.hosts["two"].address])
        seconds = (COUNT * 1042 - BURST) * 8 / 10**6
        assert float(collecting.line()) > 0.95 * seconds


def test_slow_cables_delay_and_lose(tmp_path: Path) -> None:
    slow = Cable(10**9, 10**9, delay=0.05)
    deaf = Cable(10**9, 10**9, delay=0.001, loss=1.0)
    with lab(tmp_path, one=slow, two=slow, fast=FAST, deaf=deaf) as opened:
        listen(opened, "two")
        address = opened.hosts["two"].address
        assert float(ask(opened, "one", address)) > 0.1
        assert float(ask(opened, "fast", address)) > 0.05
        assert ask(opened, "deaf", address, 0.3).startswith("nothing")
        opened.relay.send_signal(signal.SIGTERM)
        statistics = json.loads(opened.relay.rest())
        assert statistics["lost"] > 0
        assert statistics["datagrams"] >= statistics["frames"] > statistics["lost"]


def test_multicast_reaches_everybody(tmp_path: Path) -> None:
    group = "239.1.2.3"
    hear = (
        "import socket, struct\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', 7001))\n"
        f"s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('{group}') + bytes(4))\n"
        "print('ready', flush=True)\nprint(s.recv(10).decode(), flush=True)"
    )
    say = f"import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hello', ('{group}', 7001))"
    with lab(tmp_path, one=FAST, two=FAST, three=Cable(10**9, 10**9, delay=0.001)) as opened:
        hearing = [opened.hosts[name].start([sys.executable, "-c", hear]) for name in ("two", "three")]
        assert [each.line() for each in hearing] == ["ready", "ready"]
        assert opened.hosts["one"].start([sys.executable, "-c", say]).wait() == 0
        assert [each.line() for each in hearing] == ["hello", "hello"]


def test_cables_are_pulled_and_networks_parted(tmp_path: Path) -> None:
    with lab(tmp_path, one=FAST, two=FAST) as opened:
        listen(opened, "two")
        address = opened.hosts["two"].address
        assert float(ask(opened, "one", address)) > 0
        opened.unplug("two")
        assert ask(opened, "one", address, 0.3).startswith("nothing")
        opened.plug("two")
        assert float(ask(opened, "one", address)) > 0
        opened.partition(["two"])
        assert ask(opened, "one", address, 0.3).startswith("nothing")
        opened.heal()
        assert float(ask(opened, "one", address)) > 0


def test_a_host_that_moves_has_another_address(tmp_path: Path) -> None:
    with lab(tmp_path, one=FAST, two=FAST, far=Cable(10**9, 10**9, delay=0.001)) as opened:
        listen(opened, "two")
        two = opened.hosts["two"]
        before, address = opened.traffic("two"), two.address
        assert float(ask(opened, "one", address)) > 0
        opened.move("two")
        assert two.address != address
        assert ask(opened, "one", address, 0.3).startswith("nothing")
        assert float(ask(opened, "one", two.address)) > 0
        assert opened.traffic("two").received > before.received
        with pytest.raises(LabError, match="far hangs on the relay"):
            opened.move("far")


BUSY = """
x = b"1" * 50_000_000
for _ in range(10**6):
    pass
raise SystemExit(3)
"""

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


def test_programs_are_measured_and_stopped(tmp_path: Path) -> None:
    with lab(tmp_path, one=FAST) as opened:
        host = opened.hosts["one"]
        busy = host.start([sys.executable, "-c", BUSY])
        assert busy.wait() == 3
        assert busy.cpu > 0
        assert busy.peak > 50_000_000
        endless = host.start([sys.executable, "-c", STUBBORN])
        assert endless.line() == "ready"
        endless.stop(patience=0.2)
        assert endless.poll() == -signal.SIGKILL
        with pytest.raises(LabError, match="said nothing more; Traceback"):
            host.start([sys.executable, "-c", "raise ValueError"]).line()


KILLED = """
import sys, signal
from pathlib import Path
from simulations.labs.topology import Cable, open_lab
with open_lab({"one": Cable(10**9, 10**9)}, Path(sys.argv[1])) as lab:
    sleeper = lab.hosts["one"].start(["sleep", "1000"])
    print(lab.hosts["one"].namespace, sleeper.pid, flush=True)
    signal.pause()
"""


def test_what_a_killed_run_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "folder")], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert run.stdout is not None
    with run.stdout:
        namespace, pid = run.stdout.readline().split()
    assert namespace not in ownership.sweep(), "its owner lives"
    run.kill()
    run.wait()
    left = tmp_path / f"{namespace}-work"
    left.mkdir()
    (tmp_path / "forgelab-notes").mkdir()
    # The namespace may be gone by now: another lab that is opened meanwhile sweeps, too.
    assert left.name in ownership.sweep(tmp_path)
    assert namespace not in os.listdir(ownership.NAMESPACES)
    assert not left.exists()
    assert (tmp_path / "forgelab-notes").exists()
    assert gone(int(pid))


def test_what_was_about_to_enter_a_namespace_is_killed_too(tmp_path: Path) -> None:
    with lab(tmp_path, one=FAST) as opened:
        namespace = opened.hosts["one"].namespace
        words = [*ownership.entering(namespace), "sleep", "1000"]
        read, write = os.pipe()
        os.set_blocking(write, False)
        with suppress(BlockingIOError):
            while True:
                os.write(write, b"1" * 65_536)
        os.set_blocking(write, True)
        # It looks like nsenter that has not come to entering: it waits for a pipe that is full.
        held = subprocess.Popen(words, executable=shutil.which("echo"), stdout=write)
        while not Path(f"/proc/{held.pid}/cmdline").read_bytes():
            time.sleep(0.01)  # for a moment after the start its words are not there yet
        ownership.remove_namespace(namespace)
        assert held.wait(10) == -signal.SIGKILL
        os.close(read)
        os.close(write)


def gone(pid: int, patience: float = 20.0) -> bool:
    """Whether a process that was killed has ended; its parent here is whoever adopts orphans, maybe late."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
