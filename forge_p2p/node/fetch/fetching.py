"""What `get`, `ls` and `cat` have in common: a store session, a receiver, and a way to reach who has the content."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import trio

from forge_p2p.content.linktext import format_link
from forge_p2p.ids import Hash, NodeId
from forge_p2p.net.base import ConnectionStatistics
from forge_p2p.node.fetch.bases import Previous
from forge_p2p.node.fetch.placing import Placer
from forge_p2p.node.fetch.receiving import Counts, Receiver
from forge_p2p.node.fetch.sourcing import OneSource
from forge_p2p.node.history import History
from forge_p2p.node.local import LocalNode
from forge_p2p.node.network import Network
from forge_p2p.node.network_results import FetchEntry, SourceEntry
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.node.target import Target, require_ticket
from forge_p2p.proto.swarm import PeerStatistics
from forge_p2p.store.base import Ingest, Store

if TYPE_CHECKING:
    from forge_p2p.node.edge.feeding import EdgeFeed
    from forge_p2p.node.edge.opened import Edge
    from forge_p2p.node.fetch.swarming import Swarming
    from forge_p2p.node.sessions.handlers import ChunkSource

Produce = Callable[[Receiver], Awaitable[None]]


class Fetching:
    """One command's fetch. `sessions` are those it used, for its statistics."""

    def __init__(
        self,
        network: Network,
        target: Target,
        store: Store,
        ingest: Ingest,
        *,
        edge_only: bool = False,
        peers_only: bool = False,
    ) -> None:
        self.ingest = ingest
        self._store = store
        self.sessions: list[PeerSession] = []
        self.previous: Previous | None = None
        """An earlier version that is here, to be set before anything is wanted."""
        self._network = network
        self._target = target
        self._swarming: Swarming | None = None
        self._receiver: Receiver | None = None
        self._edge_only = edge_only
        self._peers_only = peers_only
        self._edge: EdgeFeed | None = None
        self._kept = False
        """What arrived is in the store for good."""
        self._started = time.monotonic()

    @property
    def node(self) -> LocalNode:
        return self._network.node

    async def run(self, produce: Produce, on_placed: Callable[[Counts], None]) -> Counts:
        """Fetches and places what `produce` wants. Raises as `Receiver.run`."""
        edge = None if self._peers_only else await trio.to_thread.run_sync(self.node.find_edge)
        receiver = self._receiver = Receiver(
            Placer(self._store, self.ingest, self.node.poisoners),
            self.ingest,
            on_placed,
            on_stored=self._stored,
            grace=self._grace(edge),
            downlink=self.node.downlink,
        )
        await receiver.run(partial(self._feed, edge), produce)
        return receiver.counts

    @property
    def issuer(self) -> NodeId | None:
        """The node whose ticket it is, if it is a ticket's."""
        return None if self._target.ticket is None else self._target.ticket.server

    def _grace(self, edge: "Edge | None") -> float:
        """What nobody in a network has yet may come, and so may what only the bucket has; what the one peer of a ticket
        lacks will not."""
        alone = self._target.ticket is not None and edge is None
        return 0.0 if alone else self.node.config.net.stall_timeout

    async def _feed(self, edge: "Edge | None", receiver: Receiver) -> None:
        """Finds sources: those that are peers, and the node's bucket if it has one."""
        peers = partial(self._feed_peers, receiver)
        if edge is None and not self._edge_only:
            await peers()
            return
        from forge_p2p.node.edge.feeding import EdgeFeed

        found = edge or self.node.edge
        self._edge = EdgeFeed(found, self._target.root, self.node.node_id, self._fellows)
        await self._edge.run(receiver, None if self._edge_only else peers)

    def _fellows(self) -> Sequence[NodeId]:
        """Who else fetches the same and may ask the same bucket."""
        if self._swarming is None or self._edge is None:
            return ()
        return self._swarming.fellows(self._edge.capability)

    async def _feed_peers(self, receiver: Receiver) -> None:
        """Finds peers: the one of the ticket, or members of this node's networks."""
        if self._target.ticket is not None:
            await OneSource(self._connect, self.node.config.net.reconnect_timeout).feed(receiver)
            return
        from forge_p2p.node.fetch.swarming import Swarming

        await receiver.needed()
        members = await self._network.members()
        networks = members.chosen(self._target.network)
        if not networks:
            require_ticket(self._target, time.time())
        patience = self.node.config.net.reconnect_timeout
        self._swarming = Swarming(members, self._target.root, networks, receiver, patience, self.previous)
        self._swarming.stored(await trio.to_thread.run_sync(self.ingest.held))
        await self._swarming.run()

    def _stored(self, chunks: Sequence[Hash]) -> None:
        if self._swarming is not None:
            self._swarming.stored(chunks)

    async def keep(self) -> None:
        """All of the content is here: it belongs to the networks that it came from."""
        if self._swarming is not None:
            await self._swarming.keep()

    def who(self) -> str:
        """Whom it came from, in a few words."""
        if self._swarming is None and self._edge is None:
            return self.sessions[0].where if self.sessions else ""
        used = [each for each in self.sources() if each.fetched]
        return used[0].address if len(used) == 1 else f"{len(used)} members"

    def sources(self) -> list[SourceEntry]:
        """What came from whom."""
        if self._receiver is None:
            return []
        return [_source(each, self._swarming) for each in self._receiver.statistics()]

    def knowing(self) -> set[bytes]:
        """Who knows of the content: the ticket's node, or the networks in which somebody has it."""
        if self.issuer is not None:
            return {self.issuer}
        return set(self._swarming.held_in) if self._swarming is not None else set()

    def remember(self, outcome: str) -> None:
        """Notes how the fetch went, for `forge why`. Blocks."""
        if self._receiver is None or not self._receiver.statistics():
            return
        networks = self._swarming.names() if self._swarming is not None else ""
        seconds = time.monotonic() - self._started
        link = format_link(self._target.root)
        History(self.node.home).remember(FetchEntry(link, networks, time.time(), seconds, outcome, self.sources()))

    async def commit(self) -> None:
        """Makes what arrived durable."""
        await trio.to_thread.run_sync(self.ingest.commit)
        self._kept = True

    def wire(self) -> tuple[int, int]:
        """UDP payload bytes sent and received for this fetch; of a bucket the content alone."""
        sessions = {*self.sessions, *(self._swarming.used if self._swarming is not None else ())}
        counts: list[ConnectionStatistics] = [session.connection.statistics() for session in sessions]
        received = self._edge.received if self._edge is not None else 0
        return sum(each.bytes_sent for each in counts), sum(each.bytes_received for each in counts) + received

    def end(self) -> None:
        """The fetch is over, for others too."""
        if self._swarming is not None:
            self._swarming.end(kept=self._kept)

    async def _connect(self) -> PeerSession:
        ticket = require_ticket(self._target, time.time())
        session = await self._network.dial(self._target.addresses, ticket.server, ticket.capability.encode())
        self.sessions.append(session)
        if ticket.server in self.node.poisoners and self._receiver is not None:
            self._receiver.hides_bases(session)  # before it has said who it is
        return session


