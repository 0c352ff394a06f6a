"""What is simulated: an ordinary hour, and bad days."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from simulations.dht.baseline import package
from simulations.dht.checks import check, check_trials
from simulations.dht.hostile import Mixture, Ranks, Sybil, ids_near
from simulations.dht.member import Member
from simulations.dht.outcome import (
    Outcome,
    by_minute,
    ended,
    figures,
    hops_bar,
    percentiles,
    plan_of,
    recovered_after,
)
from simulations.dht.population import Plan, Population
from simulations.dht.world import World

CHECKED: Final = 200
"""Nodes looked into every few minutes; at the end all are."""
CHECK_EVERY: Final = 600.0
HOUR: Final = 3600.0
SIDES: Final = 2
SUBNET: Final = "77.88"
"""The /16 of the sybils."""
SYBIL_TARGETS: Final = 40
SYBILS_EACH: Final = 40
SYBIL_TRIES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """`nodes`, `hours` and `churn` are those of the ordinary hour; bad days have a tenth of the nodes, at least 300."""

    seed: int = 1
    nodes: int = 10_000
    hours: float = 1.0
    churn: float = 0.2
    lookups: float = 1.0

    @property
    def few(self) -> int:
        return min(self.nodes, max(300, self.nodes // 10))


Scenario = Callable[[Options], Outcome]


def steady(options: Options) -> Outcome:
    """An ordinary hour"""
    plan = Plan(options.nodes, options.hours, options.churn, options.lookups)
    return _hour("steady", plan, options, Population(options.seed, World(options.seed), plan), 0.999)


def baseline(options: Options) -> Outcome:
    """The same hour with the kademlia package"""
    plan = Plan(options.nodes, options.hours, options.churn, options.lookups)
    logging.disable(logging.CRITICAL)
    world = World(options.seed)
    with package(world) as kind:
        return _hour("baseline", plan, options, Population(options.seed, world, plan, kind), None)


def hostile(options: Options) -> Outcome:
    """A fifth of the nodes silent, lying or conspiring"""
    plan = Plan(options.few * 2, 1.0, options.churn, 2.0)
    people = Population(options.seed, World(options.seed), plan, Mixture(0.2, options.seed))
    return _hour("hostile", plan, options, people, 0.99)


def sybils(options: Options) -> Outcome:
    """One /16 around the keys that are looked for"""
    plan = Plan(options.few * 2, 0.5, options.churn, 2.0, bootstrap=5)
    people = Population(options.seed, World(options.seed), plan)
    fellows = Ranks()
    keys = [people.rng.randbytes(20) for _ in range(SYBIL_TARGETS)]
    near = ids_near([int.from_bytes(key, "big") for key in keys], SYBILS_EACH, SYBIL_TRIES, options.seed)
    ids = [node_id for some in near.values() for node_id in some]
    start = plan.nodes / plan.joins_per_second

    def invade(at: int) -> None:
        people.welcome(Sybil(people, people.next_number(), people.world.new_site(SUBNET), fellows, ids[at]))

    def share() -> None:
        people.keys.extend(keys)
        for key in keys:
            people.share(people.rng.choice(people.honest_members()), key)

    plan.extra = len(ids) / plan.joins_per_second
    for at in range(len(ids)):
        people.world.at(start + at / plan.joins_per_second, invade, at)
    people.world.at(start + plan.extra, share)
    plan.keys = 0.0
    outcome = _hour("sybils", plan, options, people, 0.99)
    outcome.figures["sybils"] = len(ids)
    return outcome


def partition(options: Options) -> Outcome:
    """Two halves that do not hear of each other for an hour"""
    plan = Plan(options.few, 2.25, options.churn, 12.0)
    people = Population(options.seed, World(options.seed), plan)
    world, parted, healed = people.world, plan.settled + 900, plan.settled + 900 + HOUR

    def part(apart: bool) -> None:
        world.parted = apart

    def split() -> None:
        for member in people.members:
            member.site.side = member.number % SIDES
        part(True)

    world.at(parted, split)
    world.at(healed, part, False)
    return _recovery("partition", plan, options, people, {"parted": parted, "healed": healed}, 15.0)


def orphans(options: Options) -> Outcome:
    """Every bootstrap node gone, everybody else restarted in turn from its own table"""
    plan = Plan(options.few, 1.0, 0.0, 12.0, bootstrap=5)
    people = Population(options.seed, World(options.seed), plan)
    gone = plan.settled + 600

    def restart() -> None:
        old = people.rng.choice(people.members)
        assert isinstance(old, Member)
        people.remove(old)
        again = Member(people, people.next_number(), people.world.new_site())
        people.enter(again, old.dht.contacts())
        for key in sorted(old.keys):
            people.share(again, key)

    def lose() -> None:
        for member in people.elders:
            people.remove(member)

    people.world.at(gone, lose)
    for at in range(plan.nodes):
        people.world.at(gone + 2400 * at / plan.nodes, restart)
    return _recovery("orphans", plan, options, people, {"gone": gone}, 5.0)


def sleepers(options: Options) -> Outcome:
    """A third of the nodes suspended for an hour"""
    plan = Plan(options.few, 2.0, options.churn, 12.0)
    people = Population(options.seed, World(options.seed), plan)
    asleep, awake = plan.settled + 900, plan.settled + 900 + HOUR

    def fall() -> None:
        for member in people.members[::3]:
            assert isinstance(member, Member)
            member.sleep(HOUR)

    people.world.at(asleep, fall)
    return _recovery("sleepers", plan, options, people, {"asleep": asleep, "awake": awake}, 5.0)


def movers(options: Options) -> Outcome:
    """A third of the nodes at other addresses all at once"""
    plan = Plan(options.few, 0.75, options.churn, 12.0)
    people = Population(options.seed, World(options.seed), plan)
    moved = plan.settled + 900

    def move() -> None:
        for member in people.members[::3]:
            assert isinstance(member, Member)
            member.move(people.world.new_site())

    people.world.at(moved, move)
    return _recovery("movers", plan, options, people, {"moved": moved}, 5.0)


SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__: scenario for scenario in (steady, hostile, sybils, partition, orphans, sleepers, movers)
}


def _hour(name: str, plan: Plan, options: Options, people: Population, success: float | None) -> Outcome:
    with _timed() as took:
        queries = _live(people)
    trials = ended(people.trials)
    found = figures(trials, plan.nodes * plan.hours, queries)
    bars = {}
    if success is not None:
        bars[f"a live provider found in {100 * success:g} %"] = found["success"] >= success
        bars[f"median hops at most {hops_bar(plan.nodes):.1f}"] = found["median hops"] <= hops_bar(plan.nodes)
    return _outcome(name, plan, options, people, found, bars, {}, took[0])


def _recovery(
    name: str, plan: Plan, options: Options, people: Population, events: dict[str, float], within: float
) -> Outcome:
    with _timed() as took:
        queries = _live(people)
    trials = ended(people.trials)
    found = figures(trials, plan.nodes * plan.hours, queries)
    minutes = by_minute(trials, plan.settled)
    at = {event: (when - plan.settled) / 60 for event, when in events.items()}
    ends = [*list(at.values())[1:], float("inf")]
    for (event, minute), end in zip(at.items(), ends, strict=True):
        found[f"minutes until 99 % after {event}"] = recovered_after([one for one in minutes if one[0] < end], minute)
    last = list(at)[-1]
    bars = {f"99 % again within {within:g} minutes": found[f"minutes until 99 % after {last}"] <= within}
    return _outcome(name, plan, options, people, found, bars, at, took[0])


def _live(people: Population) -> int:
    """Runs it all, checking now and then; returns the queries sent once all had joined."""
    world, plan = people.world, people.plan
    people.settle()
    people.churn()
    people.look()
    world.run(plan.settled)
    before = people.queries
    while world.now < plan.end:
        world.run(min(world.now + CHECK_EVERY, plan.end))
        check(people, people.rng.sample(people.members, min(CHECKED, len(people.members))))
    check(people, people.members)
    check_trials(people, people.limits.lookup.queries, people.limits.lookup.duration + 1)
    return people.queries - before


def _outcome(
    name: str,
    plan: Plan,
    options: Options,
    people: Population,
    found: dict[str, float],
    bars: dict[str, bool],
    events: dict[str, float],
    cpu: float,
) -> Outcome:
    trials = ended(people.trials)
    title = {**SCENARIOS, "baseline": baseline}[name].__doc__ or name
    return Outcome(
        name,
        title,
        options.seed,
        plan_of(plan),
        found,
        bars,
        percentiles([trial.found - trial.began for trial in trials if trial.found >= 0]),
        percentiles([trial.queries for trial in trials]),
        by_minute(trials, plan.settled),
        events,
        f"{people.world.trace:016x}",
        cpu,
    )


@contextmanager
def _timed() -> Iterator[list[float]]:
    began = time.process_time()
    took: list[float] = []
    yield took
    took.append(time.process_time() - began)
