"""What operations need of this machine: folder, settings, identity and store, each opened on first use."""

import gc
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from forge_p2p.config import NodeConfig
from forge_p2p.errors import UsageError
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.home import Home
from forge_p2p.node.results import Progress

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from forge_p2p.node.edge.opened import Edge
    from forge_p2p.proto.timers import TokenBucket
    from forge_p2p.store.base import Heal, Store
    from forge_p2p.store.refs import RefStore
    from forge_p2p.workspace.scan import Look
    from forge_p2p.workspace.statcache import StatCache
    from forge_p2p.workspace.watched import WatchedFolders

Report = Callable[[Progress], None]
"""Called with each step of progress, from any thread, often; cheap unless somebody watches."""

GC_THRESHOLD = 20_000
"""Objects made and not freed after which the youngest are looked through."""


def ignore_progress(progress: Progress) -> None:
    """The report for operations that nobody watches."""


class LocalNode:
    """A context manager; closing it closes the store."""

    def __init__(self, home: Home, config: NodeConfig) -> None:
        self.home = home
        self.config = config
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._refs: RefStore | None = None
        self._healer: Heal | None = None
        self._edge: Edge | None = None
        self.poisoners: set[NodeId] = set()
        """Nodes that have sent wrong deltas since this process began."""
        self.watched: WatchedFolders | None = None
        """Of a node that stays."""

    @cached_property
    def stat_cache(self) -> "StatCache":
        """What this node remembers of directories."""
        from forge_p2p.workspace.statcache import StatCache

        return StatCache(Path(self.home.cache) / "scan")

    @property
    def look(self) -> "Look":
        """How this node looks at directories."""
        from forge_p2p.workspace.scan import scan

        return scan if self.watched is None else self.watched.scan

    def heal_with(self, healer: "Heal") -> None:
        """Who is told of chunks that were found damaged from now on."""
        self._healer = healer

    def _damaged(self, chunks: Sequence[Hash]) -> None:
        if self._healer is not None:
            self._healer(chunks)

    @property
    def store(self) -> "Store":
        with self._lock:
            if self._store is None:
                from forge_p2p.store.factory import open_store

                self.home.create()
                self._store = open_store(self.home.store, self.config.store, self._damaged)
            return self._store

    @property
    def refs(self) -> "RefStore":
        """The logs of names that are kept here."""
        with self._lock:
            if self._refs is None:
                from forge_p2p.store.refs import RefStore

                self.home.create()
                self._refs = RefStore(self.home.refs)
            return self._refs

    @property
    def edge(self) -> "Edge":
        """The node's bucket. Raises `UsageError` if it has none; see also `find_edge`."""
        found = self.find_edge()
        if found is None:
            raise UsageError("this node has no bucket", hint="forge edge set URL, for example file:///mnt/nas/forge")
        return found

    def find_edge(self) -> "Edge | None":
        """The node's bucket, as it is set now, if it has one. Blocks; asks nothing of it."""
        from forge_p2p.node.edge.settings import load_record

        record = load_record(self.home)
        if record is None:
            return None
        with self._lock:
            if self._edge is None or self._edge.record != record:
                from forge_p2p.node.edge.opened import edge_of

                self._edge = edge_of(self, record)
            return self._edge

    @cached_property
    def key(self) -> "Ed25519PrivateKey":
        return self.home.key()

    @cached_property
    def downlink(self) -> "TokenBucket | None":
        """What all fetches of this node together may receive; `None`: as much as comes."""
        from forge_p2p.proto.timers import TokenBucket

        limit = self.config.net.limit_down
        return TokenBucket.full(limit, 0.0) if limit else None

    @cached_property
    def node_id(self) -> NodeId:
        return NodeId(self.key.public_key().public_bytes_raw())

    def close(self) -> None:
        with self._lock:
            store, self._store = self._store, None
            refs, self._refs = self._refs, None
            watched, self.watched = self.watched, None
            edge, self._edge = self._edge, None
        if watched is not None:
            watched.close()
        if edge is not None:
            edge.close()
        if refs is not None:
            refs.close()
        if store is not None:
            store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def collect_less() -> None:
    """A node makes hundreds of short-lived objects a chunk and hardly a cycle: collecting after every 700 of them took
    a tenth of a busy node's time. What is there by now stays for good and need not be looked at."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
