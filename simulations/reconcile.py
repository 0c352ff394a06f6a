"""What it costs to tell two large sets apart: `python -m simulations.reconcile [--size 1000000] [--differing 100]`.

`whole`: hashes of 32 bytes; `prefixes`: their first 8 bytes, as two nodes ask each other about a root; every message is
encoded in its frame and decoded. `listed`: bytes of what HOLDINGS would have said instead. Prints JSON.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from forge_p2p.content.reconcile import Answer, HashSet, Question, Reconciliation, answer
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.sets import Reconcile, Reconciled

ROOT = bytes(32)


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
    here, there = HashSet(ours, width), HashSet(theirs, width)
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
    figures = {"hashes": list(map(len, sides)), "whole": hashes, "prefixes": prefixes, "listed": 8 * len(sides[1])}
    print(json.dumps(figures, indent=2))
    return 0 if hashes["exact"] and prefixes["exact"] else 1


if __name__ == "__main__":
    sys.exit(main())
