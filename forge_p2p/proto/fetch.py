"""What to ask whom next: the want-list of one fetch, without I/O or clock.

The caller offers items as it discovers them and takes requests as peers have room. Three bounds keep memory flat:
`queue` (items offered and not yet asked for), `window` (bytes asked for or received and not yet written), and the size
of one request. The window follows the disk: while what arrives is written at once it grows, up to what a long path
needs; where it piles up it shrinks, for all of that is lost if the process is killed.

Items go out in the order offered, urgent ones (list nodes, which open up more items) first. An item that one peer lacks
or loses goes back to the front and is asked of another; when nobody is left to ask it is `hopeless`. Multi-source
ordering (rarest first, endgame) belongs on top of this machine, not in it.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from forge_p2p.ids import Hash

MIB = 1024 * 1024
Peer = Hashable


@dataclass(frozen=True, slots=True)
class Item:
    """A chunk to fetch; `size` in raw bytes, for the window."""

    hash: Hash
    size: int


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bytes and counts. The widest window covers what is in flight on a 1 Gbit/s path with 100 ms of delay. Measured on
    loopback, where the narrowest rules: with 4 MiB and requests of 2 MiB a kill costs 2.6 MB of what had come, with
    this about 1 MB and 5 % more processor time, with half of it 0.8 MB and 20 % more."""

    window: int = 16 * MIB
    narrowest: int = 2 * MIB
    backlog: int = 768 * 1024
    """Received and not yet written: past it the window shrinks."""
    request_bytes: int = 4 * MIB
    """A quarter of the window at most."""
    request_items: int = 1024
    requests_per_peer: int = 8
    queue_items: int = 8192


@dataclass(frozen=True, slots=True)
class Request:
    """Ask `peer` for these items, in this order; `number` names the request in what is reported back."""

    peer: Peer
    number: int
    items: Sequence[Item]
    urgent: bool


@dataclass(slots=True)
class _Open:
    request: Request
    waiting: set[int]


@dataclass(slots=True)
class _Queue:
    urgent: deque[Item] = field(default_factory=deque)
    normal: deque[Item] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self.urgent) + len(self.normal)


