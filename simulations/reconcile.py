"""What it costs to tell two large sets apart: `python -m simulations.reconcile [--size 1000000] [--differing 100]`.

`whole`: hashes of 32 bytes; `prefixes`: their first 8 bytes, as two nodes ask each other about a root; every message is
encoded in its frame and decoded. `nodes`: the latter between two nodes over real QUIC on loopback, UDP payload both
ways, making the sets included. `listed`: bytes of what HOLDINGS would have said instead. Prints JSON.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.reconcile import Answer, HashSet, Question, Reconciliation, answer
from forge_p2p.ids import Hash, prefix_of
from forge_p2p.node.membership.reconciling import difference, set_of
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.sets import Reconcile, Reconciled
from simulations.deltas import SETTLING, founder, member, sent, token

ROOT = Hash(bytes(32))


@dataclass
class Wire:
    """Frames to the other side and back, counted."""

    there: HashSet
    sent: int = 0
    received: int = 0
    rounds: int = 0

    def ask(self, question: Question) -> Answer:
        """The answer, encoded and decoded as the question was."""
        asked = encode_frame(Reconcile(ROOT, question))
        (heard,) = FrameReader().feed(asked)
        assert isinstance(heard, Reconcile)
        told = encode_frame(Reconciled(answer(self.there, heard.question)))
        (said,) = FrameReader().feed(told)
        assert isinstance(said, Reconciled)
        self.sent, self.received, self.rounds = self.sent + len(asked), self.received + len(told), self.rounds + 1
        return said.answer


def measure(sides: Sequence[Sequence[bytes]], width: int) -> dict[str, object]:
    """Bytes, round trips and seconds; `exact` says whether what came out is the difference."""
    ours, theirs = sides
    begin = time.process_time()
    here, there = HashSet.of(ours, width), HashSet.of(theirs, width)
    built = time.process_time() - begin
    wire = Wire(there)
    begin = time.process_time()
    found = Reconciliation(here, os.urandom(32))
    while (question := found.next_question()) is not None:
        found.receive(wire.ask(question))
    seconds = time.process_time() - begin
    mine, others = set(ours), set(theirs)
    return {
        "bytes": {"asked": wire.sent, "told": wire.received, "both": wire.sent + wire.received},
        "round_trips": wire.rounds,
        "processor_seconds": {"both_sides": round(seconds, 3), "building_both_sets": round(built, 3)},
        "exact": found.missing == others - mine and found.extra == mine - others,
    }


class Deaf:
    """A follower that is told and does nothing."""

    def told(self, session: PeerSession, message: messages.Told) -> None: ...

    def unfollowed(self, session: PeerSession, code: Code) -> None: ...


async def between_nodes(folder: Path, sides: Sequence[Sequence[bytes]]) -> dict[str, object]:
    """The same between two nodes that both fetch a root of which these have arrived."""
    ours, theirs = sides
    root = Root(Kind.BLOB, Link(ROOT, 1 << 40, 3))
    async with founder(folder / "a") as there, member(folder / "b", await token(there)) as here:
        for network, chunks in ((there, theirs), (here, ours)):
            members = await network.members()
            (team,) = members.peering.networks
            members.holdings.begin(team, root).arrive(map(Hash, chunks))
        members = await here.members()
        (session,) = members.peering.sessions(team)
        await session.follow(messages.Follow.of(ROOT, (), False, withhold=True), Deaf())
        await trio.sleep(SETTLING)
        holding = members.holdings.find(team, ROOT)
        assert holding is not None
        before, begin, processor = sent(here, there), time.monotonic(), time.process_time()
        found = await difference(session, ROOT, await trio.to_thread.run_sync(set_of, holding.prefixes))
        seconds, processor = time.monotonic() - begin, time.process_time() - processor
        await trio.sleep(SETTLING)
        mine, others = (set(map(prefix_of, map(Hash, chunks))) for chunks in (ours, theirs))
        return {
            "bytes": sent(here, there) - before,
            "seconds": round(seconds, 3),
            "processor_seconds": round(processor, 3),
            "exact": found is not None and (found.missing, found.extra) == (others - mine, mine - others),
        }


def main() -> int:
    """Exit code 1 if a difference was not exact."""
    parser = argparse.ArgumentParser(description="What it costs to tell two large sets apart.")
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--differing", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    every = sorted(chance.randbytes(32) for _ in range(arguments.size + arguments.differing // 2))
    apart = chance.sample(every, arguments.differing)
    without = [set(apart[1::2]), set(apart[::2])]
    sides = [[each for each in every if each not in lacking] for lacking in without]
    hashes = measure(sides, 32)
    prefixes = measure([[each[:8] for each in side] for side in sides], 8)
    with tempfile.TemporaryDirectory(prefix="forge-reconcile-") as folder:
        nodes = trio.run(between_nodes, Path(folder), sides)
    cases = {"whole": hashes, "prefixes": prefixes, "nodes": nodes}
    print(json.dumps({"hashes": list(map(len, sides)), **cases, "listed": 8 * len(sides[1])}, indent=2))
    return 0 if all(case["exact"] for case in cases.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
