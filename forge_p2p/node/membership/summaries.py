"""Summaries of what members have (`content.summary`): this node's own, one for each network, and those it was told.

What the own summary of a network names is what its members may have from here: the chunks of whole roots, and of roots
under way, once somebody in the network has said that it has some, what has arrived. It is brought up to date when
somebody asks. What came is added; when a root was dropped, or the store says that something is about to be collected
(`Store.epoch`), the generation ends and what is left is looked for anew. Who was told may ask for what is named, and
for nothing else.
"""

import secrets
import time
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.summary import ADDED_MAX, TOLD_MAX, HeardSummary, OwnSummary, Update
from forge_p2p.errors import Malformed, PeerError
from forge_p2p.ids import Hash, NetworkId, NodeId, prefix_of
from forge_p2p.node.local import LocalNode
from forge_p2p.node.membership.holdings import Holding, Holdings
from forge_p2p.proto.hello import SETS
from forge_p2p.wire.codes import Code
from forge_p2p.wire.sets import SummaryQuery, SummaryTold

if TYPE_CHECKING:
    from forge_p2p.node.sessions.peer import PeerSession

NAMED_MAX = TOLD_MAX * 3 // 4
"""Chunks of all roots together, shared ones counted with each: what is beyond is left out, the oldest roots first."""

HEARD_MAX = 16
"""Summaries of others that are remembered: 20 MB at most."""

TIMEOUT = 10.0
"""Seconds. A summary is made when it is asked for."""


class Own:
    """The summary of what the members of one network may have from here."""

    def __init__(self, node: LocalNode, holdings: Holdings, network: NetworkId) -> None:
        self._node = node
        self._holdings = holdings
        self._network = network
        self._summary = OwnSummary(secrets.randbits(64), self._everything, time.time_ns())
        self._named: dict[Holding, bool] = {}
        """The roots it speaks of, and whether it does of all their chunks."""
        self._left_out: set[Holding] = set()
        self._open: tuple[Holding, ...] = ()
        """Those of the generation that was told last."""
        self._arrived: list[int] = []
        self._outdated = False
        self._epoch = -1
        self._lock = trio.Lock()

    async def since(self, generation: int, position: int) -> Update:
        """What to tell one who knows so much."""
        async with self._lock:
            await self._refresh()
            return await trio.to_thread.run_sync(self._summary.since, generation, position)

    def allows(self, chunk: Hash) -> bool:
        """Whether it speaks of this chunk."""
        if not self._summary.may_name(prefix_of(chunk)):
            return False
        return any(holding.allows(chunk) for holding in self._open)

    async def _refresh(self) -> None:
        epoch = await trio.to_thread.run_sync(self._node.store.epoch)
        collected, self._epoch = epoch != self._epoch, epoch
        present = [each for each in self._holdings.of(self._network) if each.complete or each.confirmed]
        present.sort(key=_age)
        begins = collected or self._outdated or not self._named.keys() <= set(present)
        if begins:
            self._begin()
        here = self._holdings.still_here if collected else self._holdings.ready
        for holding in present:
            if begins and self._left_out:
                self._left_out.add(holding)  # what is older than what did not fit is not even looked for
            if holding in self._left_out or self._named.get(holding) == holding.complete or not await here(holding):
                continue
            if sum([len(each.prefixes) for each in {**self._named, holding: True}]) <= NAMED_MAX:
                await self._name(holding)
            elif begins:
                self._left_out.add(holding)
            else:
                self._outdated = True  # the next generation begins with what is newest
        arrived, self._arrived = self._arrived, []
        await trio.to_thread.run_sync(self._summary.arrived, arrived)
        self._open = tuple(self._named)

    def _begin(self) -> None:
        """Ends the generation."""
        self._summary.leaving()
        for holding in self._named:
            holding.watchers.discard(self._arrive)
        self._named, self._left_out, self._arrived, self._outdated = {}, set(), [], False

    async def _name(self, holding: Holding) -> None:
        self._named[holding] = holding.complete
        if holding.complete:
            holding.watchers.discard(self._arrive)
        else:
            holding.watchers.add(self._arrive)
        await trio.to_thread.run_sync(self._summary.arrived, list(holding.prefixes))

    def _arrive(self, prefixes: list[int]) -> None:
        if len(self._arrived) > ADDED_MAX:
            self._outdated, self._arrived = True, []
        elif not self._outdated:
            self._arrived += prefixes

    def _everything(self) -> Sequence[int]:
        return array("Q", set(chain.from_iterable([each.prefixes for each in list(self._named)])))


@dataclass(slots=True)
class _Heard:
    """What one member has told. The lock: answers go on from what was known when they were asked for."""

    summary: HeardSummary = field(default_factory=HeardSummary)
    lock: trio.Lock = field(default_factory=trio.Lock)


class Summaries:
    """All summaries of a node."""

    def __init__(self, node: LocalNode, holdings: Holdings) -> None:
        self._node = node
        self._holdings = holdings
        self._own: dict[NetworkId, Own] = {}
        self._heard: OrderedDict[tuple[NetworkId, NodeId], _Heard] = OrderedDict()

    def leave(self, network: NetworkId) -> None:
        """The node left a network."""
        self._own.pop(network, None)

    def known(self, network: NetworkId, node_id: NodeId) -> int:
        """About how many chunks a member had when it last told its summary; 0: it did not."""
        heard = self._heard.get((network, node_id))
        return heard.summary.count if heard is not None else 0

    async def asked(self, session: "PeerSession", request_id: int, query: SummaryQuery) -> None:
        """Answers a member. Raises `PeerError` when it has gone."""
        member = session.member
        if member is None:
            return
        own = self._own.setdefault(member.network, Own(self._node, self._holdings, member.network))
        update = await own.since(query.generation, query.position)
        if update.size > query.room:
            reason = f"{update.size} bytes, {query.room} are what it is worth"
            await session.finish(request_id, Code.BUDGET, reason)
        else:
            member.scope.widen(own)
            await session.reply(request_id, SummaryTold.of(update))

    async def of(self, session: "PeerSession", room: int) -> HeardSummary | None:
        """What a member has, as of now, if telling it takes no more than `room` bytes; `None`: it does not say. Asked
        in each session anew, for only who has asked may have what is named."""
        if SETS not in session.capabilities or session.member is None or session.peer_id is None:
            return None
        key = (session.member.network, session.peer_id)
        heard = self._heard.setdefault(key, _Heard())
        self._heard.move_to_end(key)
        while len(self._heard) > HEARD_MAX:
            self._heard.popitem(last=False)
        async with heard.lock:
            known = heard.summary
            try:
                reply = await session.query(SummaryQuery(known.generation, known.position, room), TIMEOUT)
            except PeerError:
                return None
            if not isinstance(reply, SummaryTold):
                return None
            try:
                await trio.to_thread.run_sync(known.receive, reply.update)
            except Malformed as error:
                session.blame(PeerError(f"{session.where} sent a summary that is none: {error}"), Code.MALFORMED)
                return None
            return known


def _age(holding: Holding) -> float:
    """The newest first; what is under way before all."""
    return -holding.held.since if holding.held is not None else -time.time()
