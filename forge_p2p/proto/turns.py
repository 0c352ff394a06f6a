"""Whose request is served next: deficit round robin over peers, priority within a peer.

Every peer in the ring is given `quantum` bytes a round and is served while it has credit, so a peer with a thousand
requests, or with large chunks, gets no more than one with a single small request (M. Shreedhar and G. Varghese,
"Efficient Fair Queuing Using Deficit Round-Robin", 1995). What a turn costs is known only when its chunks have been
read, so a turn is debited by estimate and corrected when it is `served`. The estimate follows what the peer's chunks
weighed before; it decides how many chunks make one batch.

A peer has at most `depth` turns out at once: two, so that one is read while the other is sent. A peer that takes its
bytes slowly thus holds up nobody but itself, and memory is bounded by turns, not by requests.

Of what a request names, the chunks that this node has sent least often go first (`sent`), and a *sparing* request is
not given what others were just sent. A request may name more than it has room for: it ends when its bytes are spent.
Its turns are a quarter of that room, because whoever has little room is slow, and could share nothing of a large batch
before all of it has come; but no less than a few chunks, for a turn costs as much as one.
"""

import heapq
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from forge_p2p.content.link import CHUNK_AVG
from forge_p2p.ids import Hash
from forge_p2p.proto.sent import Sent
from forge_p2p.wire.codes import Code
from forge_p2p.wire.limits import WANT_BYTES_MAX

Peer = TypeVar("Peer", bound=Hashable)

BATCH_BYTES = 512 * 1024
SMALL_BATCH = 256 * 1024
BATCH_CHUNKS = 128
"""However small the chunks seem, a batch has no more: at worst, when all prove large, 32 MiB."""
CHUNK_COST = 512
TURN_COST = 64 * 1024
"""Bytes that a chunk and a turn count for beside what is sent, found or not: what could have moved in the time that
looking up and a change of thread take."""

_REORDERS = 4
"""How often, on average, a chunk of a request is ranked anew because it was sent to others meanwhile: evenness is worth
no more, and a request may name one chunk a thousand times."""


@dataclass(frozen=True, slots=True)
class Turn(Generic[Peer]):
    """Read these chunks, answer with those that `Turns.fit`, then call `Turns.served`. There may be none: then the
    request is at its end."""

    peer: Peer
    request_id: int
    indexes: Sequence[int]
    hashes: Sequence[Hash]
    number: int
    """Of the turn, among all."""


@dataclass(slots=True)
class _Request:
    request_id: int
    indexes: Sequence[int]
    hashes: Sequence[Hash]
    deadline: float
    room: int
    """Raw bytes that it may still be sent."""
    batch: int
    """Bytes of one turn."""
    sparing: bool
    rank: tuple[int, int]
    """Priority, and the order of arrival."""
    left: list[tuple[int, int]] | None = None
    """Heap of (times sent, position) of what was not handed out; made with the first turn."""
    reorders: int = 0
    out: int = 0
    """Turns not yet served."""
    planned: int = 0
    """Raw bytes that they may come to."""
    spared: bool = False
    """Some were left out."""
    ending: Code | None = None
    """Nothing more is handed out, and this is to be said when all turns are served; `OK`: nothing is to be said."""


@dataclass(slots=True)
class _Line:
    """One peer's requests."""

    requests: dict[int, _Request] = field(default_factory=dict)
    order: list[tuple[int, int, int]] = field(default_factory=list)
    """Heap of (priority, sequence, request id); may name requests that are gone."""
    credit: int = 0
    out: dict[int, tuple[int, _Request]] = field(default_factory=dict)
    """Turns not yet served, by number: bytes debited for them, and whose they are."""
    in_ring: bool = False
    chunk_size: float = CHUNK_AVG
    """Running mean of what a chunk weighed."""
    raw_size: float = CHUNK_AVG
    """The same before compression."""


