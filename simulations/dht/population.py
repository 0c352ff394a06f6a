"""Who is in the simulated network, what they provide and look for, and what came of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.limits import DhtLimits
from simulations.dht.member import Member, Node
from simulations.dht.world import World

INVITED_BY: Final = 3
"""Contacts that a node begins with."""
SETTLED: Final = 60.0
"""Seconds after which an announcement has to be found, and a node joined."""


@dataclass(slots=True)
class Trial:
    """One lookup. Seconds; `found` is when a live provider was named, below 0 if none was."""

    began: float
    member: Node
    key: bytes
    found: float = -1.0
    ended: float = -1.0
    queries: int = 0
    hops: int = 0
    """Nodes asked one after the other until providers were named."""
    choice: int = 1
    """Providers there were."""
    last: float = -1.0

    def asked(self, now: float, looking: bool) -> None:
        """Counts a query, and a hop if it is the first of a round that looks for something."""
        self.queries += 1
        self.hops += looking and now > self.last
        self.last = now


@dataclass(slots=True)
class Plan:
    """What happens in one hour of network life. Counts, seconds, shares."""

    nodes: int
    hours: float = 1.0
    churn: float = 0.2
    """Share of the nodes replaced every hour, without a word."""
    lookups: float = 1.0
    """By every node, every hour."""
    keys: float = 0.2
    """Roots shared, for every node."""
    providers: int = 3
    """At most, for a root; at least 1."""
    ttl: int = 900
    joins_per_second: float = 20.0
    bootstrap: int = 0
    """Nodes that all others are invited by; 0: anybody."""
    extra: float = 0.0
    """Seconds for more than that to happen before it begins."""

    @property
    def settled(self) -> float:
        """When all have joined and announced."""
        return self.nodes / self.joins_per_second + self.extra + 2 * SETTLED

    @property
    def end(self) -> float:
        return self.settled + 3600 * self.hours


class Population:
    """The members and their doings."""

    def __init__(
        self,
        seed: int,
        world: World,
        plan: Plan,
        kind: Callable[["Population", int], Node] | None = None,
        limits: DhtLimits | None = None,
    ) -> None:
        self.seed = seed
        self.world = world
        self.plan = plan
        self.limits = limits or DhtLimits()
        self.rng = random.Random(seed + 1)
        self.by_id: dict[NodeId, Node] = {}
        self.by_host: dict[str, Node] = {}
        self.members: list[Node] = []
        self.elders: list[Node] = []
        """Nodes of `Plan.bootstrap`."""
        self.providers: dict[bytes, dict[int, tuple[Node, float]]] = {}
        """Who has a key, and since when it is announced."""
        self.keys: list[bytes] = []
        self.trials: list[Trial] = []
        self.met: set[NodeId] = set()
        """Everybody there ever was."""
        self.said: set[tuple[bytes, NodeId]] = set()
        """Who ever announced which key."""
        self.queries = 0
        """Sent by those who are honest."""
        self._kind = kind or self.honest
        self._number = 0

    def honest(self, people: "Population", number: int) -> Member:
        return Member(self, number, self.world.new_site())

    # Coming and going

    def settle(self) -> None:
        """Plans that all join, one after the other, and announce what they have."""
        for at in range(self.plan.nodes):
            self.world.at(at / self.plan.joins_per_second, self.add)
        self.world.at(self.plan.nodes / self.plan.joins_per_second, self._share_all)

    def add(self) -> Node:
        """One more member, invited by some of those who are there."""
        member = self._kind(self, self.next_number())
        self.welcome(member)
        return member

    def next_number(self) -> int:
        self._number += 1
        return self._number - 1

    def welcome(self, member: Node) -> None:
        """A member comes, invited."""
        if len(self.elders) < self.plan.bootstrap:
            self.elders.append(member)
        inviting = self.elders if self.plan.bootstrap else self.members
        invited_by = self.rng.sample(inviting, min(INVITED_BY, len(inviting)))
        self.enter(member, [other.contact for other in invited_by if other is not member])

    def enter(self, member: Node, contacts: list[Contact]) -> None:
        """A member comes who knows these contacts."""
        self.by_id[member.node_id] = self.by_host[member.site.host] = member
        self.met.add(member.node_id)
        self.members.append(member)
        member.join(contacts)

    def remove(self, member: Node) -> None:
        """A member is gone, without a word."""
        member.alive = False
        del self.by_id[member.node_id], self.by_host[member.site.host]
        at = self.members.index(member)
        self.members[at] = self.members[-1]
        self.members.pop()
        for key in member.keys:
            del self.providers[key][member.number]

    def churn(self) -> None:
        """Plans that members are replaced by new ones, over the whole run."""
        plan = self.plan
        count = int(plan.nodes * plan.churn * plan.hours)
        for when in sorted(self.rng.uniform(plan.settled, plan.end) for _ in range(count)):
            self.world.at(when, self._replace)

    def _replace(self) -> None:
        gone = self.rng.choice(self.members)
        self.remove(gone)
        newcomer = self.add()
        for key in sorted(gone.keys):
            if not self.providers[key]:
                self.share(newcomer if newcomer.honest else self.rng.choice(self.honest_members()), key)

    # Providing and looking

    def share(self, member: Node, key: bytes) -> None:
        self.providers.setdefault(key, {})[member.number] = (member, self.world.now)
        member.provide(key, self.plan.ttl)

    def _share_all(self) -> None:
        for _ in range(int(self.plan.nodes * self.plan.keys)):
            self.keys.append(self.rng.randbytes(20))
            for member in self.rng.sample(self.honest_members(), self.rng.randint(1, self.plan.providers)):
                self.world.at(self.world.now + SETTLED / 2 * self.rng.random(), self.share, member, self.keys[-1])

    def honest_members(self) -> list[Node]:
        return [member for member in self.members if member.honest]

    def look(self) -> None:
        """Plans lookups, evenly over the run."""
        plan = self.plan
        count = int(plan.nodes * plan.lookups * plan.hours)
        for at in range(count):
            self.world.at(plan.settled + (plan.end - plan.settled - SETTLED) * at / count, self.try_one)

    def try_one(self, key: bytes | None = None, member: Node | None = None) -> None:
        """One lookup by anybody of any key that somebody has had for a minute."""
        for _ in range(100):
            seeker = member or self.rng.choice(self.members)
            wanted = key or self.rng.choice(self.keys)
            if self._may_try(seeker, wanted):
                trial = Trial(self.world.now, seeker, wanted, choice=len(self.providers[wanted]))
                self.trials.append(trial)
                seeker.look_up(trial)
                return

    def _may_try(self, seeker: Node, key: bytes) -> bool:
        now = self.world.now
        return (
            seeker.honest
            and not seeker.asleep
            and now - seeker.born >= SETTLED
            and seeker.number not in self.providers[key]
            and any(
                now - since >= SETTLED and not provider.asleep and self.connected(seeker, provider)
                for provider, since in self.providers[key].values()
            )
        )

    def connected(self, a: Node, b: Node) -> bool:
        return not self.world.parted or a.site.side == b.site.side

    def is_good(self, seeker: Node, provider: Node, key: bytes) -> bool:
        """Whether what a lookup found is somebody who is there and has the key."""
        there = not provider.asleep and self.connected(seeker, provider)
        return there and provider.number in self.providers[key]
