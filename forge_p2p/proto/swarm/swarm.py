"""Who is asked for what next: the want-list of one fetch over any number of peers, without I/O, clock or randomness.

The caller offers items as it discovers them, tells which peers there are and what they have, takes requests, and
reports what came of each. Memory is bounded by `queue_items` (offered and not yet asked for) and the window (asked for
or received and not yet written).

Alone with one peer this is a queue: items go out in the order offered, urgent ones (list nodes, which open up more
items) first. With several, each is asked for as much as its pace allows, and for the rarest of what it has. An *origin*
or seed is asked for what no neighbour has announced, and named more than it has to send: it chooses what it has sent
least often. What it has just sent to others is left to the neighbours for a while; then it is asked outright. A request
that is late makes others be asked for the same, and its peer be left alone for a time that doubles; in the end a second
peer is asked for what the first may still bring. Nothing that a peer does or says keeps an item from being asked for
elsewhere.
"""

from collections import OrderedDict
from collections.abc import Iterable
from math import inf

from forge_p2p.proto.swarm.base import Chance, Distance, Item, Peer, Request, SwarmLimits
from forge_p2p.proto.swarm.book import Book
from forge_p2p.proto.swarm.choosing import Choosing
from forge_p2p.proto.swarm.pace import Pace
from forge_p2p.proto.swarm.requests import Requests
from forge_p2p.proto.swarm.sources import PeerStatistics, Source
from forge_p2p.proto.swarm.window import Window
from forge_p2p.wire.codes import Code

_PAST_KEPT = 256
_NO_FAULT = frozenset({Code.OK, Code.BUDGET, Code.ELSEWHERE, Code.CANCELLED, Code.LEAVING, Code.GONE})
_URGENT_WAIT = 0.25
_LOOK_INTERVAL = 1.0
_LACKS_FACTOR = 4