class Turns(Generic[Peer]):
    """The serving queue of a node; `quantum` bytes are a batch and a round's share. Every call is O(1), or O(log n) in
    the requests of one peer."""

    def __init__(self, quantum: int = BATCH_BYTES, depth: int = 2, sent: Sent[Peer] | None = None) -> None:
        self._quantum = quantum
        self._depth = depth
        self._sent: Sent[Peer] = sent or Sent()
        self._lines: dict[Peer, _Line] = {}
        self._ring: deque[Peer] = deque()
        self._sequence = 0
        self._turns = 0

    def __len__(self) -> int:
        """Requests with chunks not yet handed out."""
        return sum(len(line.requests) for line in self._lines.values())

    def add(
        self,
        peer: Peer,
        request_id: int,
        indexes: Sequence[int],
        hashes: Sequence[Hash],
        *,
        priority: int,
        deadline: float,
        max_bytes: int = WANT_BYTES_MAX,
        sparing: bool = False,
    ) -> None:
        """Queues a request: the fields of `RequestReceived`. Requests of equal priority keep their order."""
        line = self._lines.setdefault(peer, _Line())
        batch = min(self._quantum, max(max_bytes // 4, SMALL_BATCH))
        self._sequence += 1
        rank = (priority, self._sequence)
        self._queue(line, _Request(request_id, indexes, hashes, deadline, max_bytes, batch, sparing, rank))
        self._enter(peer, line)

    def cancel(self, peer: Peer, request_id: int) -> None:
        """Forgets a request; its turns that are out still have to be `served`."""
        line = self._lines.get(peer)
        if line is None:
            return
        for _, request in line.out.values():
            if request.request_id == request_id:
                request.ending = Code.OK
        if line.requests.pop(request_id, None) is None:
            return
        if len(line.order) > 2 * len(line.requests) + 64:
            line.order = [entry for entry in line.order if entry[2] in line.requests]
            heapq.heapify(line.order)

    def remove_peer(self, peer: Peer) -> None:
        """Forgets a peer; `served` of its turns is then ignored."""
        line = self._lines.pop(peer, None)
        if line is not None and line.in_ring:
            self._ring.remove(peer)

    def next(self, now: float) -> Turn[Peer] | None:
        """The next batch to serve, or `None` when nobody may have one now. Drops requests whose deadline has passed."""
        while self._ring:
            peer = self._ring[0]
            line = self._lines[peer]
            request = self._front(line, now)
            if request is None or len(line.out) >= self._depth:
                self._leave(line)
            elif line.credit <= 0:
                line.credit += self._quantum
                self._ring.rotate(-1)
            else:
                return self._take(peer, line, request, now)
        return None

    def fit(self, turn: Turn[Peer], sizes: Sequence[int | None]) -> int:
        """How many of a turn's chunks, from the first on, may be sent; `sizes` are their raw bytes, `None` what was not
        found. Fewer than all when the request's bytes are spent or it was cancelled. To be called when the chunks are
        about to be sent."""
        line = self._lines.get(turn.peer)
        entry = line.out.get(turn.number) if line is not None else None
        count = 0
        if line is not None and entry is not None:
            count = _fitting(entry[1], sizes)
            entry[1].planned -= int(len(sizes) * line.raw_size)
            found = [size for size in sizes if size is not None]
            if found:
                line.raw_size = (line.raw_size + sum(found) / len(found)) / 2
        for at, chunk in enumerate(turn.hashes):
            if at >= count or sizes[at] is None:
                self._sent.take_back(chunk)
        return count

    def served(self, turn: Turn[Peer], size: int) -> Code | None:
        """A turn is over: `size` stored bytes were read for it and given to the transport (0: nothing was found).
        Returns the code with which the request is now to be ended early, if it is: BUDGET or ELSEWHERE."""
        line = self._lines.get(turn.peer)
        if line is None or turn.number not in line.out:
            return None
        debited, request = line.out.pop(turn.number)
        count = len(turn.indexes)
        line.credit += debited - (size + count * CHUNK_COST + TURN_COST)
        if size:
            line.chunk_size = (line.chunk_size + size / count) / 2
        request.out -= 1
        code = None if request.out else self._after_last(line, request)
        self._enter(turn.peer, line)
        return code

    def _after_last(self, line: _Line, request: _Request) -> Code | None:
        """No turn of a request is out: it is ended, or goes on."""
        request.planned = 0
        if request.sparing and request.ending is None and request.left and request.room * 4 < line.raw_size:
            request.ending = Code.BUDGET  # its asker names more than it has room for: nothing is read in vain
        if request.ending is None:
            if request.left and request.request_id not in line.requests:
                self._queue(line, request)
            return None
        line.requests.pop(request.request_id, None)
        return None if request.ending is Code.OK else request.ending

    def _queue(self, line: _Line, request: _Request) -> None:
        line.requests[request.request_id] = request
        heapq.heappush(line.order, (*request.rank, request.request_id))

    def _take(self, peer: Peer, line: _Line, request: _Request, now: float) -> Turn[Peer]:
        room = request.room - request.planned
        count = min(BATCH_CHUNKS, max(1, int(min(request.batch / line.chunk_size, room / line.raw_size))))
        picked = self._pick(peer, request, count, now)
        request.out += 1
        request.planned += int(len(picked) * line.raw_size)
        if not request.left or request.ending or request.planned + line.raw_size / 2 > request.room:
            del line.requests[request.request_id]  # if there is more to do, `served` puts it back
        debit = int(len(picked) * (line.chunk_size + CHUNK_COST)) + TURN_COST
        line.credit -= debit
        self._turns += 1
        line.out[self._turns] = (debit, request)
        hashes = [request.hashes[at] for at in picked]
        return Turn(peer, request.request_id, [request.indexes[at] for at in picked], hashes, self._turns)

    def _pick(self, peer: Peer, request: _Request, count: int, now: float) -> list[int]:
        """Takes out the positions of chunks sent least often, and counts them as sent; leaves out others' for a sparing
        request."""
        sent = self._sent
        if request.left is None:
            request.left = [(sent.count(chunk), at) for at, chunk in enumerate(request.hashes)]
            heapq.heapify(request.left)
            request.reorders = _REORDERS * len(request.left)
        left = request.left
        picked: list[int] = []
        while left and len(picked) < count:
            before, at = left[0]
            chunk = request.hashes[at]
            times = sent.count(chunk)
            if times > before and request.reorders:
                request.reorders -= 1
                heapq.heapreplace(left, (times, at))
                continue
            heapq.heappop(left)
            if request.sparing and sent.elsewhere(chunk, peer, now, busy=len(self._ring) > 1):
                request.spared = True
            else:
                sent.add(chunk, peer, request.request_id, now)
                picked.append(at)
        if request.spared and not left:
            request.ending = Code.ELSEWHERE
        return picked

    def _front(self, line: _Line, now: float) -> _Request | None:
        """The most urgent request that is still wanted."""
        while line.order:
            request = line.requests.get(line.order[0][2])
            if request is not None and request.deadline > now:
                return request
            _, _, request_id = heapq.heappop(line.order)
            line.requests.pop(request_id, None)
        return None

    def _enter(self, peer: Peer, line: _Line) -> None:
        if not line.in_ring and line.requests and len(line.out) < self._depth:
            line.in_ring = True
            self._ring.append(peer)

    def _leave(self, line: _Line) -> None:
        """Takes the front out of the ring. Who has nothing to ask for saves up no credit; a debt stays."""
        self._ring.popleft()
        line.in_ring = False
        if not line.requests:
            line.credit = min(line.credit, 0)


def _fitting(request: _Request, sizes: Sequence[int | None]) -> int:
    """Takes the room that chunks need; returns how many, from the first on, have it."""
    if request.ending in {Code.OK, Code.BUDGET}:
        return 0
    for count, size in enumerate(sizes):
        if size is not None and size > request.room:
            request.ending = Code.BUDGET
            return count
        request.room -= size or 0
    return len(sizes)
