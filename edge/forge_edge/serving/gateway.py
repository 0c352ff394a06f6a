"""One gateway, put together: the store and refs on disk, the node's socket, and what is read through them."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from forge_edge.access.grants import Access
from forge_edge.access.limits import ClientLimits
from forge_edge.content.intake import Uploads
from forge_edge.content.names import Names
from forge_edge.content.pieces import Pieces
from forge_edge.content.reach import Reach
from forge_edge.content.runs import STEP
from forge_edge.content.trees import Trees
from forge_edge.serving.answers import Answers
from forge_edge.serving.log import AccessLog
from forge_edge.serving.metrics import Load, Metrics, Read
from forge_edge.settings import GatewaySettings
from forge_edge.upstream.node import NodeLink
from forge_p2p.node.home import Home
from forge_p2p.store.factory import open_store
from forge_p2p.store.refs import RefStore

THREADS: Final = 8
"""That read the store. More would only queue at the disk."""


class Gateway:
    """Everything that lives as long as the process. Made in the loop's thread; `close` ends it."""

    def __init__(self, settings: GatewaySettings) -> None:
        loop = asyncio.get_running_loop()
        home = Home(settings.home)
        home.create()
        self.settings = settings
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="forge-read")
        self.store = open_store(home.store, settings.store)
        self.refs = RefStore(home.refs)
        self.node = NodeLink(home)
        self.access = Access(home, settings.public)
        limits = settings.limits
        self.limits = ClientLimits(limits.rate, limits.burst, loop.time)
        self.reach = Reach(self.store, self.executor)
        self.pieces = Pieces(self.store, self.node, self.executor, settings.runs)
        self.trees = Trees(self.pieces, self.executor)
        self.names = Names(self.refs, self.node, self.executor, settings.ref_age)
        self.uploads = Uploads(self.store, self.node, limits.upload_max)
        self.answers = Answers(settings.answers)
        self.load = Load()
        self.log = AccessLog(sys.stdout, loop) if settings.access_log else None
        self.metrics = Metrics(self.store.statistics, self._gauges(), self._totals())
        self.body_room = asyncio.Semaphore(max(2, limits.body_memory // (2 * STEP)))
        """Bodies of which two steps may be in memory at once."""
        self.draining = False

    def _gauges(self) -> dict[str, tuple[str, Read]]:
        runs = self.pieces.runs
        return {
            "connections": ("Connections open.", lambda: self.load.connections),
            "in_flight": ("Requests being answered.", lambda: self.load.answering),
            "answer_bytes": ("Bytes of ready answers in memory.", lambda: self.answers.size),
            "run_bytes": ("Bytes of large files that were verified lately and are in memory.", lambda: runs.size),
        }

    def _totals(self) -> dict[str, tuple[str, Read]]:
        pieces = self.pieces
        return {
            "run_hits": ("Runs that somebody else had read, or was reading.", lambda: pieces.runs.hits),
            "relayed_bytes": ("Bytes that were not in the store and came through the node.", lambda: pieces.relayed),
            "relay_pieces": ("Pieces asked of the node.", lambda: pieces.flights.started),
            "relay_joined": ("Readers that shared a piece on its way.", lambda: pieces.flights.joined),
        }

    def close(self) -> None:
        """Lets go of everything; waits for what threads are doing."""
        if self.log is not None:
            self.log.flush()
        self.pieces.flights.cancel()
        self.uploads.close()
        self.executor.shutdown()
        self.refs.close()
        self.store.close()
