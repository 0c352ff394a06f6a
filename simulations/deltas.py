"""What crosses the wire when content changes a little: `python -m simulations.deltas [OLD NEW]`.

Members of one network over real QUIC on loopback. OLD and NEW are two versions of a file or directory; without them, a
text of 10 MB and the same with one line inserted. Bytes are UDP payload, both ways together, everything included that
belongs to the update: announcements, lookups, acknowledgements, and for a cold start the handshake. rsync's are those
it reports of its own protocol.

    open      the connection is open, the sender has both versions
    cold      a node starts, joins the sender, updates, and leaves; nothing else is on its connections
    signed    the sender never had the old version
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from forge_p2p.config import NetConfig, NodeConfig, StoreConfig
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, ignore_progress
from forge_p2p.node.membership.members import Members
from forge_p2p.node.network import Network, open_network
from forge_p2p.node.operations import getting, networking, sharing

CONFIG = NodeConfig(listen="127.0.0.1:0", store=StoreConfig(reserve=0), net=NetConfig(lan=False))
SETTLING = 1.0
"""Seconds after which what an update causes has been said."""

Figures = dict[str, dict[str, float]]


def main() -> int:
    """Prints JSON. Exit code 1 if a copy differs."""
    parser = argparse.ArgumentParser(description="What crosses the wire when content changes a little.")
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("new", nargs="?", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forge-deltas-") as folder:
        work = Path(folder)
        old, new = (arguments.old, arguments.new) if arguments.new else make_text(work)
        figures: Figures = {"rsync": rsync(work, old, new)}
        for name, measure in (("open", measure_open), ("cold", measure_cold), ("signed", measure_signed)):
            place = work / name
            place.mkdir()
            figures[name] = trio.run(measure, place, old, new)
            if differs(new, place / "copy"):
                return 1
    print(json.dumps(figures, indent=2))
    return 0


def make_text(work: Path) -> tuple[Path, Path]:
    """10 MB of words, and the same with a line more."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(5000)]
    lines = [" ".join(chance.choices(words, k=10)) + "\n" for _ in range(145_000)]
    (work / "old").write_text("".join(lines))
    (work / "new").write_text("".join([*lines[:70_000], "one more line of text\n", *lines[70_000:]]))
    return work / "old", work / "new"


def differs(new: Path, copy: Path) -> bool:
    """Whether anything of `new` is not in `copy`, or is other there."""
    found = subprocess.run(["diff", "-rq", new, copy], capture_output=True, text=True, check=False).stdout
    return any(not line.startswith(f"Only in {copy}") for line in found.splitlines())


def rsync(work: Path, old: Path, new: Path) -> dict[str, float]:
    """The same by rsync with compression, through a pipe."""
    copy = work / "rsync"
    copy_of(old, copy)
    tail = "/" if new.is_dir() else ""
    begin = time.monotonic()
    done = subprocess.run(
        ["rsync", "-az", "--delete", "--no-whole-file", "--stats", f"{new}{tail}", f"{copy}{tail}"],
        capture_output=True,
        text=True,
        check=True,
    )
    counts = re.findall(r"Total bytes (?:sent|received): ([\d,]+)", done.stdout)
    return {"bytes": sum(int(each.replace(",", "")) for each in counts), "seconds": round(time.monotonic() - begin, 3)}


async def measure_open(work: Path, old: Path, new: Path) -> dict[str, float]:
    """An update over a connection that is open."""
    async with founder(work / "a") as origin, member(work / "b", await token(origin)) as reader:
        await fetch(reader, await share(origin, old), work / "copy")
        await trio.sleep(SETTLING)
        begin, before = time.monotonic(), sent(origin, reader)
        await fetch(reader, await share(origin, new), work / "copy")
        seconds = time.monotonic() - begin
        await trio.sleep(SETTLING)
        return {"bytes": sent(origin, reader) - before, "seconds": round(seconds, 3)}


async def measure_cold(work: Path, old: Path, new: Path) -> dict[str, float]:
    """An update by a node that has just started."""
    async with founder(work / "a") as origin:
        text = await token(origin)
        async with member(work / "b", text) as reader:
            await fetch(reader, await share(origin, old), work / "copy")
        link = await share(origin, new)
        await trio.sleep(SETTLING)
        begin = time.monotonic()
        async with member(work / "b", text) as reader:
            await fetch(reader, link, work / "copy")
            seconds = time.monotonic() - begin
            return {"bytes": sent(origin, reader), "seconds": round(seconds, 3)}


async def measure_signed(work: Path, old: Path, new: Path) -> dict[str, float]:
    """An update from a node that has nothing but the new version."""
    async with founder(work / "a") as origin, member(work / "b", await token(origin)) as reader:
        await fetch(reader, await share(origin, old), work / "copy")
        async with member(work / "c", await token(origin)) as writer:
            link = await share(writer, new)
            await trio.sleep(SETTLING)
            begin, before = time.monotonic(), sent(origin, reader, writer)
            await fetch(reader, link, work / "copy")
            seconds = time.monotonic() - begin
            await trio.sleep(SETTLING)
            return {"bytes": sent(origin, reader, writer) - before, "seconds": round(seconds, 3)}


def sent(*networks: Network) -> int:
    """UDP payload bytes of all sessions that are open."""
    return sum(session.connection.statistics().bytes_sent for network in networks for session in network.sessions)


async def share(network: Network, path: Path) -> str:
    """The link of `path`, in the network."""
    return (await sharing.share(network, path=str(path), in_network="team", report=ignore_progress)).link


async def fetch(network: Network, link: str, destination: Path) -> None:
    """Gets `link`. What the version has no more stays at the destination."""
    await getting.get(network, what=link, destination=str(destination), report=ignore_progress)


def copy_of(path: Path, destination: Path) -> None:
    """A plain copy."""
    if path.is_dir():
        shutil.copytree(path, destination, symlinks=True)
    else:
        shutil.copy2(path, destination)


@asynccontextmanager
async def founder(home: Path) -> AsyncIterator[Network]:
    """A node that has made the network."""
    with LocalNode(Home(home), CONFIG) as local:
        async with open_network(local, serve=True) as network:
            await trio.to_thread.run_sync(lambda: networking.create(network.node, name="team", report=ignore_progress))
            members = await network.members()
            with trio.fail_after(10):
                while not members.lookups:  # noqa: ASYNC110  # there is no event for it
                    await trio.sleep(0.05)
            yield network


async def token(network: Network) -> str:
    """Lets one more in, with the right to share."""
    return (await networking.running_invite(network, role="writer", expires=0.0, report=ignore_progress)).token


@asynccontextmanager
async def member(home: Path, text: str) -> AsyncIterator[Network]:
    """A node that has joined and is connected."""
    with LocalNode(Home(home), replace(CONFIG, token=text)) as local:
        async with open_network(local, serve=True) as network:
            members = await network.members()
            with trio.fail_after(10):
                while not _connected(members):  # noqa: ASYNC110  # there is no event for it
                    await trio.sleep(0.01)
            yield network


def _connected(members: Members) -> bool:
    return any(members.peering.sessions(each) for each in members.peering.networks)


if __name__ == "__main__":
    sys.exit(main())
