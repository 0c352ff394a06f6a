"""The bucket beside the peers of a fetch: it joins when they have had their chance, and stays when they have gone."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from forge_p2p.content.link import Root
from forge_p2p.errors import BucketError, CorruptChunk, ForgeError, Malformed, NotFound, PeerError
from forge_p2p.ids import NodeId
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.edge.settings import edge_capability
from forge_p2p.node.edge.source import EdgeSource, Fellows
from forge_p2p.node.sessions.handlers import ChunkSource
from forge_p2p.proto.swarm import Distance

LOG = logging.getLogger("forge")

HEAD_START: Final = 0.4
"""Seconds that peers have to be found and to send what is small: then the bucket has not been asked for anything."""

AGAIN_FIRST, AGAIN_MAX = 1.0, 30.0
"""Seconds until a bucket that did not answer is asked again while peers go on, doubled each time."""


class Sink(Protocol):
    """The receiver's side."""

    def add_source(
        self, session: ChunkSource, *, distance: Distance = ..., complete: bool = ..., origin: bool = ...
    ) -> None: ...

    def remove_source(self, session: ChunkSource, reason: str) -> None: ...

    async def needed(self) -> None: ...


class EdgeFeed:
    """Feeds `sink` with `root` from the bucket and, unless it is `None`, by what `peers` does."""

    def __init__(self, edge: Edge, root: Root, own_id: NodeId, fellows: Fellows) -> None:
        self.source: EdgeSource | None = None
        self.capability = edge_capability(edge.record)
        self._edge = edge
        self._root = root
        self._own_id = own_id
        self._fellows = fellows
        self._problems: list[ForgeError] = []
        self._received = self._all_received()

    @property
    def received(self) -> int:
        """Bytes that came from the bucket and its CDN since this was made."""
        return self._all_received() - self._received

    def _all_received(self) -> int:
        return self._edge.traffic.received + self._edge.cdn_traffic.received

    async def run(self, sink: Sink, peers: Callable[[], Awaitable[None]] | None) -> None:
        """Until cancelled. When neither has hope left, raises what the peers did, or else the bucket."""
        peerless = trio.Event()
        async with trio.open_nursery() as nursery:
            if peers is None:
                peerless.set()
            else:
                nursery.start_soon(self._feed_peers, peers, peerless)
            await self._feed_edge(sink, peerless, nursery)
        raise self._problems[0]

    async def _feed_peers(self, peers: Callable[[], Awaitable[None]], over: trio.Event) -> None:
        try:
            await peers()
        except (PeerError, NotFound) as error:
            self._problems.insert(0, error)
            LOG.info("the bucket goes on alone: %s", error)
        finally:
            over.set()

    async def _feed_edge(self, sink: Sink, peerless: trio.Event, nursery: trio.Nursery) -> None:
        await sink.needed()
        with trio.move_on_after(HEAD_START):
            await peerless.wait()
        await sink.needed()
        has_it = await self._asked(peerless)
        if has_it is None:
            return
        if not has_it:
            where = self._edge.where
            self._problems.append(NotFound(f"{where} does not have this content", hint="forge edge push puts it there"))
            return
        source = self.source = EdgeSource(self._edge, self._own_id, self._fellows, nursery)
        sink.add_source(source, distance=Distance.EDGE)
        await source.ended.wait()
        reason = source.reason or BucketError("the bucket is not asked any more")
        self._problems.append(reason)
        sink.remove_source(source, reason.message)

    async def _asked(self, peerless: trio.Event) -> bool | None:
        """Whether the bucket has the content; asks until it answers, as long as there are peers meanwhile. `None`:
        there are none, and it does not answer."""
        delay = AGAIN_FIRST
        while True:
            try:
                return await trio.to_thread.run_sync(self._has_it, abandon_on_cancel=True)
            except (BucketError, CorruptChunk, Malformed) as error:
                LOG.warning("the bucket cannot help: %s", error)
                if peerless.is_set():
                    self._problems.append(error)
                    return None
            with trio.move_on_after(delay):
                await peerless.wait()
            delay = min(2 * delay, AGAIN_MAX)

    def _has_it(self) -> bool:
        catalogue = self._edge.catalogue
        root = self._root.link.hash
        if catalogue.state.seq and catalogue.locate([root]):
            return True
        catalogue.refresh()
        return not catalogue.lacks([root])
