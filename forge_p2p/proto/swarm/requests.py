"""Requests under way: what each still owes, and what becomes of its items as it is answered, late, or over."""

from collections.abc import Iterable, Sequence

from forge_p2p.proto.swarm.base import Distance, Item, Peer, Request, SwarmLimits
from forge_p2p.proto.swarm.book import Book
from forge_p2p.proto.swarm.sources import Open, Source
from forge_p2p.proto.swarm.wants import NOT_NAMED, Want
from forge_p2p.proto.swarm.window import Window
from forge_p2p.proto.timers import Deadlines
from forge_p2p.wire.codes import Code
from forge_p2p.wire.limits import WANT_BYTES_MAX

_LATE_FACTOR = 4.0
_LATE_PATIENCE = 16


class Requests:
    """The open requests of one fetch. They alone change how many peers a want is asked of, and the window."""

    def __init__(self, limits: SwarmLimits, book: Book, window: Window) -> None:
        self.open: dict[int, Open] = {}
        self.deadlines: Deadlines[int] = Deadlines()
        self.given_up: list[tuple[Peer, int]] = []
        """Requests ended because all they would bring is here."""
        self.lacks = False
        """Whether any peer ever lacked anything."""
        self._limits = limits
        self._book = book
        self._window = window
        self._next = 0
        self._sizes_known = True
        self._passed_on = 0
        """Bytes that came from those who are not spared."""

    # Asking

    def ask(self, source: Source, wants: Sequence[Want], now: float, *, alone: bool) -> Request:
        """Asks for exactly these, which must be in no pool. `alone`: there is no other peer."""
        urgent = wants[0].urgent
        size = sum([want.item.size for want in wants])
        room = WANT_BYTES_MAX
        if not (alone or urgent) and self._sizes_known:
            room = min(size, room)  # the answerer serves smaller requests in smaller batches
        entry = self._enter(source, wants, Request(source.peer, self._next, _items(wants), urgent, room, False), now)
        for want in wants:
            want.named, want.waiting = NOT_NAMED, False
            want.by |= source.bit
            self._count(want)
        self._asked(entry, size, now)
        return entry.request

    def probe(self, source: Source, want: Want, now: float) -> Request:
        """Asks a peer that has failed for a little, and does not count on it."""
        request = self.ask(source, [want], now, alone=False)
        entry = self.open[request.number]
        entry.probe = True
        self.doubt(entry)
        return request

    def ask_among(self, source: Source, wants: Sequence[Want], budget: int, now: float, *, sparing: bool) -> Request:
        """Asks for `budget` bytes of what is named, the peer's choice."""
        request = Request(source.peer, self._next, _items(wants), wants[0].urgent, budget, sparing)
        entry = self._enter(source, wants, request, now)
        for want in wants:
            want.named = request.number
        entry.budget = budget
        self._window.unwritten += budget
        self._asked(entry, budget, now)
        return request

    def _enter(self, source: Source, wants: Sequence[Want], request: Request, now: float) -> Open:
        entry = Open(request, source, list(wants), len(wants), None, 0, now, now)
        self.open[request.number] = source.open[request.number] = entry
        self._next += 1
        for want in wants:
            want.requests.append(entry)
        return entry

    def _asked(self, entry: Open, size: int, now: float) -> None:
        source = entry.source
        source.requests += 1
        source.pace.asked(size, now)
        entry.bytes = size
        expected = source.pace.expected(0)
        entry.expected_at = now + expected
        self._due(entry, now, self._limits.late + _LATE_FACTOR * expected)

    def _due(self, entry: Open, now: float, seconds: float) -> None:
        """It is late after so many seconds; who was late before gets longer, for else the slow would never finish."""
        patience = min(1 << entry.source.strikes, _LATE_PATIENCE)
        self.deadlines.set(entry.request.number, now + seconds * patience)

    def _count(self, want: Want) -> None:
        if not want.asked:
            self._book.asked += 1
            self._window.unwritten += want.item.size
        want.asked += 1

    def _discount(self, want: Want) -> None:
        want.asked -= 1
        if not want.asked:
            self._book.asked -= 1
            self._window.unwritten -= want.item.size

    # Answers

    def received(self, number: int, indexes: Iterable[int], now: float) -> list[int]:
        """See `Swarm.received`."""
        entry = self.open.get(number)
        if entry is None:
            return []
        fresh: list[int] = []
        total = kept = 0
        age = now - entry.sent_at
        if entry.left == len(entry.wants):
            self._window.begun(age)
        for index in indexes:
            want = entry.wants[index]
            if want is None:
                continue
            entry.wants[index] = None
            total += want.item.size
            if not want.done:
                fresh.append(index)
                kept += want.item.size
                self._arrived(entry, want)
        source = entry.source
        source.pace.arrived(total, self._settle(entry, total), now)
        source.bytes += kept
        source.chunks += len(fresh)
        source.duplicates += total - kept
        if not source.spared:
            self._passed_on += kept
        self._window.received(kept)
        if not entry.left:
            self._window.answered(sum([item.size for item in entry.request.items]), age)
        return fresh

    def _arrived(self, entry: Open, want: Want) -> None:
        if not want.asked:
            self._window.unwritten += want.item.size
        for other in want.requests:
            other.left -= 1
            if not other.left and other is not entry:
                self._give_up(other)
        want.requests.clear()
        self._book.resolve(want)

    def _settle(self, entry: Open, size: int) -> int:
        """So much of what a request was to bring is here; returns how much of that its peer's pace still waits for."""
        used = min(entry.bytes, size)
        entry.bytes -= used
        if entry.budget is not None:
            spent = min(entry.budget, size)
            entry.budget -= spent
            self._window.unwritten -= spent
        return used

    def missing(self, number: int, indexes: Iterable[int]) -> None:
        """See `Swarm.missing`."""
        entry = self.open.get(number)
        if entry is None:
            return
        source = entry.source
        for index in indexes:
            want = entry.wants[index]
            if want is None:
                continue
            entry.wants[index] = None
            source.lacked += 1
            self.lacks = True
            want.lacks |= source.bit
            if entry.budget is None:
                source.pace.dropped(want.item.size)
                entry.bytes -= want.item.size
            if not want.done:
                entry.left -= 1
                want.requests.remove(entry)
                self._release(entry, want)

    def declined(self, number: int, indexes: Iterable[int]) -> None:
        """See `Swarm.declined`."""
        entry = self.open.get(number)
        if entry is None:
            return
        for index in indexes:
            want = entry.wants[index]
            if want is None:
                continue
            entry.wants[index] = None
            if entry.budget is None:
                entry.source.pace.dropped(want.item.size)
                entry.bytes -= want.item.size
            if not want.done:
                entry.left -= 1
                want.requests.remove(entry)
                self._release(entry, want)

    def ended(self, number: int, code: Code, wait_until: float) -> Open | None:
        """A request is over; what did not arrive is asked for again, or, if others were just sent it, waits."""
        entry = self.open.pop(number, None)
        if entry is None:
            return None
        self._close(entry)
        if code is Code.BUDGET and entry.budget is None:
            self._sizes_known = False
        waiting: list[Want] = []
        for want in reversed(entry.wants):
            if want is None or want.done:
                continue
            want.requests.remove(entry)
            if code is Code.ELSEWHERE and want.named == number and not want.asked and want.pool is None:
                self._count_round(want, entry.source.distance)
                waiting.append(want)
            else:
                self._release(entry, want)
        if waiting:
            self._book.wait(waiting, wait_until)
        return entry

    def _count_round(self, want: Want, distance: Distance) -> None:
        """Others were just sent it. While they pass anything on it is left to them: where everybody is slow, to ask
        outright would make all the slower what they wait for."""
        limits, passed_on = self._limits, self._passed_on
        if want.urgent or distance is Distance.EDGE or passed_on == want.passed_on:
            want.rounds += 1
        want.passed_on = passed_on
        most = limits.elsewhere_rounds_edge if distance is Distance.EDGE else limits.elsewhere_rounds
        want.outright = want.rounds >= most // (3 if want.urgent else 1)

    def doubt(self, entry: Open) -> None:
        """A request is late: others may be asked for what it names, while it stays open."""
        if entry.doubted:
            return
        entry.doubted = True
        if entry.budget is not None:
            self._window.unwritten -= entry.budget
            entry.budget = 0
        for want in reversed(entry.wants):
            if want is not None and not want.done:
                self._unhand(entry, want)

    def wait_on(self, source: Source, now: float) -> None:
        """A peer is late, and what it was asked stays open."""
        for entry in source.open.values():
            self._due(entry, now, self._limits.late)

    def late_again(self, entry: Open, now: float) -> None:
        """A request has been late for long: it is no more if others were asked for all that it names."""
        if all(want is None or want.done or want.asked or want.crowded for want in entry.wants):
            for want in entry.wants:
                if want is not None and not want.done:
                    want.requests.remove(entry)
                    self._release(entry, want)
            self._give_up(entry)
        else:
            self._due(entry, now, self._limits.late)

    def _release(self, entry: Open, want: Want) -> None:
        """A request will not bring this want."""
        if entry.budget is None:
            want.by &= ~entry.source.bit
        if not entry.doubted:
            self._unhand(entry, want)
        elif want.pool is not None:
            self._book.regain(entry.source, want)

    def _unhand(self, entry: Open, want: Want) -> None:
        if entry.budget is None:
            self._discount(want)
        elif want.named != entry.request.number:
            return
        want.named = NOT_NAMED
        if not want.asked and want.pool is None and not want.waiting:
            self._book.enqueue(want, front=True)

    def _give_up(self, entry: Open) -> None:
        """All that a request would bring is here."""
        number = entry.request.number
        if self.open.pop(number, None) is not None:
            self._close(entry)
            self.given_up.append((entry.request.peer, number))

    def _close(self, entry: Open) -> None:
        del entry.source.open[entry.request.number]
        self.deadlines.cancel(entry.request.number)
        entry.source.pace.dropped(entry.bytes)
        if entry.budget:
            self._window.unwritten -= entry.budget
            entry.budget = 0


def _items(wants: Sequence[Want]) -> list[Item]:
    return [want.item for want in wants]
