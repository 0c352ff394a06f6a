"""What one peer is asked for next, and which peers before others.

Neighbours (who fetch the same, or have finished) are asked for what they have, the nearest and least loaded first. An
origin or a seed is spared: it is asked for what no neighbour has announced, and for the rest only when the neighbours
are clearly slower. That is so when what waits for them would take them longer than `patience` and the origin is at
least half as fast as all of them together: then the end would come much sooner with its help. Otherwise it would
hardly, and others need its uplink more. An edge has to be twice as fast as all of them: it costs money. Even then it
leaves out what it knows to be on its way to others: where all are slow because they share processors, each would else
ask it for what the others have.
"""

from collections.abc import Iterator, Mapping
from math import inf

from forge_p2p.proto.swarm.base import Distance, Peer, Request, SwarmLimits
from forge_p2p.proto.swarm.book import Book
from forge_p2p.proto.swarm.requests import Requests
from forge_p2p.proto.swarm.sources import Open, Source
from forge_p2p.proto.swarm.wants import Pool, Want
from forge_p2p.proto.swarm.window import Window

_ENDGAME_INTERVAL = 0.05
_ENDGAME_FACTOR = 2.0
_NAMES_LEAST = 32
_FAR_FASTER = 8
"""Times the rate of all peers: so fast a bucket is not waited for at the end, when peers would take a second or two."""


