"""What it costs to tell two large sets apart: `python -m simulations.reconcile [--size 1000000] [--differing 100]`.

Both sides run in this process; every message is encoded and decoded. Prints JSON.
"""

import argparse
import json
import os
import random
import sys
import time

from forge_p2p.content.reconcile import HashSet, Reconciliation, answer, decode_answer, decode_question, encode


def main() -> int:
    """Exit code 1 if the difference was not exact."""
    parser = argparse.ArgumentParser(description="What it costs to tell two large sets apart.")
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--differing", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    every = sorted(chance.randbytes(32) for _ in range(arguments.size + arguments.differing // 2))
    apart = chance.sample(every, arguments.differing)
    ours, theirs = set(apart[::2]), set(apart[1::2])
    begin = time.perf_counter()
    here = HashSet([each for each in every if each not in theirs])
    there = HashSet([each for each in every if each not in ours])
    built = time.perf_counter() - begin
    begin = time.perf_counter()
    found = Reconciliation(here, os.urandom(32))
    sent = received = rounds = 0
    while (question := found.next_question()) is not None:
        asked = encode(question)
        told = encode(answer(there, decode_question(asked)))
        found.receive(decode_answer(told))
        sent, received, rounds = sent + len(asked), received + len(told), rounds + 1
    seconds = time.perf_counter() - begin
    figures = {
        "hashes": [len(here), len(there)],
        "bytes": {"asked": sent, "told": received, "both": sent + received},
        "round_trips": rounds,
        "seconds": {"both_sides": round(seconds, 3), "building_both_sets": round(built, 3)},
    }
    print(json.dumps(figures, indent=2))
    return 0 if found.missing == theirs and found.extra == ours else 1


if __name__ == "__main__":
    sys.exit(main())
