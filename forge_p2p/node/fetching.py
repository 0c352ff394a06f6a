"""What `get`, `ls` and `cat` have in common: a store session, a receiver, and a way to reach who has the content."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from forge_p2p.net.base import ConnectionStatistics
from forge_p2p.node.local import LocalNode
from forge_p2p.node.network import Network
from forge_p2p.node.peer import PeerSession
from forge_p2p.node.placing import Placer
from forge_p2p.node.receiving import Counts, Receiver
from forge_p2p.node.sourcing import OneSource
from forge_p2p.node.target import Target, require_ticket
from forge_p2p.store.base import Ingest

Produce = Callable[[Receiver], Awaitable[None]]


class Fetching:
    """One command's fetch. `sessions` are those it used, for its statistics."""

    def __init__(self, network: Network, target: Target, ingest: Ingest) -> None:
        self.ingest = ingest
        self.sessions: list[PeerSession] = []
        self._network = network
        self._target = target

    @property
    def node(self) -> LocalNode:
        return self._network.node

    async def run(self, produce: Produce, on_placed: Callable[[Counts], None]) -> Counts:
        """Fetches and places what `produce` wants. Raises as `Receiver.run`."""
        placer = Placer(self.node.store, self.ingest)
        receiver = Receiver(placer, self.ingest, on_placed, downlink=self.node.downlink)
        source = OneSource(self._connect, self.node.config.net.reconnect_timeout)
        await receiver.run(source.feed, produce)
        return receiver.counts

    async def commit(self) -> None:
        """Makes what arrived durable."""
        await trio.to_thread.run_sync(self.ingest.commit)

    def wire(self) -> tuple[int, int]:
        """UDP payload bytes sent and received for this fetch."""
        counts: list[ConnectionStatistics] = [session.connection.statistics() for session in self.sessions]
        return sum(each.bytes_sent for each in counts), sum(each.bytes_received for each in counts)

    async def _connect(self) -> PeerSession:
        ticket = require_ticket(self._target, time.time())
        session = await self._network.dial(self._target.addresses, ticket.server, ticket.capability.encode())
        self.sessions.append(session)
        return session


@asynccontextmanager
async def fetching(network: Network, target: Target) -> AsyncIterator[Fetching]:
    """A fetch of `target`; what an interrupted one left is found again. Sessions end with the context."""
    opened = network.node.store.ingest(target.root.link.hash)
    ingest = await trio.to_thread.run_sync(opened.__enter__)
    fetch = Fetching(network, target, ingest)
    try:
        yield fetch
    finally:
        with trio.CancelScope(shield=True):
            for session in fetch.sessions:
                await session.leave()
            await trio.to_thread.run_sync(opened.__exit__, None, None, None)
