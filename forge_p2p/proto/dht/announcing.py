"""What this node provides, announced in time to the nodes nearest to each key.

Kubo's nodes spent days on announcing what they had, one lookup a key (kubo #9702). Here those due are taken in the
order of the keyspace, and one lookup serves all keys of its surroundings: it has met everybody within the distance of
its k-th nearest node, so for every key in the subtree inside of that it knows the nearest as well. In a network of
fewer than k nodes one lookup serves everything, later announcements too, as long as nobody else is heard of. Until a
survey is an hour old announcements are repeated where they went, without any lookup. Each is repeated at half its life.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.calls import Call, Calls
from forge_p2p.proto.dht.keyspace import KEY_SPACE, node_key
from forge_p2p.proto.dht.limits import DhtLimits
from forge_p2p.proto.dht.messages import Accepted, Announce, Reply
from forge_p2p.proto.dht.searches import Search, Searches
from forge_p2p.proto.dht.subnets import spread
from forge_p2p.proto.timers import Deadlines

SOON: Final = 0.25
"""Announcements due within this part of their life go along with one of their surroundings."""
ENOUGH: Final = 0.75
"""When fewer of those who should keep a record took it, they are looked up anew next time."""


@dataclass(slots=True, eq=False)
class Provided:
    """A key this node provides. Times are the caller's; `wanted` is when it should have been announced."""

    key: bytes
    place: int
    ttl: int
    wanted: float
    due: float
    holders: tuple[Contact, ...] = ()
    surveyed: float = -inf
    unanswered: int = 0
    taken: int = 0
    busy: bool = False
    withdrawn: bool = False


