"""The serving side: every peer's requests answered from the store, no peer at another's expense.

Who is served next is decided by `proto.turns`. A turn is one batch of one peer: read in one of `SLOTS` threads, sent,
and over when the connection has taken it. A peer that does not read holds two batches in memory and no thread.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import trio

from forge_p2p.content.link import CHUNK_AVG
from forge_p2p.content.sealing import SEALED_FORMAT
from forge_p2p.errors import ForgeError, PeerError, Refused
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.local import LocalNode
from forge_p2p.node.sessions.containing import contain_or_end
from forge_p2p.node.sessions.differencing import computed, read_hinted
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.node.sessions.rights import Grant, Rights
from forge_p2p.proto import outputs
from forge_p2p.proto.auth import Refusal, Scope
from forge_p2p.proto.hints import Answer, Hints, Lacking
from forge_p2p.proto.sent import Sent
from forge_p2p.proto.timers import TokenBucket
from forge_p2p.proto.turns import Turn, Turns
from forge_p2p.wire.codes import Code

LOG = logging.getLogger("forge")

ENDINGS = {
    Code.BUDGET: "that is what there was room for",
    Code.ELSEWHERE: "others were just sent the rest",
}
"""What a request is told that ends before all it names was sent."""

SLOTS = 4
"""Batches being read from the store at once; twice the cores of a small machine."""

UNREAD_STALLS = 3
"""Stall timeouts within which a peer has to take a batch: a minute by default, or 13 KB/s."""

BATCH_BYTES = 1024 * 1024
"""Bytes of one turn. Measured: half of it costs a sender 20 % more processor time, twice as much saves little."""

LIMITED_TURN = 0.1
"""Seconds of an upload limit that one turn may take, so that everybody gets some of it soon."""
LIMITED_TURNS = 2
"""Turns under way at once within an upload limit: what they weigh is known only when they have been read."""

SILENT = 3.0
"""Seconds without a word or an acknowledgement, after which what waits for a peer does not count as on its way."""

RIGHTS_INTERVAL = 1.0
"""Seconds after which a ticket revoked or expired opens nothing any more to who is connected already."""


class Server:
    """Answers all sessions of a node. `served`: stored bytes sent for each capability, by its id in hex."""

    def __init__(self, node: LocalNode, nursery: trio.Nursery) -> None:
        self._node = node
        self._nursery = nursery
        self._rights = Rights(node)
        self._slots = trio.CapacityLimiter(SLOTS)
        limit = node.config.net.limit_up
        quantum = int(min(max(limit * LIMITED_TURN, CHUNK_AVG), BATCH_BYTES)) if limit else BATCH_BYTES
        self._sent: Sent[PeerSession] = Sent(queued=_queued)
        self._turns: Turns[PeerSession] = Turns(quantum, sent=self._sent)
        self._uplink = TokenBucket.full(limit, quantum) if limit else None
        self._unweighed = 0
        self._waiting = False
        self.served: Counter[str] = Counter()
        self._grants: dict[PeerSession, Grant] = {}
        nursery.start_soon(self._watch_rights)

    @property
    def rights(self) -> Rights:
        """Who may have what; it is the authorizer of every session accepted."""
        return self._rights

    def requested(self, session: PeerSession, request: outputs.RequestReceived) -> None:
        self._turns.add(
            session,
            request.request_id,
            request.indexes,
            request.hashes,
            priority=request.priority,
            deadline=request.deadline,
            max_bytes=request.max_bytes,
            sparing=request.sparing,
        )
        self._hand_out()

    def cancelled(self, session: PeerSession, request_id: int) -> None:
        self._turns.cancel(session, request_id)

    def gone(self, session: PeerSession) -> None:
        """The session is over."""
        self._turns.remove_peer(session)
        self._sent.gone(session)

    def heard(self, session: PeerSession, prefixes: Iterable[int]) -> None:
        """A peer has these chunks: whoever can have them there need not be sent them."""
        self._sent.spread.told(session, prefixes, trio.current_time())

    def queried(self, session: PeerSession, query: outputs.HaveQueryReceived) -> None:
        self._nursery.start_soon(contain_or_end, session, self._answer_query, query)

    def authorization_needed(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None:
        self._nursery.start_soon(contain_or_end, session, self._decide, client_id, credentials)

    def _hand_out(self) -> None:
        """Starts the turns that may be out now."""
        now = trio.current_time()
        while self._may_send(now) and (turn := self._turns.next(now)) is not None:
            self._unweighed += 1
            self._nursery.start_soon(contain_or_end, turn.peer, self._take_turn, turn)

    def _may_send(self, now: float) -> bool:
        """Whether the upload limit has room for another turn; if not, it is looked at again when it has."""
        if self._uplink is None:
            return True
        debt = self._uplink.debt(now)
        if debt and not self._waiting:
            self._waiting = True
            self._nursery.start_soon(self._hand_out_later, debt)
        return not debt and self._unweighed < LIMITED_TURNS

    async def _hand_out_later(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._waiting = False
        self._hand_out()

    async def _take_turn(self, session: PeerSession, turn: Turn[PeerSession]) -> None:
        size = 0
        chunks: Sequence[Answer] = []
        hints = session.session.hints(turn.request_id)
        try:
            if turn.hashes:
                async with self._slots:
                    chunks = await trio.to_thread.run_sync(self._read, turn, hints)
        except ForgeError as error:
            LOG.error("cannot answer %s: %s", session.where, error)
            session.session.finish(turn.request_id, Code.STORE, "its store fails", trio.current_time())
            self._turns.cancel(session, turn.request_id)
        finally:
            self._weigh(chunks)
        try:
            # One answer at a time: two turns of one request share a stream, and a frame has to stay in one piece.
            async with session.answering:
                size = self._answer(session, turn, chunks)
                with trio.move_on_after(UNREAD_STALLS * self._node.config.net.stall_timeout) as patience:
                    await session.flush()
                if patience.cancelled_caught:
                    session.blame(PeerError(f"{session.where} does not take what it asked for"), Code.TIMEOUT)
        finally:
            code = self._turns.served(turn, size if hints is None else size + computed(chunks))
            if session in self._grants:
                self.served[self._grants[session].capability.id.hex()] += size
            self._hand_out()
        if code is not None:
            await session.finish(turn.request_id, code, ENDINGS[code])

    def _read(self, turn: Turn[PeerSession], hints: Hints | None) -> Sequence[Answer]:
        store = self._node.store
        if hints is None:
            return store.read_encoded(turn.hashes)
        return read_hinted(store, turn.indexes, turn.hashes, hints)

    def _weigh(self, chunks: Sequence[Answer]) -> None:
        """A turn was read: now it is known what it takes of the upload limit."""
        self._unweighed -= 1
        if self._uplink is not None:
            self._uplink.take(_weight(chunks), trio.current_time())
            self._hand_out()

    def _answer(self, session: PeerSession, turn: Turn[PeerSession], chunks: Sequence[Answer]) -> int:
        """Answers with what the request has room for; returns its stored bytes."""
        sizes = [None if chunk is None or chunk is Lacking.BASE else chunk.size for chunk in chunks]
        count = self._turns.fit(turn, sizes)
        if not count:
            return 0
        chunks = chunks[:count]
        session.session.answer(turn.request_id, turn.indexes[:count], chunks, trio.current_time())
        return _weight(chunks)

    async def _answer_query(self, session: PeerSession, query: outputs.HaveQueryReceived) -> None:
        lacking = set(await trio.to_thread.run_sync(self._missing, query.hashes))
        present = [chunk not in lacking for chunk in query.hashes]
        session.session.answer_have(query.request_id, present, trio.current_time())
        await session.flush()

    def _missing(self, hashes: Sequence[Hash]) -> list[Hash]:
        return self._node.store.missing(hashes)

    async def _decide(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None:
        if credentials[:1] == bytes((SEALED_FORMAT,)) and session.members is not None:
            await session.members.admit(session, client_id, credentials)
            return
        try:
            verdict: Scope | Refusal = await trio.to_thread.run_sync(self._rights.decide, client_id, credentials)
        except ForgeError as error:
            LOG.error("cannot tell what %s may have: %s", session.where, error)
            verdict = Refusal(Code.INTERNAL, "the ticket cannot be looked up")  # not why: paths are nobody's business
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


def _queued(session: PeerSession, request_id: int) -> bool:
    """Whether anything of an answer is still to leave, to a peer that is there: what waits for one that was killed
    must not be kept from others until that is noticed."""
    connection = session.connection
    return connection.silence() < SILENT and connection.queued(request_id) > 0  # a request's number is its stream's


def _weight(chunks: Sequence[Answer]) -> int:
    """Stored bytes."""
    return sum([len(chunk.data) for chunk in chunks if chunk is not None and chunk is not Lacking.BASE])