class Choosing:
    """Makes requests. `sources` are the peers present, by their keys."""

    def __init__(
        self, limits: SwarmLimits, book: Book, window: Window, requests: Requests, sources: Mapping[Peer, Source]
    ) -> None:
        self._limits = limits
        self._book = book
        self._window = window
        self._requests = requests
        self._sources = sources
        self._endgame_at = 0.0
        self._chance_until: float | None = None
        """When a source may be asked for what others might have brought until then."""

    def all(self, now: float) -> list[Request]:
        """All requests that peers, window and wants allow now."""
        if self._chance_until is not None and self._chance_until <= now:
            self._chance_until = None
        if not self._book.wants or self._window.full:
            return []
        made = self._round(now, spare=True)
        if not (made or self._requests.open):
            made = self._round(now, spare=False)  # whatever sparing is good for, it must not hold up anything
        return made or self._endgame(now)

    def _round(self, now: float, *, spare: bool) -> list[Request]:
        made: list[Request] = []
        for group in self._in_order(self._askable(now)):
            before = -1
            while before != len(made):
                before = len(made)
                for source in group:
                    request = self._ask(source, now, spare=spare)
                    if request is not None:
                        made.append(request)
        return made

    def _askable(self, now: float) -> list[Source]:
        """Peers who may have something that nobody was asked for, and enough of it."""
        queued = self._book.queued
        least = self._limits.gather if self._window.unwritten > self._limits.pipeline_least else 0
        return [
            each
            for each in self._sources.values()
            if (queued and each.complete) or (each.candidates and (each.gathered >= least or each.gather_until <= now))
        ]

    def next_deadline(self) -> float | None:
        """When there may be something to ask that may not be asked now."""
        times = [each.gather_until for each in self._sources.values() if each.candidates and each.gather_until]
        second = self._second_asks_at()
        times += [each for each in (second, self._chance_until) if each is not None]
        return min(times, default=None)

    def _second_asks_at(self) -> float | None:
        """When it may be time to ask second peers for the last items."""
        if self._book.queued or not self._book.asked or len(self._sources) < 2 or self._window.full:
            return None
        if not any(not source.open for source in self._sources.values()):
            return None
        expected = min((entry.expected_at for entry in self._requests.open.values()), default=inf)
        return None if expected == inf else max(expected, self._endgame_at)

    def _in_order(self, sources: list[Source]) -> list[list[Source]]:
        """Groups of peers, of which one is asked for all it has room for before the next: origins with something that
        they alone have, for everybody waits for that; then the nearest. The least loaded of a group come first."""
        if len(sources) < 2:
            return [sources]
        if sum([1 for each in self._sources.values() if each.open]) >= self._limits.peers:
            sources = [each for each in sources if each.open]
        fresh = bool(self._book.normal or self._book.urgent)
        groups: dict[int, list[Source]] = {}
        for each in sources:
            groups.setdefault(-1 if fresh and each.spared else each.distance, []).append(each)
        for group in groups.values():
            group.sort(key=lambda each: each.pace.outstanding / each.pace.limit)
        return [groups[key] for key in sorted(groups)]

    def _ask(self, source: Source, now: float, *, spare: bool) -> Request | None:
        room = self._room(source, now)
        if room <= 0:
            return None
        if source.strikes and len(self._sources) > 1:
            return self._probe(source, now)
        if not source.complete:
            return self._exactly(source, self._book.rarest(source, room), now)
        if spare and self.spares(source):
            return self._ask_spared(source, room, now)
        book = self._book
        return self._first_of((book.outright, book.urgent, book.normal, book.held), source, room, now)

    def _probe(self, source: Source, now: float) -> Request | None:
        """Asks a peer that has failed for one thing that nobody else was asked for."""
        book = self._book
        if source.open:
            return None
        if source.complete:
            pools = (book.normal, book.held, book.urgent, book.outright)
            wants = next((taken for pool in pools if (taken := pool.take(source.bit, 0, 1))), [])
        else:
            wants = book.rarest(source, 0)[:1]
        if not wants:
            return None
        if wants[0].by:
            book.enqueue(wants[0], front=True)
            return None
        return self._requests.probe(source, wants[0], now)

    def _room(self, source: Source, now: float) -> int:
        """The most bytes of a request to this peer now."""
        if self._window.full or len(source.open) >= self._limits.requests_per_peer:
            return 0
        if len(self._sources) == 1 and not self.spares(source):
            return self._window.share if source.spared else self._window.free_alone(source.pace.outstanding)
        if source.retry_at > now and len(self._sources) > 1:
            return 0
        limit, outstanding = source.pace.limit, source.pace.outstanding
        if self._is_bucket_of_one(source):
            limit = max(limit, self._limits.pipeline_edge)
        free = limit - outstanding
        if outstanding and free < limit // 4:
            return 0
        return min(self._window.share, free, max(limit // 2, self._limits.pipeline_least // 2))

    def _first_of(self, pools: tuple[Pool, ...], source: Source, room: int, now: float) -> Request | None:
        for pool in pools:
            if pool:
                request = self._exactly(source, pool.take(source.bit, room, self._limits.request_items), now)
                if request is not None:
                    return request
        return None

    def _exactly(self, source: Source, wants: list[Want], now: float) -> Request | None:
        if not wants:
            return None
        return self._requests.ask(source, wants, now, alone=len(self._sources) == 1)

    # Sparing

    def spares(self, source: Source) -> bool:
        """Whether a source is asked only for what others do not have. A bucket that is alone is asked for everything,
        in order: so little of it is asked for twice, in few ranges."""
        return source.spared and not (source.distance is Distance.EDGE and len(self._sources) == 1)

    def bucket_leads(self) -> bool:
        """Whether most comes from a bucket that nobody else reads from."""
        if self._in_company():
            return False
        rates = [(each.distance is Distance.EDGE, each.pace.rate or 0.0) for each in self._sources.values()]
        return sum([rate if edge else -rate for edge, rate in rates]) > 0

    def _in_company(self) -> bool:
        """Whether others fetch the same now."""
        return not all(each.complete for each in self._sources.values())

    def _is_bucket_of_one(self, source: Source) -> bool:
        """Whether it is a bucket, and nobody else fetches the same."""
        return source.distance is Distance.EDGE and not self._in_company()

    def _ask_spared(self, source: Source, room: int, now: float) -> Request | None:
        book = self._book
        request = self._first_of((book.outright,), source, room, now)
        if request is not None:
            return request
        if not self._others_have_all(source, now):
            request = self._ask_fresh(source, room, now)
        if request is None and book.held and self._neighbours_are_slower(source, now):
            request = self._among(book.held, source, room, now)
        return request

    def _ask_fresh(self, source: Source, room: int, now: float) -> Request | None:
        """Asks a spared source for what nobody else was asked for."""
        book = self._book
        if self._is_bucket_of_one(source):
            return self._first_of((book.urgent, book.normal), source, room, now)
        request = None
        if len(self._sources) == 1 or len(book.urgent) <= self._limits.urgent_unspared:
            request = self._first_of((book.urgent,), source, room, now)
        return request or self._among(book.urgent, source, room, now) or self._among(book.normal, source, room, now)

    def _among(self, pool: Pool, source: Source, room: int, now: float) -> Request | None:
        """Names more of a pool than there is room for; leaves some for the next request that is under way meanwhile."""
        if not pool:
            return None
        limits = self._limits
        company = len(self._sources) > 1
        budget = max(room, limits.pipeline_least)
        fitting = budget * len(pool) // max(pool.bytes, 1) + 1
        names = max(fitting * (limits.names if company else limits.names_alone), _NAMES_LEAST)
        if names * 2 > len(pool):
            names = max(len(pool) // 2, fitting)
        wants = pool.take(source.bit, pool.bytes, min(names, limits.request_items))
        if not wants:
            return None
        budget = max(min(budget, sum([want.item.size for want in wants])), limits.pipeline_least)
        return self._requests.ask_among(source, wants, budget, now, sparing=True)

    def _others_have_all(self, source: Source, now: float) -> bool:
        """Whether neighbours who have finished will bring all that nobody else has."""
        finished = [each for each in self._sources.values() if each.complete and not each.spared]
        finished = [each for each in finished if not each.lacked and not each.strikes]
        backlog = self._book.normal.bytes + self._book.urgent.bytes + sum([each.pace.outstanding for each in finished])
        return bool(finished) and not self._are_slower(source, finished, backlog, now)

    def _neighbours_are_slower(self, source: Source, now: float) -> bool:
        """Whether this origin should help out with what neighbours have; see above."""
        free = [each for each in self._sources.values() if not each.spared and each.trusted]
        backlog = self._book.held.bytes + sum([each.pace.outstanding for each in free])
        return self._are_slower(source, free, backlog, now)

    def _are_slower(self, source: Source, others: list[Source], backlog: float, now: float) -> bool:
        edge = source.distance is Distance.EDGE
        alone = self._is_bucket_of_one(source)
        chance = self._limits.patience_edge if alone else self._limits.patience
        until = min((each.joined + chance for each in others if each.pace.rate is None), default=0.0)
        if now < until:
            self._chance_until = until
            return False  # they deserve a chance
        rate = sum([each.pace.rate or 0.0 for each in others])
        if edge:
            rate = max(rate, sum([each.pace.early for each in others]))
        own = source.pace.hoped(now) if alone else source.pace.rate
        far_faster = alone and own is not None and own >= _FAR_FASTER * rate
        if backlog <= rate * (self._limits.patience_edge if far_faster else self._limits.patience):
            return False
        return own is None or own >= (2 * rate if edge else rate / 2)

    # The end

    def _endgame(self, now: float) -> list[Request]:
        """Nothing is left that nobody was asked for: second peers are asked for what the first are slow to bring."""
        if self._book.queued or not self._book.asked or now < self._endgame_at or len(self._sources) < 2:
            return []
        self._endgame_at = now + _ENDGAME_INTERVAL
        made = []
        idle = [each for each in self._sources.values() if not each.open and not each.strikes]
        for source in [each for group in self._in_order(idle) for each in group]:
            room = self._room(source, now)
            wants = self._overdue(source, room, now) if room > 0 else []
            if wants:
                made.append(self._requests.ask(source, wants, now, alone=False))
        return made

    def _overdue(self, source: Source, room: int, now: float) -> list[Want]:
        """What `source` would bring much sooner than who was asked for it; up to `room` bytes."""
        soon = source.pace.expected(self._limits.pipeline_least) * _ENDGAME_FACTOR + _ENDGAME_INTERVAL
        wants: list[Want] = []
        for entry in self._requests.open.values():
            if entry.source is source or entry.budget is not None or entry.doubted:
                continue
            left = entry.expected_at - now if now < entry.expected_at else now - entry.sent_at
            if left < (max(soon, self._limits.patience) if source.spared else soon):
                continue
            for want in self._duplicable(entry, source):
                if room <= 0:
                    return wants
                room -= want.item.size
                wants.append(want)
        return wants

    def _duplicable(self, entry: Open, source: Source) -> Iterator[Want]:
        bit, most = source.bit, self._limits.askers
        for want in entry.wants:
            if want is None or want.done or want.asked >= most or (want.by | want.lacks) & bit or want.crowded:
                continue
            if source.complete or want.holders & bit:
                yield want
