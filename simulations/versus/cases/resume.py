"""A fetch that is killed again and again, and what of it crosses the network twice."""

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.cases.wire import relayed
from simulations.versus.inputs import check_content
from simulations.versus.peers import Forge
from simulations.versus.process import Failed, measure, words

KILLS = 20
START_UP = 0.3
"""Seconds that a get takes before content flows."""

RESUMED = f"killed {KILLS} times"


@contextmanager
def resume(bench: Bench) -> Iterator[Trial]:
    """One transfer, killed at random moments of its whole length. The last attempt runs to its end."""
    source = bench.inputs.big
    size = source.stat().st_size
    seeds = iter(range(1, 1000))
    with Forge(bench.fresh("sender")).sharing(source) as (_, ticket), relayed(ticket) as (relay, through):

        def straight() -> tuple[float, int]:
            """An undisturbed get: its seconds say where the moments have to lie, its bytes what one copy takes."""
            before = relay.from_node
            seconds = measure(Forge(bench.fresh("receiver")).command("get", through, bench.fresh("copy"))).seconds
            return seconds, relay.from_node - before

        def disturbed() -> Turn:
            usual, once = straight()
            receiver, copy = Forge(bench.fresh("receiver")), bench.fresh("copy")
            chance = random.Random(next(seeds))
            before, start = relay.from_node, time.perf_counter()
            moments = [START_UP + chance.uniform(0, 2 * usual / (KILLS + 2)) for _ in range(KILLS)]
            kills = sum(_killed(receiver, through, copy, moment) for moment in moments)
            measure(receiver.command("get", through, copy))
            seconds = time.perf_counter() - start
            check_content(source, copy)
            twice = relay.from_node - before - once
            return Turn(seconds, {"kills": kills, "undisturbed s": usual, "fetched twice %": 100 * twice / size})

        bar = Bar("under 1 % fetched twice", lambda medians: medians.figures[RESUMED]["fetched twice %"] < 1)
        yield Trial([Contender(RESUMED, disturbed)], 0, [bar])


def _killed(receiver: Forge, ticket: str, copy: Path, moment: float) -> int:
    """Starts a get and kills it after `moment` seconds. 0 when it was faster, 1 when it was killed."""
    process = subprocess.Popen(
        words(receiver.command("get", ticket, copy)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, told = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return 1
    if process.returncode != 0:
        raise Failed(f"forge get ended with {process.returncode}: {told.decode('utf-8', 'replace')}")
    return 0


CASES = [Case("resume", f"1 GB, the receiver killed at {KILLS} random moments and restarted", resume, 3)]
