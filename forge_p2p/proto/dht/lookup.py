"""One iterative lookup: whom to ask next, and when it is over. No messages, no time; `searches` runs it.

It goes along disjoint paths (I. Baumgart and S. Mies, "S/Kademlia", 2007): each begins with one contact of the own
table and goes on with what it was told on the way, nearest first, and a node is asked on one path only. A node that
lies can spoil its path and no other. A path on which nothing promising is left is given up for a new one from another
contact of the table, up to a number.

Nothing promising: nobody nearer than the k-th nearest of all who *answered*. Contacts are claims until then, so made-up
ones cost a query each and never count. What bounds their number:

- Three of an answer's contacts silent, and not half as many that answered: the rest of its contacts is forgotten.
- A path keeps the nearest few dozen, an answer gives at most k, the whole lookup asks at most `queries`.
- The k nearest are chosen from all who answered with few of one subnet (`subnets.spread`), and once many of a subnet
  have been asked, others are preferred: whoever owns one subnet and has put its nodes around the key gets a few of the
  k places, and is not asked at length.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from forge_p2p.content.contact import Contact
from forge_p2p.proto.dht.keyspace import KEY_SPACE, node_key
from forge_p2p.proto.dht.limits import LookupLimits
from forge_p2p.proto.dht.subnets import Caps, Entry, Place, place_of, spread

MISLED_MAX: Final = 3
"""Silent contacts of one answer before the others of it are forgotten."""


class State(Enum):
    NEW = auto()
    ASKED = auto()
    LATE = auto()
    ANSWERED = auto()
    FAILED = auto()
    FORGOTTEN = auto()


class Candidate:
    """A node that was named, and what became of it."""

    __slots__ = ("contact", "distance", "helped", "hops", "key", "misled", "path", "place", "state", "via", "vouched")

    def __init__(self, contact: Contact, key: int, distance: int, via: "Candidate | None") -> None:
        self.contact = contact
        self.key = key
        self.distance = distance
        self.place: Place | None = place_of(contact.addresses[0][0])
        self.via = via
        self.hops: int = 1 if via is None else via.hops + 1
        self.vouched = via is None
        """Named by more than one, or known by ourselves."""
        self.state = State.NEW
        self.path: Path | None = None
        self.helped = 0
        self.misled = 0


@dataclass(slots=True, eq=False)
class Path:
    """Distances of candidates still to ask, ascending, and who is being asked."""

    order: list[int] = field(default_factory=list)
    asking: Candidate | None = None


class Lookup:
    """Ask those that `next` names, and report `answered`, `late` or `failed` for each, until `done`."""

    def __init__(self, target: int, own: int, starters: Iterable[Contact], limits: LookupLimits, caps: Caps) -> None:
        self.queries = 0
        self._target = target
        self._own = own ^ target
        self._limits = limits
        self._caps = caps
        self._known: dict[int, Candidate] = {}
        self._paths = [Path() for _ in range(limits.paths)]
        self._begun = 0
        self._waiting: dict[int, Candidate] = {}
        self._answered: list[Entry[Candidate]] = []
        self._asked_in: dict[int, int] = {}
        self._crowd: list[int] = []
        self._bound = KEY_SPACE
        self._crowd_bound = KEY_SPACE
        self._diverse = False
        self._starters = self._sorted_starters(starters)

    @property
    def done(self) -> bool:
        """Nobody to ask (after `next` named nobody), and nobody worth waiting for."""
        return not any(c.state is State.ASKED or c.distance < self._bound for c in self._waiting.values())

    @property
    def answers(self) -> int:
        return len(self._answered)

    def closest(self) -> list[Contact]:
        """The nearest k that answered, spread over subnets."""
        found, _ = spread(self._answered, self._limits.k, self._caps)
        return [candidate.contact for _, _, candidate in found]

    def met(self) -> list[Candidate]:
        """All who answered, nearest first."""
        return [candidate for _, _, candidate in self._answered]

    def next(self) -> list[Candidate]:
        """Whom to ask now: one for each path that has room."""
        asks = []
        for path in self._paths:
            if path.asking is None and self.queries < self._limits.queries:
                candidate = self._next_of(path)
                if candidate is not None:
                    self._ask(path, candidate)
                    asks.append(candidate)
        return asks

    def answered(self, candidate: Candidate, contacts: Sequence[Contact]) -> None:
        if candidate.via is not None:
            candidate.via.helped += 1
            candidate.via.misled -= candidate.state is State.LATE
        path = self._ended(candidate, State.ANSWERED)
        insort(self._answered, (candidate.distance, candidate.place, candidate))
        self._measure()
        self._deal(path, self._named(candidate, contacts))

    def late(self, candidate: Candidate) -> None:
        """No answer so far: its path goes on without it."""
        candidate.state = State.LATE
        if candidate.path is not None and candidate.path.asking is candidate:
            candidate.path.asking = None
        self._misled(candidate.via)

    def failed(self, candidate: Candidate) -> None:
        if candidate.state is State.ASKED:
            self._misled(candidate.via)
        self._ended(candidate, State.FAILED)
        self._count(candidate.place, -1)

    def _sorted_starters(self, contacts: Iterable[Contact]) -> list[Candidate]:
        """Farthest first, to be taken from the end."""
        for contact in contacts:
            key = node_key(contact.node_id)
            distance = key ^ self._target
            if distance != self._own and contact.addresses:
                self._known.setdefault(distance, Candidate(contact, key, distance, None))
        return [self._known[distance] for distance in sorted(self._known, reverse=True)]

    def _ask(self, path: Path, candidate: Candidate) -> None:
        candidate.state = State.ASKED
        candidate.path = path
        path.asking = candidate
        self.queries += 1
        self._waiting[candidate.distance] = candidate
        self._count(candidate.place, 1)

    def _ended(self, candidate: Candidate, state: State) -> Path:
        candidate.state = state
        self._waiting.pop(candidate.distance, None)
        path = candidate.path
        assert path is not None
        if path.asking is candidate:
            path.asking = None
        return path

    def _next_of(self, path: Path) -> Candidate | None:
        while path.order and path.order[0] < self._bound:
            candidate = self._known[path.order.pop(0)]
            if candidate.state is State.NEW:
                if not self._is_crowd(candidate.place):
                    return candidate
                insort(self._crowd, candidate.distance)
        return self._next_starter() or self._next_of_crowd()

    def _next_starter(self) -> Candidate | None:
        while self._starters and self._may_begin(self._starters[-1]):
            candidate = self._starters.pop()
            if candidate.state is State.NEW:
                self._begun += 1
                return candidate
        return None

    def _may_begin(self, starter: Candidate) -> bool:
        return (
            self._begun < self._limits.paths_in_all
            or len(self._answered) < self._limits.k
            or (not self._diverse and not self._is_crowd(starter.place))
        )

    def _next_of_crowd(self) -> Candidate | None:
        """Somebody of a subnet of which many have been asked, if there are not enough others."""
        while self._crowd and not self._diverse:
            candidate = self._known[self._crowd.pop(0)]
            if candidate.state is State.NEW and candidate.distance < self._crowd_bound:
                return candidate
        return None

    def _is_crowd(self, place: Place | None) -> bool:
        return place is not None and (
            self._asked_in.get(place[0], 0) >= self._limits.asked_of_site
            or self._asked_in.get(place[1], 0) >= self._limits.asked_of_block
        )

    def _count(self, place: Place | None, by: int) -> None:
        for subnet in place or ():
            self._asked_in[subnet] = self._asked_in.get(subnet, 0) + by

    def _measure(self) -> None:
        """Finds the k-th nearest of those who answered."""
        k = self._limits.k
        if len(self._answered) < k:
            return
        nearest, self._diverse = spread(self._answered, k, self._caps)
        self._crowd_bound = nearest[-1][0]
        self._bound = self._crowd_bound if self._diverse else KEY_SPACE

    def _named(self, teller: Candidate, contacts: Sequence[Contact]) -> list[int]:
        """Distances of those of an answer's contacts who might be asked."""
        fresh = []
        for contact in contacts[: self._limits.k]:
            key = node_key(contact.node_id)
            distance = key ^ self._target
            known = self._known.get(distance)
            if known is None:
                if distance < self._bound and distance != self._own and contact.addresses:
                    self._known[distance] = Candidate(contact, key, distance, teller)
                    fresh.append(distance)
            elif known.state is State.NEW or (known.state is State.FORGOTTEN and known.via is not teller):
                known.vouched |= known.via is not teller
                known.state = State.NEW
                fresh.append(distance)
        return fresh

    def _deal(self, path: Path, distances: list[int]) -> None:
        """Gives a path what it was told. While the table has nothing for the other paths, they share in it."""
        idle = [other for other in self._paths if other is not path and other.asking is None and not other.order]
        paths = [path, *idle] if idle and not self._starters else [path]
        for at, taker in enumerate(paths):
            share = distances[at :: len(paths)]
            taker.order = sorted({*taker.order, *share})[: self._limits.candidates]

    def _misled(self, teller: Candidate | None) -> None:
        """A contact named by `teller` is silent."""
        if teller is None:
            return
        teller.misled += 1
        if teller.misled >= MISLED_MAX and teller.misled > 2 * teller.helped:
            for candidate in self._known.values():
                if candidate.via is teller and candidate.state is State.NEW and not candidate.vouched:
                    candidate.state = State.FORGOTTEN