class Swarm:
    """One fetch. Offer items, take requests, report what came of them."""

    def __init__(self, chance: Chance, limits: SwarmLimits | None = None) -> None:
        self._chance = chance
        self._limits = limits or SwarmLimits()
        self._book = Book(self._limits, chance)
        self._window = Window(self._limits)
        self._sources: dict[Peer, Source] = {}
        self._past: OrderedDict[Peer, PeerStatistics] = OrderedDict()
        self._requests = Requests(self._limits, self._book, self._window)
        self._choosing = Choosing(self._limits, self._book, self._window, self._requests, self._sources)
        self._bits = 0
        self._looked_at = 0.0
        self._stuck_at: float | None = None
        """When what no peer has is hopeless; `None`: it is."""

    @property
    def room(self) -> int:
        """How many more items may be offered now."""
        return max(0, self._limits.queue_items - (len(self._book.wants) - self._book.asked))

    @property
    def idle(self) -> bool:
        """Nothing queued and nothing under way."""
        return not self._book.wants and not self._requests.open

    @property
    def peers(self) -> int:
        return len(self._sources)

    @property
    def piecemeal(self) -> bool:
        """Whether what arrives comes in small parts from several, and not, as a bucket sends it, in few large ones."""
        return len(self._sources) > 1 and not self._choosing.bucket_leads()

    @property
    def pending(self) -> int:
        """Items offered and not yet received."""
        return len(self._book.wants)

    @property
    def pending_bytes(self) -> int:
        """Their raw bytes."""
        return self._book.size

    @property
    def prefixes(self) -> Iterable[int]:
        """The first 64 bits of their hashes, big-endian."""
        return self._book.prefixes

    def offer(self, items: Iterable[Item], urgent: bool = False) -> list[Item]:
        """Queues items; returns those that were new (a hash is fetched once however often it is offered)."""
        return self._book.offer(items, urgent=urgent)

    # Peers

    def add_peer(
        self,
        peer: Peer,
        now: float,
        *,
        distance: Distance = Distance.OTHER,
        complete: bool = True,
        origin: bool = False,
        likely: bool = False,
    ) -> None:
        """A peer may be asked from now on. `complete`: for everything, which is assumed of those who announce nothing;
        else for what `holds` says. `origin`: it is spared. `likely`: what `holds` says is likely and not known; such a
        peer may become an ordinary one."""
        source = self._sources.get(peer)
        if source is not None:
            if source.likely and not likely:
                self._confirm(source, now, complete=complete, origin=origin)
            return
        self._bits += 1
        pace = Pace(self._limits, ranges=distance is Distance.EDGE)
        source = Source(peer, 1 << self._bits, distance, complete, origin, pace, now, likely)
        if not likely:
            self._stuck_at = now + self._limits.stuck
        self._sources[peer] = source
        if not complete:
            self._book.welcome(source)
        if distance is Distance.EDGE:
            self._window.widen()
        if self._choosing.spares(source) or len(self._sources) > 1:
            self._book.shuffle()

    def is_likely(self, peer: Peer) -> bool:
        """Whether a peer only seems to have what it is asked for."""
        source = self._sources.get(peer)
        return source is not None and source.likely

    def holds(self, peer: Peer, prefixes: Iterable[int], now: float) -> None:
        """A peer has these chunks: the first 64 bits of each hash, big-endian."""
        source = self._sources.get(peer)
        if source is not None and not source.complete and not source.disbelieved:
            if not source.likely:
                self._stuck_at = now + self._limits.stuck
            self._book.announced(source, prefixes, now)

    def completed(self, peer: Peer, now: float, *, origin: bool = False) -> None:
        """A peer has everything. `origin`: and is to be spared."""
        source = self._sources.get(peer)
        if source is not None:
            self._stuck_at = now + self._limits.stuck
            source.complete, source.origin = True, origin

    def remove_peer(self, peer: Peer, reason: str, now: float) -> None:
        """Takes a peer out; what it still owed is asked of others. `reason`: why it is no more, for `statistics`."""
        source = self._sources.get(peer)
        if source is None:
            return
        for number in list(source.open):
            self._requests.ended(number, Code.GONE, now)
        del self._sources[peer]
        self._book.forget(source)
        self._stuck_at = now + self._limits.stuck
        source.reason = reason or source.reason
        self._past.pop(peer, None)
        self._past[peer] = source.statistics(present=False)
        while len(self._past) > _PAST_KEPT:
            self._past.popitem(last=False)

    # Requests

    def next_requests(self, now: float) -> list[Request]:
        """All requests that peers, window and queue allow now."""
        if len(self._sources) > 2:
            self._look_around(now)
        return self._choosing.all(now)

    def received(self, number: int, indexes: Iterable[int], now: float) -> list[int]:
        """Chunks of a request arrived. Returns the indexes of those that were still waited for; drop the others. They
        count against the window until `written`."""
        entry = self._requests.open.get(number)
        fresh = self._requests.received(number, indexes, now)
        if fresh and entry is not None:
            self._stuck_at = now + self._limits.stuck
            self._recovered(entry.source)
        return fresh

    def missing(self, number: int, indexes: Iterable[int]) -> None:
        """The peer does not have these items of a request."""
        self._requests.missing(number, indexes)
        entry = self._requests.open.get(number)
        if entry is None or not entry.source.likely or entry.source.disbelieved:
            return
        source = entry.source
        if source.lacked >= self._limits.likely_lacks + _LACKS_FACTOR * source.chunks:
            source.disbelieved, source.reason = True, "it lacks what it seemed to have"
            self._book.forget(source)

    def under_way(self, number: int) -> bool:
        """Whether a request may still bring something."""
        return number in self._requests.open

    def declined(self, number: int, indexes: Iterable[int]) -> None:
        """The peer has these items of a request and wants to be asked for them in another way."""
        self._requests.declined(number, indexes)

    def ended(self, number: int, code: Code, now: float) -> None:
        """A request is over; what did not arrive is asked for again."""
        wait = self._limits.elsewhere_wait * (1 + self._chance.random() / 2)
        entry = self._requests.open.get(number)
        if entry is None:
            return
        if entry.request.urgent:
            wait *= _URGENT_WAIT
        self._requests.ended(number, code, now + wait)
        source = entry.source
        if code is Code.ELSEWHERE:
            source.elsewhere += 1
        elif code not in _NO_FAULT:
            source.failures += 1
            self._strike(source, f"a request failed: {code.name.lower()}", now)

    def written(self, size: int) -> None:
        """`size` raw bytes of what was received left memory."""
        self._window.unwritten -= size

    def stored(self, size: int) -> None:
        """`size` raw bytes of what was received would outlive the process."""
        self._window.stored(size)

    def take_given_up(self) -> list[tuple[Peer, int]]:
        """Requests, by peer and number, that can bring nothing any more and are forgotten here: to be cancelled."""
        taken = self._requests.given_up.copy()
        self._requests.given_up.clear()
        return taken

    def hopeless(self, now: float) -> list[Item]:
        """Queued items that every present peer said it lacks, or that no peer has announced for a long time (all that
        is queued, when there is no peer)."""
        complete, partial = 0, False
        for source in self._sources.values():
            if source.complete:
                complete |= source.bit
            elif not source.likely:
                partial = True
        if complete and not self._requests.lacks:
            return []
        if partial and self._stuck_at is not None and now < self._stuck_at:
            return []
        return list(self._book.hopeless(complete))

    # Time

    def next_deadline(self) -> float | None:
        """When `handle_timeout` and `next_requests` are to be called, unless something else comes before."""
        if not self._book.wants:
            return None
        times = [
            self._requests.deadlines.next(),
            self._book.waits_until(),
            self._choosing.next_deadline(),
            self._stuck_at,
        ]
        times += [source.retry_at for source in self._sources.values() if source.retry_at]
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Does what is due at `now`; early or repeated calls do no harm."""
        self._book.return_waiting(now)
        if self._stuck_at is not None and self._stuck_at <= now:
            self._stuck_at = None
        while (number := self._requests.deadlines.pop(now)) is not None:
            entry = self._requests.open[number]
            if entry.probe or not entry.doubted:
                entry.probe = False
                entry.source.late += 1
                self._strike(entry.source, "a request took too long", now)
            else:
                self._requests.late_again(entry, now)
        for source in self._sources.values():
            if source.retry_at <= now:
                source.retry_at = 0.0
            if source.gather_until <= now:
                source.gather_until = 0.0

    # What is known

    def statistics(self) -> list[PeerStatistics]:
        """All peers, those present first."""
        return [source.statistics(present=True) for source in self._sources.values()] + list(self._past.values())

    def why(self, peer: Peer) -> str:
        """Why a peer is avoided or was left; empty if it is not."""
        source = self._sources.get(peer)
        if source is not None:
            return source.reason
        past = self._past.get(peer)
        return past.reason if past is not None else ""

    def _strike(self, source: Source, reason: str, now: float) -> None:
        """A peer failed: it gets less, and for a while nothing, and others are asked for what it owes."""
        source.reason = reason
        source.pace.failed(now)
        self._requests.wait_on(source, now)
        if len(self._sources) == 1:
            return
        source.retry_at = now + min(2.0**source.strikes, self._limits.retry_max)
        source.strikes += 1
        self._book.shun(source)
        for entry in list(source.open.values()):
            self._requests.doubt(entry)

    def _recovered(self, source: Source) -> None:
        """A peer that was late delivers."""
        if source.strikes:
            source.strikes, source.reason, source.retry_at = 0, "", 0.0
            self._regard(source)

    def _confirm(self, source: Source, now: float, *, complete: bool, origin: bool) -> None:
        """What a peer has is told by itself from now on."""
        self._stuck_at = now + self._limits.stuck
        source.likely = source.disbelieved = False
        source.complete, source.origin = complete, origin
        if not complete:
            self._book.welcome(source)

    def _regard(self, source: Source) -> None:
        if not source.complete:
            (self._book.welcome if source.trusted else self._book.shun)(source)

    def _look_around(self, now: float) -> None:
        """Finds neighbours with much more to bring than the others, of what an origin could bring instead."""
        if now < self._looked_at + _LOOK_INTERVAL:
            return
        self._looked_at = now
        help_rate = max((each.pace.rate or inf for each in self._sources.values() if each.spared), default=0.0)
        free = [
            each
            for each in self._sources.values()
            if not (each.spared or each.complete or each.strikes) and each.pace.rate
        ]
        backlogs = [self._book.backlog(each) + each.pace.outstanding for each in free]
        usual = sum(backlogs) / max(sum([each.pace.rate or 0.0 for each in free]), 1.0)
        for source, backlog in zip(free, backlogs, strict=True):
            rate = source.pace.rate or 1.0
            least = self._limits.patience / 2 if source.swamped else max(self._limits.patience, 2 * usual)
            swamped = backlog / rate > least and help_rate > rate / 2
            if swamped != source.swamped:
                source.swamped = swamped
                self._regard(source)
