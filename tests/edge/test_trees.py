"""Listings: how many are decoded at once, and where pages of them are made."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from forge_edge.access.grants import Grant
from forge_edge.content.place import Place
from forge_edge.content.trees import LISTING_SMALL, READ_AT_ONCE, Trees
from forge_edge.serving.answers import Answer
from forge_edge.serving.finding import Resource
from forge_edge.serving.reading import answer
from forge_edge.serving.request import Asked

from forge_p2p.content.link import Kind, Link, Root, hash_bytes
from forge_p2p.content.snapshot import Entry, EntryKind


class Slow:
    """Pieces that come when they are let."""

    def __init__(self) -> None:
        self.reading = self.most = 0
        self.go = asyncio.Event()

    async def read(self, place: Place, link: Link, start: int, stop: int) -> AsyncGenerator[list[bytes]]:
        self.reading += 1
        self.most = max(self.most, self.reading)
        try:
            await self.go.wait()
            yield [b""]
        finally:
            self.reading -= 1


def place(number: int, size: int) -> Place:
    return Place(Root(Kind.TREE, Link(hash_bytes(bytes([number])), size, 1)), "", held=True)


def test_few_large_listings_are_read_at_once_and_small_ones_do_not_wait() -> None:
    async def run(size: int) -> int:
        with ThreadPoolExecutor(1) as executor:
            pieces = Slow()
            trees = Trees(cast("Any", pieces), executor)
            asked = [asyncio.ensure_future(trees.of(place(number, size))) for number in range(8)]
            for _ in range(20):
                await asyncio.sleep(0)
            pieces.go.set()
            await asyncio.gather(*asked, return_exceptions=True)
            return pieces.most

    assert asyncio.run(run(LISTING_SMALL + 1)) == READ_AT_ONCE
    assert asyncio.run(run(LISTING_SMALL)) == 8


class Entries(list[Entry]):
    """Remembers in which threads it was looked through."""

    def __init__(self, found: list[Entry]) -> None:
        super().__init__(found)
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[Entry]:
        self.threads.add(threading.get_ident())
        return super().__iter__()


@pytest.mark.parametrize("form", ["json", "html"])
def test_pages_are_made_where_they_hold_up_nobody(form: str) -> None:
    entries = Entries([Entry(b"file", EntryKind.FILE, 0o644, 0, 1, 0, hash_bytes(b"x"))])

    async def run() -> object:
        with ThreadPoolExecutor(1) as executor:
            raw = SimpleNamespace(headers={}, raw_path="/", protocol=None)
            asked = Asked(cast("Any", raw), "GET", "/links/x/", {"format": form}, "", "", Grant("anonymous"))
            resource = Resource(place(1, 10), None, b"", "title", entries, {}, 5.0)
            return await answer(cast("Any", SimpleNamespace(executor=executor)), asked, resource, slash=True)

    made = asyncio.run(run())
    assert isinstance(made, Answer)
    assert b"file" in made.body
    assert threading.get_ident() not in entries.threads
