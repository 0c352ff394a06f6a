"""A clone that has to fall back, beside plain git's.

    python -m simulations.versus.git.fallback REPO [ROUNDS] [--cable]

REPO is a bare repository (it is only read), served over http by `git http-backend` behind nginx and by `git daemon`;
the node is in no network, so the helper turns to the server at once. Alternates, and prints wall and processor time of
each clone, that of the server left out, and the ratio of the medians. On loopback, or by `--cable` (needs root) between
two namespaces with a round trip of `DELAY` and `RATE` either way; then also how often the server was connected to.
"""

import os
import shutil
import statistics
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from simulations.labs import ownership
from simulations.labs.topology import ROOT, Cable, open_lab
from simulations.versus.git.servers import QUIET, daemon, http
from simulations.versus.git.sides import BESIDE
from simulations.versus.peers import LOOPBACK, program
from simulations.versus.process import Finished, measure

RATE = 100_000_000
"""Bits a second."""

DELAY = 0.020
"""Seconds there and back, all of it on the way to the server."""

SERVERS: dict[str, Callable[[Path, Path, str], AbstractContextManager[str]]] = {
    "http": http,
    "git": lambda root, folder, address: daemon(root, address),
}


def main(repository: Path, rounds: int, *, cable: bool) -> None:
    """Measures, and prints."""
    for scheme in SERVERS:
        with TemporaryDirectory(prefix=ownership.prefix()) as temporary:
            work = Path(temporary)
            with (over_a_cable if cable else on_loopback)(scheme, repository.parent, work) as (url, words, count):
                print(f"{scheme}: a clone of {repository.name}, {'over a cable' if cable else 'on loopback'}")
                _compare(url, repository.name, rounds, work, words, count)


Side = tuple[str, list[str], Callable[[], int]]
"""URL of what is served, how a program is run on the client's side, and how often the server was connected to."""


@contextmanager
def on_loopback(scheme: str, root: Path, work: Path) -> Iterator[Side]:
    """Both on this machine, whose other connections would be counted, too: none are."""
    with SERVERS[scheme](root, work / "server", LOOPBACK) as url:
        yield url, [], lambda: 0


@contextmanager
def over_a_cable(scheme: str, root: Path, work: Path) -> Iterator[Side]:
    """In namespaces of their own."""
    ends = {"client": Cable(RATE, RATE, delay=DELAY), "server": Cable(RATE, RATE)}
    with open_lab(ends, work) as lab:
        server, client = lab.hosts["server"], lab.hosts["client"]
        words = [sys.executable, "-m", "simulations.versus.git.fallback", "--serve", scheme, server.address, str(root)]
        serving = server.start([*words, str(work / "served")], {"PYTHONPATH": str(ROOT)})
        yield serving.line(), ownership.entering(client.namespace), lambda: _accepted(server.namespace)


def _accepted(namespace: str) -> int:
    """Connections that were accepted in a namespace (PassiveOpens of RFC 4022)."""
    words = [*ownership.entering(namespace), "cat", "/proc/net/snmp"]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    names, values = (line.split() for line in shown.splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("PassiveOpens")])


def _serve(scheme: str, address: str, root: str, folder: str) -> None:
    with SERVERS[scheme](Path(root), Path(folder), address) as url:
        print(url, flush=True)
        sys.stdin.read()


def _compare(url: str, name: str, rounds: int, work: Path, words: list[str], count: Callable[[], int]) -> None:
    environment = {**QUIET, "FORGE_HOME": str(work / "home"), "PATH": f"{BESIDE}{os.pathsep}{os.environ['PATH']}"}
    settings = ("-c", f"forge.team/.upstream={url}", "-c", "forge.verify=never")
    sources = {"git": f"{url}{name}", "fallback": f"forge://team/{name}"}
    found: dict[str, list[Finished]] = {each: [] for each in sources}
    for _ in range(rounds):
        for each, source in sources.items():
            shutil.rmtree(work / "copy", ignore_errors=True)
            before = count()
            clone = [*words, program("git"), *settings, "clone", "--quiet", source, str(work / "copy")]
            done = measure(clone, environment=environment)
            found[each].append(done)
            said = f"{each:8} {done.seconds:7.3f} s, processor {done.cpu:6.3f} s"
            print(said + (f", {count() - before} connections" if words else ""), flush=True)
    for figure in ("seconds", "cpu"):
        medians = {each: statistics.median(getattr(one, figure) for one in runs) for each, runs in found.items()}
        ratio = medians["fallback"] / medians["git"]
        print(f"{figure:8} {medians['fallback']:.3f} beside {medians['git']:.3f}: {ratio:.2f} times", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(*sys.argv[2:])
    else:
        parser = ArgumentParser("simulations.versus.git.fallback", description="A clone that falls back.")
        parser.add_argument("repository", type=Path)
        parser.add_argument("rounds", type=int, nargs="?", default=5)
        parser.add_argument("--cable", action="store_true", help="between two namespaces; needs root")
        options = parser.parse_args()
        main(options.repository.resolve(), options.rounds, cable=options.cable)
