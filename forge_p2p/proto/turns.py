"""Whose request is served next: deficit round robin over peers, priority within a peer.

Every peer in the ring is given `quantum` bytes a round and is served while it has credit, so a peer with a thousand
requests, or with large chunks, gets no more than one with a single small request (M. Shreedhar and G. Varghese,
"Efficient Fair Queuing Using Deficit Round-Robin", 1995). What a turn costs is known only when its chunks have been
read, so a turn is debited by estimate and corrected when it is `served`. The estimate follows what the peer's chunks
weighed before; it decides how many chunks make one batch.

A peer has at most `depth` turns out at once: two, so that one is read while the other is sent. A peer that takes its
bytes slowly thus holds up nobody but itself, and memory is bounded by turns, not by requests.
"""

import heapq
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from forge_p2p.content.link import CHUNK_AVG
from forge_p2p.ids import Hash

Peer = TypeVar("Peer", bound=Hashable)

BATCH_BYTES = 512 * 1024
BATCH_CHUNKS = 128
"""However small the chunks seem, a batch has no more: at worst, when all prove large, 32 MiB."""
CHUNK_COST = 512
TURN_COST = 64 * 1024
"""Bytes that a chunk and a turn count for beside what is sent, found or not: what could have moved in the time that
looking up and a change of thread take."""


@dataclass(frozen=True, slots=True)
class Turn(Generic[Peer]):
    """Read these chunks, answer with them, then call `Turns.served`."""

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
    taken: int = 0


@dataclass(slots=True)
class _Line:
    """One peer's requests."""

    requests: dict[int, _Request] = field(default_factory=dict)
    order: list[tuple[int, int, int]] = field(default_factory=list)
    """Heap of (priority, sequence, request id); may name requests that are gone."""
    credit: int = 0
    out: dict[int, int] = field(default_factory=dict)
    """Turns not yet served, by number: bytes debited for them."""
    in_ring: bool = False
    chunk_size: float = CHUNK_AVG
    """Running mean of what a chunk weighed."""


class Turns(Generic[Peer]):
    """The serving queue of a node; `quantum` bytes are a batch and a round's share. Every call is O(1), or O(log n) in
    the requests of one peer."""

    def __init__(self, quantum: int = BATCH_BYTES, depth: int = 2) -> None:
        self._quantum = quantum
        self._depth = depth
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
    ) -> None:
        """Queues a request: the fields of `RequestReceived`. Requests of equal priority keep their order."""
        line = self._lines.setdefault(peer, _Line())
        line.requests[request_id] = _Request(request_id, indexes, hashes, deadline)
        self._sequence += 1
        heapq.heappush(line.order, (priority, self._sequence, request_id))
        self._enter(peer, line)

    def cancel(self, peer: Peer, request_id: int) -> None:
        """Forgets a request; its turns that are out still have to be `served`."""
        line = self._lines.get(peer)
        if line is None or line.requests.pop(request_id, None) is None:
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
                return self._take(peer, line, request)
        return None

    def served(self, turn: Turn[Peer], size: int) -> None:
        """A turn is over: `size` stored bytes were read for it and given to the transport (0: nothing was found)."""
        line = self._lines.get(turn.peer)
        debited = line.out.pop(turn.number, None) if line is not None else None
        if line is None or debited is None:
            return
        count = len(turn.indexes)
        line.credit += debited - (size + count * CHUNK_COST + TURN_COST)
        if size:
            line.chunk_size = (line.chunk_size + size / count) / 2
        self._enter(turn.peer, line)

    def _take(self, peer: Peer, line: _Line, request: _Request) -> Turn[Peer]:
        count = min(BATCH_CHUNKS, max(1, int(self._quantum / line.chunk_size)), len(request.indexes) - request.taken)
        batch = slice(request.taken, request.taken + count)
        request.taken += count
        if request.taken == len(request.indexes):
            del line.requests[request.request_id]
        self._turns += 1
        line.out[self._turns] = debit = int(count * (line.chunk_size + CHUNK_COST)) + TURN_COST
        line.credit -= debit
        return Turn(peer, request.request_id, request.indexes[batch], request.hashes[batch], self._turns)

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