class Announcing:
    """Keeps own announcements alive. `starters` gives the contacts nearest to a place."""

    def __init__(
        self,
        calls: Calls,
        searches: Searches,
        limits: DhtLimits,
        starters: Callable[[int], list[Contact]],
    ) -> None:
        self.addresses: tuple[tuple[str, int], ...] = ()
        self._calls = calls
        self._searches = searches
        self._limits = limits
        self._starters = starters
        self._provided: dict[int, Provided] = {}
        self._places: list[int] = []
        self._due: Deadlines[int] = Deadlines()
        self._ready: list[int] = []
        self._cursor = 0
        self._surveys = 0
        self._everybody: frozenset[NodeId] = frozenset()
        """Who answered the last survey, if those were fewer than k: all there are."""
        self._counted = -inf
        self._queue: deque[tuple[Provided, Contact, Announce]] = deque()
        self._in_flight = 0

    def __len__(self) -> int:
        return len(self._provided)

    def ttl(self, key: bytes) -> int:
        """Seconds for which `key` is announced at a time; 0 if this node does not provide it."""
        provided = self._provided.get(int.from_bytes(key, "big"))
        return provided.ttl if provided is not None else 0

    def behind(self, now: float) -> int:
        """Announcements overdue."""
        late = now - self._limits.announce.late
        return sum(provided.wanted < late for provided in self._provided.values())

    def announce(self, key: bytes, ttl: int, now: float, after: float = 0.0) -> None:
        """Announces `key` from now on, for `ttl` seconds at a time; the first time within `after` seconds."""
        place = int.from_bytes(key, "big")
        provided = self._provided.get(place)
        wanted = now + after
        if provided is None:
            provided = self._provided[place] = Provided(key, place, ttl, wanted, wanted)
            insort(self._places, place)
        elif provided.ttl == ttl:
            return
        provided.ttl = ttl
        self._plan(provided, wanted)

    def withdraw(self, key: bytes, now: float) -> None:
        """Takes the announcement of `key` back where it went."""
        provided = self._provided.pop(int.from_bytes(key, "big"), None)
        if provided is None:
            return
        provided.withdrawn = True
        del self._places[bisect_left(self._places, provided.place)]
        self._due.cancel(provided.place)
        self._unready(provided.place)
        self._send_to(provided, provided.holders, 0)
        self._pump(now)

    def announce_all(self, now: float) -> None:
        """Announces everything anew: this node's addresses have changed, or nobody could be reached for a while."""
        for provided in self._provided.values():
            provided.surveyed = -inf
            if not provided.busy:
                self._plan(provided, now)

    def resume(self, now: float) -> None:
        """This node has found its place: announces what could not be announced before."""
        for provided in self._provided.values():
            if not provided.holders and not provided.busy:
                self._plan(provided, max(now, provided.wanted))

    def next_deadline(self) -> float | None:
        return self._due.next()

    def handle_timeout(self, now: float) -> None:
        while (place := self._due.pop(now)) is not None:
            insort(self._ready, place)
        self._go_on(now)

    def replied(self, call: Call, message: Reply, now: float) -> None:
        self._settled(call, isinstance(message, Accepted), now)

    def late(self, call: Call, now: float) -> None:
        """There is time."""

    def failed(self, call: Call, now: float) -> None:
        self._settled(call, False, now)

    def _plan(self, provided: Provided, due: float) -> None:
        provided.due = due
        self._unready(provided.place)
        self._due.set(provided.place, due)

    def _go_on(self, now: float) -> None:
        self._pump(now)
        while self._ready and len(self._queue) < self._limits.announce.in_flight:
            # Onward from the last one, around the keyspace.
            at = bisect_left(self._ready, self._cursor) % len(self._ready)
            provided = self._provided[self._ready[at]]
            if provided.busy:
                del self._ready[at]
            elif (holders := self._holders(provided, now)) is not None:
                self._announce_to(provided, holders)
                self._pump(now)
            elif self._surveys < self._limits.announce.surveys:
                self._survey(provided, now)
            else:
                return

    def _holders(self, provided: Provided, now: float) -> tuple[Contact, ...] | None:
        """Where the announcement goes without a survey: where it went, or to everybody."""
        fresh = now - self._limits.announce.survey_age
        if provided.holders and provided.surveyed > fresh:
            return provided.holders
        known = self._starters(provided.place) if self._everybody and self._counted > fresh else []
        if not known or {contact.node_id for contact in known} != self._everybody:
            return None
        provided.holders, provided.surveyed = tuple(known), self._counted
        return provided.holders

    def _survey(self, provided: Provided, now: float) -> None:
        place = provided.place
        starters = self._starters(place)
        if not starters:
            self._postpone_all(now)
            return
        self._start(provided)
        self._surveys += 1

        def finished(search: Search, when: float) -> None:
            self._surveys -= 1
            self._surveyed(provided, search, when)
            self._go_on(when)

        self._searches.find_nodes(place, starters, self._limits.lookup, finished, now)

    def _postpone_all(self, now: float) -> None:
        """Nobody is known, so nobody misses the announcements."""
        for place in list(self._ready):
            self._provided[place].wanted = now
            self._plan(self._provided[place], now + self._limits.announce.retry)

    def _surveyed(self, provided: Provided, search: Search, now: float) -> None:
        provided.busy = False
        closest = search.lookup.closest()
        if provided.withdrawn:
            return
        if not closest:
            self._plan(provided, now + self._limits.announce.retry)
            return
        met = frozenset(contact.node_id for contact in closest)
        self._everybody, self._counted = (met, now) if len(met) < self._limits.k else (frozenset(), -inf)
        for other in self._served(provided.place, closest, now):
            nearest = closest if other is provided else self._nearest(other.place, search)
            other.holders, other.surveyed = tuple(nearest), now
            self._announce_to(other, other.holders)
        self._pump(now)

    def _served(self, place: int, closest: list[Contact], now: float) -> list[Provided]:
        """Keys for which a survey around `place` will do, that at `place` among them."""
        radius = KEY_SPACE
        if len(closest) == self._limits.k:
            radius = max(node_key(contact.node_id) ^ place for contact in closest)
        size = 1 << (radius.bit_length() - 1)
        low = place - place % size
        inside = sum(low <= node_key(contact.node_id) < low + size for contact in closest)
        if size < KEY_SPACE and inside < self._limits.k // 2:
            return [self._provided[place]]
        first, last = bisect_left(self._places, low), bisect_left(self._places, low + size)
        surrounding = [self._provided[each] for each in self._places[first:last]]
        soon = [one for one in surrounding if one.due < now + SOON * one.ttl]
        return [one for one in soon if not one.busy or one.place == place]

    def _nearest(self, place: int, search: Search) -> list[Contact]:
        met = search.lookup.met()
        by_distance = sorted((candidate.key ^ place, candidate.place, candidate) for candidate in met)
        found, _ = spread(by_distance, self._limits.k, self._limits.caps)
        return [candidate.contact for _, _, candidate in found]

    def _start(self, provided: Provided) -> None:
        self._cursor = provided.place
        self._unready(provided.place)
        self._due.cancel(provided.place)
        provided.busy = True

    def _announce_to(self, provided: Provided, holders: tuple[Contact, ...]) -> None:
        self._start(provided)
        provided.taken = 0
        self._send_to(provided, holders, provided.ttl)

    def _send_to(self, provided: Provided, holders: tuple[Contact, ...], ttl: int) -> None:
        message = Announce(provided.key, ttl, self.addresses)
        provided.unanswered += len(holders)
        self._queue.extend((provided, holder, message) for holder in holders)

    def _pump(self, now: float) -> None:
        while self._queue and self._in_flight < self._limits.announce.in_flight:
            provided, holder, message = self._queue.popleft()
            if message.ttl and provided.withdrawn:
                continue
            self._in_flight += 1
            self._calls.send(self, holder, message, provided, now)

    def _settled(self, call: Call, taken: bool, now: float) -> None:
        provided: Provided = call.tag
        self._in_flight -= 1
        provided.unanswered -= 1
        provided.taken += taken
        if not provided.unanswered and not provided.withdrawn:
            self._finished(provided, now)
        self._go_on(now)

    def _finished(self, provided: Provided, now: float) -> None:
        provided.busy = False
        if provided.taken:
            provided.wanted = now + provided.ttl / 2
        fell_short = provided.taken < ENOUGH * len(provided.holders)
        if not fell_short:
            self._plan(provided, provided.wanted)
            return
        # Once more soon with those who are nearest now, and then in its time.
        self._everybody = frozenset()
        again = now - provided.surveyed > self._limits.announce.retry or not provided.taken
        provided.surveyed = -inf
        self._plan(provided, now + self._limits.announce.retry if again else provided.wanted)

    def _unready(self, place: int) -> None:
        at = bisect_left(self._ready, place)
        if at < len(self._ready) and self._ready[at] == place:
            del self._ready[at]
