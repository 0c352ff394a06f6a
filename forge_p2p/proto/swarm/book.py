"""What is still to be fetched, and who is known to have it.

Every want that nobody was asked for is in one of four pools: `outright` (asked of whoever has it), `held` (some
neighbour that can be counted on has announced it), or `urgent` and `normal` (nobody has). A neighbour also has a list
of its own of what it announced and was wanted then; what became of those since is found out when they come up. So an
announcement, a request and an arrival each cost a few operations, however many wants and peers there are.
"""

import heapq
from collections.abc import Iterable, Iterator

from forge_p2p.ids import Hash, prefix_of
from forge_p2p.proto.swarm.base import Chance, Item, SwarmLimits
from forge_p2p.proto.swarm.sources import Source
from forge_p2p.proto.swarm.wants import NOT_NAMED, Pool, Want

_SAMPLE_LEAST = 16
_SAMPLE_FACTOR = 4
"""How many announced wants are looked at to ask for one: the rarest of these is near enough to the rarest of all."""


class Book:
    """The wants of one fetch."""

    def __init__(self, limits: SwarmLimits, chance: Chance) -> None:
        self.wants: dict[Hash, Want] = {}
        self.outright, self.urgent, self.normal, self.held = Pool(), Pool(), Pool(), Pool()
        self.usable = 0
        """Peers whose announcements count now, as a mask."""
        self.shuffled = False
        """Whether new items are put in random order: when others want the same."""
        self._limits = limits
        self._chance = chance
        self._by_prefix: dict[int, Want] = {}
        self._early: dict[int, int] = {}
        self._neighbours: dict[int, Source] = {}
        self._present = 0
        self._waiting: list[tuple[float, int, list[Want]]] = []
        self._waits = 0
        self.asked = 0
        """Wants that somebody was asked for."""
        self.size = 0
        """Bytes of all wants."""

    @property
    def queued(self) -> int:
        """Wants that somebody could be asked for now."""
        return len(self.outright.wants) + len(self.urgent.wants) + len(self.normal.wants) + len(self.held.wants)

    def offer(self, items: Iterable[Item], *, urgent: bool) -> list[Item]:
        """Takes items in; returns those that were new."""
        fresh = []
        wants, early = self.wants, self._early
        for item in items:
            if item.hash not in wants:
                prefix = prefix_of(item.hash)
                want = Want(item, urgent, prefix)
                if early:
                    want.holders = early.pop(prefix, 0)
                wants[item.hash] = self._by_prefix[prefix] = want
                self.size += item.size
                fresh.append(want)
        if self.shuffled and not urgent and len(fresh) > 1:
            cut = int(self._chance.random() * len(fresh))
            for want in fresh[cut:] + fresh[:cut]:
                self.enqueue(want)
        else:
            for want in fresh:
                self.enqueue(want)
        return [want.item for want in fresh]

    def shuffle(self) -> None:
        """From now on others want the same: begin somewhere by chance, so that they get other parts first."""
        if not self.shuffled:
            self.shuffled = True
            self.normal.rotate(int(self._chance.random() * len(self.normal)))

    def enqueue(self, want: Want, *, front: bool = False) -> None:
        """Puts a want, which must be in no pool, where it is to be asked for."""
        want.named, want.waiting = NOT_NAMED, False
        holders = want.holders & self._present & ~(want.by | want.lacks)
        if want.outright:
            self.outright.add(want, front=front)
        elif holders & self.usable:
            self.held.add(want, front=front)
        else:
            (self.urgent if want.urgent else self.normal).add(want, front=front)
        while holders:
            bit = holders & -holders
            holders ^= bit
            self._neighbours[bit].candidates.append(want)

    def wait(self, wants: list[Want], until: float) -> None:
        """Leaves wants, which must be in no pool, to the neighbours for a while."""
        for want in wants:
            want.named, want.waiting = NOT_NAMED, True
        self._waits += 1
        heapq.heappush(self._waiting, (until, self._waits, wants))

    def waits_until(self) -> float | None:
        """When the first wait is over."""
        return self._waiting[0][0] if self._waiting else None

    def return_waiting(self, now: float) -> None:
        """Puts back the wants whose wait is over."""
        while self._waiting and self._waiting[0][0] <= now:
            for want in heapq.heappop(self._waiting)[2]:
                if want.waiting and not want.done:
                    self.enqueue(want)

    def resolve(self, want: Want) -> None:
        """It is here."""
        want.done = True
        if want.pool is not None:
            want.pool.discard(want)
        if want.asked:
            self.asked -= 1
        self.size -= want.item.size
        del self.wants[want.item.hash]
        if self._by_prefix.get(want.prefix) is want:
            del self._by_prefix[want.prefix]

    @property
    def prefixes(self) -> Iterable[int]:
        """Those of all wants."""
        return self._by_prefix.keys()

    # Who has what

    def announced(self, source: Source, prefixes: Iterable[int], now: float) -> None:
        """A neighbour has these."""
        bit, by_prefix, early = source.bit, self._by_prefix, self._early
        if not source.candidates:
            source.gather_until = now + self._limits.gather_wait
        for prefix in prefixes:
            want = by_prefix.get(prefix)
            if want is None:
                early[prefix] = early.get(prefix, 0) | bit
            elif not want.holders & bit:
                want.holders |= bit
                if not want.asked:
                    self._hold(source, want)
                    if want.urgent:
                        source.gather_until = now
        while len(early) > self._limits.early_holdings:
            del early[next(iter(early))]  # the oldest: most of these have been received since

    def welcome(self, source: Source) -> None:
        """From now on what this neighbour has announced counts."""
        bit = source.bit
        if self.usable & bit:
            return
        self.usable |= bit
        self._present |= bit
        self._neighbours[bit] = source
        source.candidates.clear()
        for want in self.wants.values():
            if want.holders & bit and not want.asked and not (want.by | want.lacks) & bit:
                self._hold(source, want)

    def shun(self, source: Source) -> None:
        """From now on it does not: others are asked for it as if this neighbour had not announced it."""
        if not self.usable & source.bit:
            return
        self.usable &= ~source.bit
        for want in list(self.held.wants):
            if not want.holders & self.usable & ~(want.by | want.lacks):
                self.held.discard(want)
                (self.urgent if want.urgent else self.normal).add(want)

    def forget(self, source: Source) -> None:
        """A neighbour has left."""
        self.shun(source)
        source.candidates.clear()
        self._present &= ~source.bit
        self._neighbours.pop(source.bit, None)

    def backlog(self, source: Source) -> float:
        """Bytes that wait for this neighbour, each want shared among all who have it."""
        usable = self.usable | source.bit
        source.candidates = [want for want in source.candidates if not (want.done or want.asked)]
        return sum([want.item.size / (want.holders & usable).bit_count() for want in source.candidates])

    def _hold(self, source: Source, want: Want) -> None:
        source.candidates.append(want)
        if not self.usable & source.bit:
            return
        if want.waiting:
            want.waiting = False
            self.held.add(want)
        elif want.pool is self.normal or want.pool is self.urgent:
            want.pool.discard(want)
            self.held.add(want)

    # Choosing

    def rarest(self, source: Source, most: int) -> list[Want]:
        """Takes out wants that a neighbour has, the rarest of a sample first, urgent ones before all: up to `most`
        bytes, but one at least if there is one."""
        usable = self.usable
        sample = self._sample(source, most)  # in random order, which sorting keeps among equals
        sample.sort(key=lambda want: (not want.urgent, (want.holders & usable).bit_count()))
        taken: list[Want] = []
        size = 0
        for want in sample:
            size += want.item.size
            if taken and (size > most or want.urgent != taken[0].urgent or len(taken) == self._limits.request_items):
                source.candidates.append(want)
                continue
            taken.append(want)
            if want.pool is not None:
                want.pool.discard(want)
        return taken

    def _sample(self, source: Source, most: int) -> list[Want]:
        """Takes out some of a neighbour's candidates that are still wanted."""
        candidates, bit = source.candidates, source.bit
        found: dict[Want, None] = {}
        crowded: list[Want] = []
        enough = _SAMPLE_LEAST
        while candidates and len(found) < enough:
            at = int(self._chance.random() * len(candidates))
            want, candidates[at] = candidates[at], candidates[-1]
            candidates.pop()
            if want.done or want.asked or (want.by | want.lacks) & bit:
                continue
            if want.crowded:
                crowded.append(want)
            else:
                if not found:
                    enough = max(enough, _SAMPLE_FACTOR * most // max(want.item.size, 1))
                found[want] = None
        candidates += crowded
        return list(found)

    def regain(self, source: Source, want: Want) -> None:
        """A neighbour that had been asked for a want in vain may be asked for it again."""
        bit = source.bit
        if want.holders & self._present & bit and not want.lacks & bit and not (want.asked or want.done):
            self._hold(source, want)

    def hopeless(self, complete: int) -> Iterator[Item]:
        """Queued items that no peer is known to have; `complete` are the bits of those who have everything."""
        everybody = complete | self._present
        for pool in (self.outright, self.urgent, self.normal, self.held):
            for want in pool.wants:
                if not (complete | want.holders) & everybody & ~want.lacks:
                    yield want.item
