"""What summaries cost and what they save: `python -m simulations.summaries [--files 64] [--size 1000000]`.

    checks   10,000 questions to a summary that was told, half of them about what is there; processor time
    told     bytes of a summary of so many chunks, and of what came since
    fetch    a network of three over real QUIC on loopback: an origin shares a directory that a neighbour has most of,
             under another name that the reader never heard of. `alone`: the neighbour is not there. `together`: it is.
             `in_vain`: the neighbour is there and has as much of something else. UDP payload that each node sent.

Prints JSON.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from forge_p2p.content.summary import HeardSummary, OwnSummary
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.operations import getting
from forge_p2p.node.results import GetResult
from simulations.deltas import SETTLING, differs, founder, member, sent, share, token

CHECKS = 10_000
NEW = 8
"""One file in so many is new to the neighbour."""


def main() -> int:
    """Exit code 1 if a copy differs."""
    parser = argparse.ArgumentParser(description="What summaries cost and what they save.")
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--size", type=int, default=1_000_000, help="bytes of a file")
    arguments = parser.parse_args()
    figures: dict[str, object] = {"checks": checks(), "told": [told(count) for count in (1_000, 100_000, 750_000)]}
    fetches: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="forge-summaries-") as folder:
        work = Path(folder)
        trees = make_trees(work, arguments.files, arguments.size)
        for name in ("alone", "together", "in_vain"):
            place = work / name
            place.mkdir()
            fetches[name] = trio.run(measure, place, trees, name)
            if differs(trees["new"], place / "copy"):
                return 1
    print(json.dumps({**figures, "fetch": fetches}, indent=2))
    return 0


def prefixes(seed: int, count: int) -> list[int]:
    """Such as chunks have."""
    chance = random.Random(seed)
    return [chance.getrandbits(64) for _ in range(count)]


def checks() -> dict[str, float]:
    """Of a peer with 500,000 chunks."""
    here = prefixes(1, 500_000)
    heard = HeardSummary()
    heard.receive(OwnSummary(1, lambda: here, 1).since(0, 0))
    asked = here[: CHECKS // 2] + prefixes(2, CHECKS // 2)
    begin = time.process_time()
    likely = heard.among(asked)
    seconds = time.process_time() - begin
    return {"asked": CHECKS, "likely": len(likely), "milliseconds": round(1000 * seconds, 2)}


def told(count: int) -> dict[str, float]:
    """What one who knows nothing is told of so many chunks, and what one who knew them is told after a hundred more."""
    begin = time.process_time()
    own, heard = OwnSummary(1, lambda: prefixes(1, count), 1), HeardSummary()
    first = own.since(0, 0)
    seconds = time.process_time() - begin
    heard.receive(first)
    own.arrived(prefixes(2, 100))
    return {
        "chunks": count,
        "bytes": first.size,
        "a_hundred_more": own.since(heard.generation, heard.position).size,
        "making_it_seconds": round(seconds, 3),
    }


def make_trees(work: Path, files: int, size: int) -> dict[str, Path]:
    """What the neighbour has, what is fetched, and as much of something else."""
    chance = random.Random(1)
    trees = {name: work / f"tree-{name}" for name in ("old", "new", "other")}
    for name in ("old", "other"):
        trees[name].mkdir()
        for number in range(files):
            (trees[name] / f"{number}").write_bytes(chance.randbytes(size))
    shutil.copytree(trees["old"], trees["new"] / "moved")
    for number in range(0, files, NEW):
        (trees["new"] / "moved" / f"{number}").write_bytes(chance.randbytes(size))
    return trees


async def measure(work: Path, trees: dict[str, Path], case: str) -> dict[str, object]:
    """One fetch of what is new."""
    async with AsyncExitStack() as nodes:
        origin = await nodes.enter_async_context(founder(work / "a"))
        text = await token(origin)
        others: list[Network] = []
        if case != "alone":
            neighbour = await nodes.enter_async_context(member(work / "b", text))
            others.append(neighbour)
            link = await share(origin, trees["other" if case == "in_vain" else "old"])
            await get(neighbour, link, work / "neighbours")
        reader = await nodes.enter_async_context(member(work / "c", text))
        await trio.sleep(2 * SETTLING)  # they find each other
        link = await share(origin, trees["new"])
        before = [sent(each) for each in (origin, reader, *others)]
        result = await get(reader, link, work / "copy")
        await trio.sleep(SETTLING)
        after = [sent(each) for each in (origin, reader, *others)]
        names = {origin.node.node_id.hex(): "origin", **{each.node.node_id.hex(): "neighbour" for each in others}}
        return {
            "content_from": {names[each.node_id]: each.fetched for each in result.sources},
            "sent_by": {
                name: last - first
                for name, first, last in zip(("origin", "reader", "neighbour"), before, after, strict=False)
            },
        }


async def get(network: Network, link: str, destination: Path) -> GetResult:
    """A fetch as the command does it."""
    return await getting.get(network, what=link, destination=str(destination), report=ignore_progress)


if __name__ == "__main__":
    sys.exit(main())