class Fetch:
    """One fetch. Offer items, take requests, report what came of them."""

    def __init__(self, limits: FetchLimits | None = None) -> None:
        self._limits = limits or FetchLimits()
        self._queue = _Queue()
        self._known: set[Hash] = set()
        self._urgent: set[Hash] = set()
        self._open: dict[int, _Open] = {}
        self._load: dict[Peer, int] = {}
        self._lacks: dict[Hash, set[Peer]] = {}
        self._window = min(self._limits.window, self._limits.narrowest)
        self._unwritten = 0
        self._backlog = 0
        self._next_number = 0

    @property
    def room(self) -> int:
        """How many more items may be offered now."""
        return max(0, self._limits.queue_items - len(self._queue))

    @property
    def idle(self) -> bool:
        """Nothing queued and nothing under way."""
        return not self._queue and not self._open

    @property
    def peers(self) -> int:
        return len(self._load)

    @property
    def pending(self) -> int:
        """Items queued or asked for and not yet received."""
        return len(self._known)

    def offer(self, items: Iterable[Item], urgent: bool = False) -> list[Item]:
        """Queues items; returns those that were new (a hash is fetched once however often it is offered)."""
        queue = self._queue.urgent if urgent else self._queue.normal
        fresh = []
        for item in items:
            if item.hash not in self._known:
                self._known.add(item.hash)
                if urgent:
                    self._urgent.add(item.hash)
                queue.append(item)
                fresh.append(item)
        return fresh

    def add_peer(self, peer: Peer) -> None:
        self._load.setdefault(peer, 0)

    def remove_peer(self, peer: Peer) -> None:
        """Takes a peer out; what it still owed is asked of others."""
        for number in [n for n, entry in self._open.items() if entry.request.peer == peer]:
            self.ended(number)
        self._load.pop(peer, None)
        for lacking in self._lacks.values():
            lacking.discard(peer)

    def next_requests(self) -> list[Request]:
        """All requests that peers, window and queue allow now, least loaded peer first."""
        requests = []
        while self._queue and self._unwritten < self._window:
            request = self._next_request()
            if request is None:
                break
            requests.append(request)
        return requests

    def received(self, number: int, indexes: Iterable[int]) -> int:
        """Chunks of a request arrived. Returns how many of them were still waited for. They count against the window
        until `written`."""
        entry = self._open.get(number)
        if entry is None:
            return 0
        count = 0
        for index in indexes:
            if index in entry.waiting:
                entry.waiting.discard(index)
                found = entry.request.items[index].hash
                self._known.discard(found)
                self._urgent.discard(found)
                self._lacks.pop(found, None)
                self._backlog += entry.request.items[index].size
                count += 1
        return count

    def written(self, size: int) -> None:
        """`size` raw bytes of what was received left memory."""
        self._unwritten -= size

    def stored(self, size: int) -> None:
        """`size` raw bytes of what was received would outlive the process."""
        self._backlog -= size
        if self._backlog > self._limits.backlog:
            self._window = max(self._window - size, min(self._limits.window, self._limits.narrowest))
        elif self._backlog < self._limits.backlog // 2:
            self._window = min(self._window + size, self._limits.window)

    def missing(self, number: int, indexes: Iterable[int]) -> None:
        """The peer does not have these items of a request."""
        entry = self._open.get(number)
        if entry is None:
            return
        lost = [index for index in indexes if index in entry.waiting]
        for index in lost:
            entry.waiting.discard(index)
            item = entry.request.items[index]
            self._lacks.setdefault(item.hash, set()).add(entry.request.peer)
        self._requeue(entry, lost)

    def ended(self, number: int) -> None:
        """A request is over, however it ended; what did not arrive is asked for again."""
        entry = self._open.pop(number, None)
        if entry is None:
            return
        if entry.request.peer in self._load:
            self._load[entry.request.peer] -= 1
        self._requeue(entry, sorted(entry.waiting))

    def hopeless(self) -> list[Item]:
        """Queued items that every present peer said it lacks (all that is queued, when there is no peer)."""
        peers = self._load.keys()
        if peers and not self._lacks:
            return []
        return [
            item
            for queue in (self._queue.urgent, self._queue.normal)
            for item in queue
            if peers <= self._lack(item.hash)
        ]

    def _lack(self, chunk: Hash) -> set[Peer]:
        return self._lacks.get(chunk, set())

    def _requeue(self, entry: _Open, indexes: Sequence[int]) -> None:
        for index in reversed(indexes):
            item = entry.request.items[index]
            self._unwritten -= item.size
            (self._queue.urgent if item.hash in self._urgent else self._queue.normal).appendleft(item)

    def _next_request(self) -> Request | None:
        for peer in sorted(self._load, key=lambda p: self._load[p]):
            if self._load[peer] >= self._limits.requests_per_peer:
                return None
            for urgent, queue in ((True, self._queue.urgent), (False, self._queue.normal)):
                items = self._take(queue, peer)
                if items:
                    return self._open_request(peer, items, urgent)
        return None

    def _take(self, queue: deque[Item], peer: Peer) -> list[Item]:
        """Items from the front of `queue` that `peer` may have; those it lacks keep their place."""
        taken: list[Item] = []
        skipped: list[Item] = []
        size = 0
        most = min(self._limits.request_bytes, max(self._window // 4, MIB))
        while queue and len(taken) < self._limits.request_items:
            if taken and size + queue[0].size > most:
                break
            item = queue.popleft()
            if self._lacks and peer in self._lack(item.hash):
                skipped.append(item)
                continue
            taken.append(item)
            size += item.size
        queue.extendleft(reversed(skipped))
        return taken

    def _open_request(self, peer: Peer, items: list[Item], urgent: bool) -> Request:
        request = Request(peer, self._next_number, items, urgent)
        self._next_number += 1
        self._open[request.number] = _Open(request, set(range(len(items))))
        self._load[peer] += 1
        self._unwritten += sum(item.size for item in items)
        return request
