"""What is where in a directory's listing. Listings are decoded once and the last ones kept, sorted as they are, so
that a path is found by bisection and a directory's entries are skipped to, not searched for."""

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from concurrent.futures import Executor
from contextlib import aclosing, nullcontext
from typing import Final

from forge_edge.content.pieces import Pieces
from forge_edge.content.place import Place
from forge_p2p.content.link import Link
from forge_p2p.content.snapshot import Entry, EntryKind, ListingDecoder, sort_key
from forge_p2p.errors import HostileSnapshot
from forge_p2p.ids import Hash

LISTING_MAX: Final = 128 * 1024 * 1024
"""Bytes: more than a million files. Longer listings are not for browsing."""

LISTING_SMALL: Final = 4 * 1024 * 1024
"""Bytes of a listing that waits for no other: 40,000 files."""

READ_AT_ONCE: Final = 2
"""Listings: each may take some hundred megabytes until it is decoded, and whoever published large ones may ask for many
of them at once."""

KEPT_ENTRIES: Final = 1_000_000
"""Entries of all listings kept together; about 300 bytes each."""


class Tree:
    """One decoded listing."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._keys = [sort_key(entry.path) for entry in entries]

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, path: bytes) -> Entry | None:
        """The entry at exactly this path."""
        key = sort_key(path)
        at = bisect_left(self._keys, key)
        return self._entries[at] if at < len(self._keys) and self._keys[at] == key else None

    def children(self, path: bytes) -> list[Entry]:
        """What is directly in a directory; of the tree's top when `path` is empty."""
        prefix = sort_key(path) + b"\0" if path else b""
        at = bisect_left(self._keys, prefix) if path else 0
        found: list[Entry] = []
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            entry = self._entries[at]
            found.append(entry)
            at += 1
            if entry.kind == EntryKind.DIRECTORY:
                at = bisect_left(self._keys, self._keys[at - 1] + b"\1", at)
        return found


class Trees:
    """The listings read lately. Two who want the same one wait for one reading."""

    def __init__(self, pieces: Pieces, executor: Executor) -> None:
        self._pieces = pieces
        self._executor = executor
        self._kept: OrderedDict[tuple[str, Hash], Tree] = OrderedDict()
        self._reading: dict[tuple[str, Hash], asyncio.Task[Tree]] = {}
        self._entries = 0
        self._room = asyncio.Semaphore(READ_AT_ONCE)

    async def of(self, place: Place) -> Tree:
        """The listing of a place's root, which is a tree. Raises as `Pieces.read`, `Malformed`, `HostileSnapshot`."""
        key = "" if place.held else place.network, place.root.link.hash
        tree = self._kept.get(key)
        if tree is not None:
            self._kept.move_to_end(key)
            return tree
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._read(place))
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)

    def _finished(self, key: tuple[str, Hash], task: "asyncio.Task[Tree]") -> None:
        self._reading.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        tree = task.result()
        self._kept[key] = tree
        self._entries += len(tree)
        while self._entries > KEPT_ENTRIES and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._entries -= len(old)

    async def _read(self, place: Place) -> Tree:
        link = place.root.link
        if link.size > LISTING_MAX:
            raise HostileSnapshot(f"a listing of {link.size} bytes is not shown: the most is {LISTING_MAX}")
        async with self._room if link.size > LISTING_SMALL else nullcontext():
            return await self._decoded(place, link)

    async def _decoded(self, place: Place, link: Link) -> Tree:
        decoder = ListingDecoder()
        entries: list[Entry] = []
        loop = asyncio.get_running_loop()
        async with aclosing(self._pieces.read(place, link, 0, link.size)) as lists:
            async for pieces in lists:
                entries += await loop.run_in_executor(self._executor, decoder.feed, b"".join(pieces))
        decoder.finish()
        return await loop.run_in_executor(self._executor, Tree, entries)