def _source(each: PeerStatistics, swarming: "Swarming | None") -> SourceEntry:
    session = cast("ChunkSource", each.peer)
    found = "edge"
    if isinstance(session, PeerSession):
        found = swarming.how_found(session) if swarming is not None else "ticket"
    return SourceEntry(
        node_id=(session.peer_id or b"").hex(),
        address=session.where,
        found=found,
        origin=each.origin,
        fetched=each.bytes,
        rate=each.rate,
        failures=each.failures + each.late,
        problem=each.reason,
    )


@asynccontextmanager
async def fetching(
    network: Network,
    target: Target,
    store: Store | None = None,
    *,
    edge_only: bool = False,
    peers_only: bool = False,
) -> AsyncIterator[Fetching]:
    """A fetch of `target` into `store`, the node's own by default; what an interrupted one left is found again.
    Sessions end with the context. `edge_only`: no peer is asked; `peers_only`: no bucket."""
    store = store or network.node.store
    opened = store.ingest(target.root.link.hash)
    ingest = await trio.to_thread.run_sync(opened.__enter__)
    fetch = Fetching(network, target, store, ingest, edge_only=edge_only, peers_only=peers_only)
    try:
        yield fetch
    finally:
        fetch.end()
        with trio.CancelScope(shield=True):
            for session in fetch.sessions:
                await session.leave()
            await trio.to_thread.run_sync(opened.__exit__, None, None, None)
