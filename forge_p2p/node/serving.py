"""The serving side: every peer's requests answered from the store, no peer at another's expense.

Each peer with something to answer has one task, which answers a batch, waits until the connection has taken it, and
queues up again for one of `SLOTS` places. So a fast peer gets no second batch before everybody waiting had one, a peer
that does not read holds one batch in memory and no place, and memory is bounded by peers times one batch.
"""

import heapq
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from forge_p2p.errors import ForgeError, PeerError, Refused
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.local import LocalNode
from forge_p2p.node.peer import PeerSession
from forge_p2p.node.rights import Grant, Rights
from forge_p2p.proto import outputs
from forge_p2p.proto.auth import Refusal, Scope
from forge_p2p.wire.codes import Code

LOG = logging.getLogger("forge")

SLOTS = 4
"""Batches being read from the store at once; twice the cores of a small machine."""

BATCH_BYTES = 768 * 1024
BATCH_CHUNKS_MAX = 128
"""A batch is sized by the chunks of the one before it: Python's cost is per batch, memory's per byte."""

RIGHTS_INTERVAL = 1.0
"""Seconds after which a ticket revoked or expired opens nothing any more to who is connected already."""


@dataclass(order=True, slots=True)
class _Waiting:
    """A request and how much of it has been answered. Ordered by urgency, then by arrival."""

    priority: int
    arrival: int
    request: outputs.RequestReceived = field(compare=False)
    answered: int = field(default=0, compare=False)


class _PeerQueue:
    """What one peer waits for."""

    def __init__(self) -> None:
        self.heap: list[_Waiting] = []
        self.cancelled: set[int] = set()
        self.batch = 8
        self.arrivals = 0

    def push(self, request: outputs.RequestReceived) -> None:
        self.arrivals += 1
        heapq.heappush(self.heap, _Waiting(request.priority, self.arrivals, request))

    def take(self, now: float) -> tuple[outputs.RequestReceived, slice] | None:
        """The next batch: a request and which of its hashes."""
        while self.heap:
            first = self.heap[0]
            gone = first.request.request_id in self.cancelled
            if gone or first.answered >= len(first.request.hashes) or first.request.deadline <= now:
                heapq.heappop(self.heap)
                self.cancelled.discard(first.request.request_id)
                continue
            start = first.answered
            first.answered = min(start + self.batch, len(first.request.hashes))
            return first.request, slice(start, first.answered)
        return None

    def learn(self, chunks: int, size: int) -> None:
        """Sizes the next batch by what this one brought."""
        average = max(1, size // max(1, chunks))
        self.batch = max(4, min(BATCH_CHUNKS_MAX, BATCH_BYTES // average))


class Server:
    """Answers all sessions of a node. `served` counts the raw bytes per peer address for `forge status`."""

    def __init__(self, node: LocalNode, nursery: trio.Nursery) -> None:
        self._node = node
        self._nursery = nursery
        self._rights = Rights(node)
        self._slots = trio.CapacityLimiter(SLOTS)
        self._queues: dict[PeerSession, _PeerQueue] = {}
        self._grants: dict[PeerSession, Grant] = {}
        nursery.start_soon(self._watch_rights)

    @property
    def rights(self) -> Rights:
        """Who may have what; it is the authorizer of every session accepted."""
        return self._rights

    def requested(self, session: PeerSession, request: outputs.RequestReceived) -> None:
        queue = self._queues.get(session)
        if queue is None:
            queue = self._queues[session] = _PeerQueue()
            self._nursery.start_soon(self._contain, session, self._answer_all, queue)
        queue.push(request)

    def cancelled(self, session: PeerSession, request_id: int) -> None:
        queue = self._queues.get(session)
        if queue is not None:
            queue.cancelled.add(request_id)

    def queried(self, session: PeerSession, query: outputs.HaveQueryReceived) -> None:
        self._nursery.start_soon(self._contain, session, self._answer_query, query)

    def authorization_needed(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None:
        self._nursery.start_soon(self._contain, session, self._decide, client_id, credentials)

    async def _contain(self, session: PeerSession, serve: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Runs a part of a session; a defect that it hits ends that session and nothing else."""
        try:
            await serve(session, *arguments)
        except PeerError:
            return  # the session's own task says what happened
        except ForgeError as error:
            session.blame(error, Code.INTERNAL)
        except Exception:
            LOG.exception("a defect of Forge ended the session with %s; please report it", session.where)
            session.blame(PeerError("a defect of this node"), Code.INTERNAL)

    async def _answer_all(self, session: PeerSession, queue: _PeerQueue) -> None:
        try:
            while (work := queue.take(trio.current_time())) is not None and not session.ended.is_set():
                await self._answer_batch(session, queue, *work)
        finally:
            del self._queues[session]

    async def _answer_batch(
        self, session: PeerSession, queue: _PeerQueue, request: outputs.RequestReceived, part: slice
    ) -> None:
        hashes = request.hashes[part]
        try:
            async with self._slots:
                chunks = await trio.to_thread.run_sync(self._node.store.read_encoded, hashes)
        except ForgeError as error:
            session.session.finish(request.request_id, Code.STORE, error.message, trio.current_time())
            queue.cancelled.add(request.request_id)
        else:
            found = [chunk for chunk in chunks if chunk is not None]
            queue.learn(len(found), sum(len(chunk.data) for chunk in found))
            session.session.answer(request.request_id, request.indexes[part], chunks, trio.current_time())
        await session.flush()

    async def _answer_query(self, session: PeerSession, query: outputs.HaveQueryReceived) -> None:
        lacking = set(await trio.to_thread.run_sync(self._missing, query.hashes))
        present = [chunk not in lacking for chunk in query.hashes]
        session.session.answer_have(query.request_id, present, trio.current_time())
        await session.flush()

    def _missing(self, hashes: Sequence[Hash]) -> list[Hash]:
        return self._node.store.missing(hashes)

    async def _decide(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None:
        try:
            verdict: Scope | Refusal = await trio.to_thread.run_sync(self._rights.decide, client_id, credentials)
        except ForgeError as error:
            verdict = Refusal(Code.INTERNAL, error.message)
        if isinstance(verdict, Grant) and not session.ended.is_set():
            self._grants[session] = verdict
        session.session.decide(verdict, trio.current_time())
        await session.flush()

    async def _watch_rights(self) -> None:
        """Ends sessions whose ticket is good no more."""
        while True:
            await trio.sleep(RIGHTS_INTERVAL)
            self._grants = {session: grant for session, grant in self._grants.items() if not session.ended.is_set()}
            if not self._grants:
                continue
            try:
                ended = await trio.to_thread.run_sync(self._rights.ended, list(self._grants.values()))
            except ForgeError as error:
                LOG.error("cannot tell which tickets are still good: %s", error)
                continue
            for session, grant in self._grants.items():
                refusal = ended.get(grant.capability.id)
                if refusal is not None:
                    session.blame(Refused(refusal.reason), refusal.code)
