"""What exactly two nodes' holdings of one root differ in (`content.reconcile`): asked of a member, and answered.

A set is made of a holding when it is asked about, in a worker thread, and serves for the few questions of one
reconciliation. What arrives meanwhile is told to who follows, as ever.
"""

import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.reconcile import ANSWER_BYTES, HashSet, Reconciliation, answer
from forge_p2p.errors import Malformed, PeerError
from forge_p2p.ids import PREFIX_SIZE, Hash, unpack_prefixes
from forge_p2p.node.membership.holdings import Holding
from forge_p2p.wire.codes import Code
from forge_p2p.wire.sets import Reconcile, Reconciled

if TYPE_CHECKING:
    from forge_p2p.node.sessions.peer import PeerSession

KEPT = 15.0
"""Seconds for which a set answers questions: some round trips."""

SETS_MAX = 4
"""Sets that are kept: 8 bytes a chunk each."""

TIMEOUT = 10.0

PATIENCE = 2.0
"""Seconds in which what is here of a root already may be found: a store says so chunk by chunk as it is wanted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """First 64 bits of the hashes of chunks that only the peer has, and of those that only this node has."""

    missing: set[int]
    extra: set[int]


def set_of(prefixes: Collection[int]) -> HashSet:
    """Blocks: a million take 0.15 s; sorting them as Python's numbers or bytes takes five times that."""
    import numpy as np  # of the few who ever compare anything

    rows = np.sort(np.fromiter(prefixes, np.uint64, len(prefixes)))
    distinct = rows[np.append(True, rows[1:] != rows[:-1])] if len(rows) else rows
    return HashSet(distinct.astype(">u8").tobytes(), PREFIX_SIZE)


async def difference(session: "PeerSession", root: Hash, here: HashSet, most: int = ANSWER_BYTES) -> Difference | None:
    """What a member has of a root that is followed there, against a set of what is here, at the cost of the difference.
    `None` if it does not say, or if telling takes more than `most` bytes: then its list costs less."""
    asking = Reconciliation(here, secrets.token_bytes(32), most)
    try:
        while (question := await trio.to_thread.run_sync(asking.next_question)) is not None:
            reply = await session.query(Reconcile(root, question), TIMEOUT)
            if not isinstance(reply, Reconciled):
                return None
            await trio.to_thread.run_sync(asking.receive, reply.answer)
    except (PeerError, Malformed):
        return None
    return Difference(_prefixes(asking.missing), _prefixes(asking.extra))


async def compare(session: "PeerSession", holding: Holding, withheld: int) -> list[int] | None:
    """What a member has of a root beside what is here, of so many chunks; waits a moment until half as much is here.
    `None`: its list costs less, or it does not say."""
    least = withheld // 2
    enough = trio.Event()

    def grown(_arrived: list[int]) -> None:
        if len(holding.prefixes) >= least:
            enough.set()

    holding.watchers.add(grown)
    try:
        grown([])
        with trio.move_on_after(PATIENCE):
            await enough.wait()
    finally:
        holding.watchers.discard(grown)
    if not enough.is_set():
        return None
    here = await trio.to_thread.run_sync(set_of, list(holding.prefixes))
    found = await difference(session, holding.root.link.hash, here, most=least * PREFIX_SIZE)
    return None if found is None else list(found.missing)


class Reconciler:
    """Answers members' questions about the roots that they follow here."""

    def __init__(self) -> None:
        self._sets: dict[Holding, tuple[float, HashSet]] = {}
        self._lock = trio.Lock()

    async def asked(self, session: "PeerSession", request_id: int, query: Reconcile) -> None:
        """Raises `PeerError` when the member has gone."""
        member = session.member
        holding = member.scope.find(Hash(query.root)) if member is not None else None
        if holding is None:
            await session.finish(request_id, Code.DENIED, "this root is not followed here")
        else:
            here = await self._set_of(holding)
            told = await trio.to_thread.run_sync(answer, here, query.question)
            await session.reply(request_id, Reconciled(told))

    async def _set_of(self, holding: Holding) -> HashSet:
        async with self._lock:
            now = trio.current_time()
            self._sets = {of: (until, each) for of, (until, each) in self._sets.items() if until > now}
            found = self._sets.get(holding)
            if found is not None:
                return found[1]
            made = await trio.to_thread.run_sync(set_of, list(holding.prefixes))
            if len(self._sets) < SETS_MAX:
                self._sets[holding] = (trio.current_time() + KEPT, made)
            return made


def _prefixes(chunks: Iterable[bytes]) -> set[int]:
    return set(unpack_prefixes(b"".join(chunks)))
