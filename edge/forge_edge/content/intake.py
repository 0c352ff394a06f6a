"""Uploads: a body becomes chunks in the store as it arrives, and is acknowledged when it is durable and belongs to the
network, so that no crash and no collection takes it back.

    body ──▶ cut, hash, store (a thread that pulls) ──▶ is it what the URL says? ──▶ commit ──▶ offer ──▶ 201
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from forge_edge.upstream.node import NodeLink
from forge_p2p.content.chunking import Chunker
from forge_p2p.content.link import CHUNK_MAX, Kind, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.tree import TreeBuilder
from forge_p2p.errors import ForgeError, PeerError
from forge_p2p.ids import Hash
from forge_p2p.node.control import NoNode
from forge_p2p.node.membership.networks import Joined
from forge_p2p.store.base import Keep, Store

UPLOADS: Final = 4
"""Under way at once: each has a thread and a chunker's buffer of 4 MiB."""

_INTERIM: Final = 3600.0
"""Seconds for which what has arrived is kept until the node has made it its own."""

_NODES: Final = 512

Pull = Callable[[], Awaitable[bytes]]
"""The next bytes of a body; none at its end."""


class WrongContent(ForgeError):
    """The body is not what the URL names: 422."""


class TooLarge(ForgeError):
    """The body is larger than one upload may be: 413."""


class Busy(ForgeError):
    """As many uploads as are taken at once are under way: 503."""


class Uploads:
    """`limit`: bytes of one body, 0 for what the store takes."""

    def __init__(self, store: Store, node: NodeLink, limit: int) -> None:
        self.limit = limit
        self._store = store
        self._node = node
        self._executor = ThreadPoolExecutor(UPLOADS, thread_name_prefix="forge-upload")
        self._under_way = 0

    async def take(self, pull: Pull, joined: Joined, wanted: Root | Hash | None) -> Root:
        """Takes a body for a network. `wanted`: the link it has to have, or the hash of a single chunk. Raises
        `WrongContent`, `TooLarge`, `Busy`, `DiskFull`, `PeerError` when the node cannot be told."""
        if self._under_way >= UPLOADS:
            raise Busy(f"{UPLOADS} uploads are under way", hint="try again in a moment")
        self._under_way += 1
        loop = asyncio.get_running_loop()
        limit = CHUNK_MAX if isinstance(wanted, bytes) else self.limit
        try:
            root = await loop.run_in_executor(self._executor, self._store_body, _pieces(pull, loop, limit), wanted)
        finally:
            self._under_way -= 1
        try:
            await self._node.call("offer", what=format_link(root), in_network=joined.network.hex())
        except NoNode:
            raise PeerError("the node is not up, so the upload is not acknowledged", hint="send it again") from None
        return root

    def _store_body(self, pieces: Iterator[bytes], wanted: Root | Hash | None) -> Root:
        builder = TreeBuilder()
        with self._store.ingest() as ingest:
            nodes: list[tuple[Hash, bytes | memoryview]] = []
            for chunks in Chunker().cut_pieces(pieces):
                ingest.put([(chunk.hash, chunk.data) for chunk in chunks], 0)
                builder.add_all([(chunk.hash, chunk.length) for chunk in chunks])
                nodes += builder.take_nodes()
                if len(nodes) >= _NODES:
                    ingest.put(nodes)
                    nodes = []
            root = Root(Kind.BLOB, builder.finish())
            ingest.put(nodes + list(builder.take_nodes()))
            _require(root, wanted)
            ingest.commit()
            self._store.pin(f"gateway/{format_link(root)}", root, Keep.CACHED, time.time() + _INTERIM)
        return root

    def close(self) -> None:
        """Waits for what is under way."""
        self._executor.shutdown()


def _require(root: Root, wanted: Root | Hash | None) -> None:
    name = wanted.link if isinstance(wanted, Root) else wanted
    if name is not None and name not in (root.link, root.link.hash):
        raise WrongContent("the body is not what the URL names", hint=f"it is {format_link(root)}")


def _pieces(pull: Pull, loop: asyncio.AbstractEventLoop, limit: int) -> Iterator[bytes]:
    """The body for the thread that cuts it: each piece is asked for when there is room for it."""
    size = 0
    while piece := asyncio.run_coroutine_threadsafe(_awaited(pull), loop).result():
        size += len(piece)
        if limit and size > limit:
            raise TooLarge(f"the body has more than {limit} bytes")
        yield piece


async def _awaited(pull: Pull) -> bytes:
    return await pull()
