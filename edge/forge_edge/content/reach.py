"""Which content belongs to which network here: the roots written down in its folder, and what they reach.

A hash is no authorisation: who knows that of a file of another network is answered as if there were no such file. What
a root reaches is computed once and kept as `node.scope` keeps it, 8 bytes a chunk.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link, is_link, parse_link
from forge_p2p.errors import ForgeError
from forge_p2p.ids import Hash
from forge_p2p.node.membership.networks import Joined
from forge_p2p.node.records import stamp_of
from forge_p2p.node.sessions.scope import Closure
from forge_p2p.store.base import Store

CLOSURES_MAX: Final = 1024
CLOSURE_CHUNKS: Final = 16_000_000
"""Closures kept, and chunks in all of them together: 128 MB."""


class Reach:
    """`store` is read, in threads of `executor`, to find out what a root reaches."""

    def __init__(self, store: Store, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._held: dict[Path, tuple[tuple[int, ...], frozenset[str]]] = {}
        self._closures: OrderedDict[str, asyncio.Future[Closure | None]] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def holds_root(self, joined: Joined, root: Root) -> bool:
        """Whether this very root belongs to the network here."""
        return format_link(root) in self._held_in(joined)

    async def holds_chunk(self, joined: Joined, chunk: Hash) -> bool:
        """Whether a root of the network reaches this chunk."""
        for text in self._held_in(joined):
            closure = await self._closure(text)
            if closure is not None and closure.allows(chunk):
                return True
        return False

    def _held_in(self, joined: Joined) -> frozenset[str]:
        if joined.folder is None:
            return frozenset()
        folder = joined.folder / "held"
        stamp, known = stamp_of([folder]), self._held.get(folder)
        if known is None or known[0] != stamp:
            try:
                known = self._held[folder] = stamp, frozenset(name for name in os.listdir(folder) if is_link(name))
            except FileNotFoundError:
                return frozenset()
        return known[1]

    async def _closure(self, text: str) -> Closure | None:
        future = self._closures.get(text)
        if future is None:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._executor, _compute, self._store.read, parse_link(text))
            self._closures[text] = future
            future.add_done_callback(partial(self._finished, text))
        self._closures.move_to_end(text)
        return await asyncio.shield(future)

    def _finished(self, text: str, future: "asyncio.Future[Closure | None]") -> None:
        closure = None if future.cancelled() or future.exception() is not None else future.result()
        if self._closures.get(text) is not future:
            return
        if closure is None:  # not all of it is here now; it may be later
            del self._closures[text]
            return
        self._sizes[text] = len(closure)
        while len(self._closures) > CLOSURES_MAX or (
            sum(self._sizes.values()) > CLOSURE_CHUNKS and len(self._closures) > 1
        ):
            old, _ = self._closures.popitem(last=False)
            self._sizes.pop(old, None)


def _compute(read: Callable[[Hash], bytes], root: Root) -> Closure | None:
    try:
        return Closure(root, read)
    except ForgeError:
        return None
