"""The gateway beside nginx, which serves the same files from disk: `wrk`, 64 connections, a core for each server."""

import os
import re
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from forge_p2p.cli.units import parse_duration, parse_size
from simulations.versus.bench import Bar, Bench, Case, Contender, Medians, Trial, Turn
from simulations.versus.inputs import MB
from simulations.versus.peers import Forge, nginx, program
from simulations.versus.process import Failed, Service, measure

FORGE, NGINX = "forge-edge", "nginx"
CONNECTIONS = 64
IDLE = 10_000

SETTINGS = """
home = "{home}"
[gateway]
listen = "127.0.0.1:0"
rate = 1e9
burst = 1e9
header_timeout = 600
idle_timeout = 600
"""

_REQUESTS = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_FIGURE = re.compile(r"^\s*(Requests/sec:|Transfer/sec:|99%)\s+(\S+)", re.MULTILINE)


class Gateway:
    """A gateway, pinned to the first core, beside a node that shares `folder` in a network."""

    def __init__(self, bench: Bench, folder: Path, opened: ExitStack) -> None:
        self.forge = Forge(bench.fresh("home"))
        measure(self.forge.command("network", "create", "team"))
        opened.enter_context(Service(self.forge.command("up", "--no-lan", "--listen", "127.0.0.1:0"))).last_line()
        self.link = measure(self.forge.command("share", folder, "--network", "team")).output.split()[-1]
        self.token = measure(self._edge("token")).output.split()[-1]
        file = bench.fresh("seed.toml")
        file.write_text(SETTINGS.format(home=self.forge.home))
        words = ["taskset", "-c", "0", *self._edge("serve", "--config", file)]
        self.service = opened.enter_context(Service(words))
        self.url = self.service.last_line().partition('"url":"')[2].partition('"')[0]

    def of(self, name: str) -> str:
        """The URL of a file."""
        return f"{self.url}/links/{self.link}/{name}"

    def _edge(self, *arguments: str | Path) -> list[str | os.PathLike[str]]:
        return [str(Path(sys.executable).parent / "forge-edge"), "--home", self.forge.home, *arguments]


def load(url: str, seconds: int, token: str = "") -> Turn:
    """What `wrk` measures: requests and bytes a second, and the latency that 99 % stay under; and the processor time
    that the server took, which says more on a machine that has other things to do."""
    header = ["-H", f"Authorization: Bearer {token}"] if token else []
    others = f"1-{max(1, (os.cpu_count() or 2) - 1)}"
    words = [
        "taskset",
        "-c",
        others,
        program("wrk"),
        "--latency",
        "--timeout",
        "60s",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        *header,
        url,
    ]
    before = _processor(url)
    told = measure(words).output
    taken = _processor(url) - before
    if "Non-2xx" in told or "Socket errors" in told:
        raise Failed(f"{url}: {told}")
    found = dict(_FIGURE.findall(told))
    figures = {
        "requests/s": float(found["Requests/sec:"]),
        "MB/s": parse_size(found["Transfer/sec:"].replace("B", "iB")) / MB,
        "99 % under ms": _milliseconds(found["99%"]),
    }
    requests = int(_REQUESTS.findall(told)[0])
    if not requests:
        raise Failed(f"{url}: nothing was answered within {seconds} s")
    figures["processor us/request"] = taken / requests * 1e6
    figures["processor ms/MB"] = taken * 1e3 * figures["requests/s"] / (requests * figures["MB/s"])
    return Turn(float(seconds), figures)


def _processor(url: str) -> float:
    """Seconds of processor time that those have taken who listen for a URL, of the processes that this one started."""
    import psutil

    port = int(url.partition("://")[2].partition("/")[0].rpartition(":")[2])
    total = 0.0
    for each in psutil.Process().children(recursive=True):
        if any(to.status == psutil.CONN_LISTEN and to.laddr.port == port for to in each.net_connections("tcp")):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def _milliseconds(text: str) -> float:
    number = re.sub(r"[a-z]+$", "", text)
    unit = text[len(number) :]
    return float(number) * {"us": 1e-3, "ms": 1.0}[unit] if unit in {"us", "ms"} else parse_duration(text) * 1e3


@contextmanager
def beside_nginx(bench: Bench, name: str, size: int, bars: Sequence[Bar]) -> Iterator[Trial]:
    """Both serve one file of `size` bytes that do not compress."""
    folder = bench.fresh("served")
    folder.mkdir()
    with (folder / name).open("wb") as file:
        for _ in range(size // 65536):
            file.write(os.urandom(65536))
    seconds = 1 if bench.quick else 8
    with ExitStack() as opened:
        gateway = Gateway(bench, folder, opened)
        os.sched_setaffinity(0, {0})  # nginx inherits it
        try:
            port = opened.enter_context(nginx(bench.fresh("nginx"), f"root {folder}; access_log off;"))
        finally:
            os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
        contenders = [
            Contender(FORGE, lambda: load(gateway.of(name), seconds, gateway.token)),
            Contender(NGINX, lambda: load(f"http://127.0.0.1:{port}/{name}", seconds)),
        ]
        yield Trial(contenders, bars=bars)


@contextmanager
def small(bench: Bench) -> Iterator[Trial]:
    """A file of 64 KiB, from the gateway's ready answers and from nginx's page cache."""
    bars = [
        Bar("3,000 requests/s", lambda medians: medians.figures[FORGE]["requests/s"] >= 3000),
        Bar("99 % under 100 ms", lambda medians: medians.figures[FORGE]["99 % under ms"] < 100),
    ]
    with beside_nginx(bench, "small.bin", 65536, bars) as trial:
        yield trial


@contextmanager
def large(bench: Bench) -> Iterator[Trial]:
    """A file of 16 MiB."""

    def half(medians: Medians) -> bool:
        return medians.figures[FORGE]["MB/s"] >= medians.figures[NGINX]["MB/s"] / 2

    def half_a_core(medians: Medians) -> bool:
        return medians.figures[FORGE]["processor ms/MB"] <= medians.figures[NGINX]["processor ms/MB"] * 2

    bars = [Bar("half of nginx's throughput", half), Bar("half of it by processor time", half_a_core)]
    with beside_nginx(bench, "large.bin", 1 << 24, bars) as trial:
        yield trial


@contextmanager
def idle(bench: Bench) -> Iterator[Trial]:
    """Connections that have asked once and are kept: resident memory of the gateway."""
    count = 200 if bench.quick else IDLE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * count + 1000)), hard))
    folder = bench.fresh("served")
    folder.mkdir()
    (folder / "file").write_bytes(b"x")

    def turn() -> Turn:
        with ExitStack() as opened:
            gateway = Gateway(bench, folder, opened)
            host, _, port = gateway.url.partition("://")[2].rpartition(":")
            before = _resident(gateway)
            request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            held = []
            for _ in range(count):
                held.append(opened.enter_context(socket.create_connection((host, int(port)))))
                held[-1].sendall(request)
            answered = sum(each.recv(4096).startswith(b"HTTP/1.1 200") for each in held)
            if answered != count:
                raise Failed(f"{answered} of {count} connections were answered")
            now = _resident(gateway)
            return Turn(
                1.0, {"MB before": before / MB, "MB": now / MB, "KB a connection": (now - before) / count / 1e3}
            )

    bars = [Bar("under 400 MB", lambda medians: medians.figures[FORGE]["MB"] < 400)]
    yield Trial([Contender(FORGE, turn)], bars=bars)


def _resident(gateway: Gateway) -> int:
    """Bytes of the gateway's process, which is the one that listens."""
    import psutil

    tree = [child for child in psutil.Process().children(recursive=True) if "serve" in child.cmdline()]
    return max(int(each.memory_info().rss) for each in tree if str(gateway.forge.home) in " ".join(each.cmdline()))


CASES = [
    Case("gateway_small", "A file of 64 KiB over HTTP, 64 connections, one core", small, 3),
    Case("gateway_large", "A file of 16 MiB over HTTP, 64 connections, one core", large, 3),
    Case("gateway_idle", f"{IDLE:,} idle keep-alive connections to the gateway", idle, 1, warm=False),
]
