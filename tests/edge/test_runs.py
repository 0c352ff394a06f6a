"""Runs that were verified a moment ago: what is handed on, for how long, and what never is."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from forge_edge.content.pieces import Pieces
from forge_edge.content.place import Place
from forge_edge.content.runs import RUN_AGE, STEP, Here, Key, Runs
from forge_edge.upstream.node import NodeLink

from forge_p2p.content.link import Link, hash_bytes
from forge_p2p.errors import NotFound
from forge_p2p.node.home import Home
from forge_p2p.store.base import Store
from forge_p2p.store.factory import open_store
from tests.store.inputs import BARE, named, noise, put_blob

CHUNKS = [named(noise(number, 200_000)) for number in range(17)]
CONTENT = b"".join(raw for _, raw in CHUNKS)
"""Chunks lie across the ends of runs."""


def key(number: int, size: int = 10) -> Key:
    return Link(hash_bytes(bytes([number])), 1 << 30, 2), 0, size, False


def test_bytes_are_bounded_and_the_longest_unused_go_first() -> None:
    async def run() -> None:
        runs = Runs(25)
        for number in range(2):
            await keep(runs, key(number))
        assert runs.find(key(0)) is not None
        await keep(runs, key(2))
        await keep(runs, key(3, 26))
        assert [runs.find(key(number)) is not None for number in range(3)] == [True, False, True]
        assert runs.find(key(3, 26)) is None, "what is larger than all that is kept pushes nothing out"
        assert runs.size == 20

    asyncio.run(run())


async def keep(runs: Runs, wanted: Key) -> None:
    """Has a run read, and what comes after that done."""
    size = wanted[2]
    read: asyncio.Future[Here] = asyncio.get_running_loop().create_future()
    read.set_result((size, [b"x" * size]))
    await runs.read(wanted, lambda: read)
    await asyncio.sleep(0)


def test_after_a_minute_it_is_read_again() -> None:
    async def run() -> None:
        now = 1000.0
        runs = Runs(100, lambda: now)
        await keep(runs, key(1))
        now += RUN_AGE - 1
        assert runs.find(key(1)) is not None, "use does not make it younger"
        now += 1
        assert runs.find(key(1)) is None
        assert runs.size == 0

    asyncio.run(run())


def test_who_wants_the_same_waits_for_one_reading_and_may_leave() -> None:
    async def run() -> None:
        runs, started = Runs(100), []

        def start() -> "asyncio.Future[Here]":
            started.append(asyncio.get_running_loop().create_future())
            return started[-1]

        first, second, third = (runs.read(key(1), start) for _ in range(3))
        first.cancel()
        await asyncio.sleep(0)
        started[0].set_result((10, [b"x" * 10]))
        assert await second == await third == (10, [b"x" * 10])
        assert len(started) == 1
        failing = runs.read(key(2), start)
        started[1].set_exception(NotFound("gone"))
        with pytest.raises(NotFound):
            await failing
        short = runs.read(key(2), start)
        started[2].set_result((4, [b"xxxx"]))
        assert (await short)[0] == 4
        assert runs.find(key(2)) is None, "what lacks something now may be whole by the next time"

    asyncio.run(run())


@contextmanager
def stored(folder: Path) -> Iterator[tuple[Store, Place, Home]]:
    """A store on disk that has `CONTENT`, and no node beside it."""
    home = Home(folder)
    home.create()
    with closing(open_store(home.store, BARE)) as store:
        with store.ingest() as ingest:
            root = put_blob(ingest, CHUNKS, 0)
            ingest.commit()
            store.pin("here", root)
        yield store, Place(root, "", held=True), home


async def got(pieces: Pieces, place: Place, start: int = 0, stop: int = len(CONTENT)) -> bytes:
    lists = pieces.read(place, place.root.link, start, stop)
    return b"".join([bytes(piece) async for found in lists for piece in found])


def rot(home: Home) -> None:
    """Turns a bit of a chunk in the middle, wherever it lies on disk."""
    part = CHUNKS[8][1][1000:2000]
    for path in home.store.rglob("*"):
        if path.is_file() and part in (data := path.read_bytes()):
            path.chmod(0o600)
            path.write_bytes(data.replace(part, bytes([part[0] ^ 1]) + part[1:]))


RANGES = [
    (0, 1),
    (5, STEP),
    (STEP - 1, STEP + 1),
    (STEP, 2 * STEP),
    (STEP // 2, len(CONTENT) - 1),
    (3 * STEP + 7, len(CONTENT)),
]


def test_any_range_is_the_same_from_disk_and_from_memory(tmp_path: Path) -> None:
    async def run(store: Store, place: Place, home: Home) -> None:
        with ThreadPoolExecutor(2) as executor:
            for limit in (0, 2 * STEP, 16 * STEP):
                pieces = Pieces(store, NodeLink(home), executor, limit)
                for start, stop in RANGES + RANGES:
                    assert await got(pieces, place, start, stop) == CONTENT[start:stop], (limit, start, stop)
                both = await asyncio.gather(*(got(pieces, place) for _ in range(8)))
                assert all(each == CONTENT for each in both)
                assert pieces.runs.size <= limit
            assert pieces.runs.size == len(CONTENT)

    with stored(tmp_path) as (store, place, home):
        asyncio.run(run(store, place, home))


def test_what_rots_on_disk_is_never_served(tmp_path: Path) -> None:
    async def run(store: Store, place: Place, home: Home) -> None:
        with ThreadPoolExecutor(2) as executor:
            warm, cold = (Pieces(store, NodeLink(home), executor, 16 * STEP) for _ in range(2))
            assert await got(warm, place) == CONTENT
            rot(home)
            assert await got(warm, place) == CONTENT, "it was verified before, and has been in memory since"
            with pytest.raises(NotFound):
                await got(cold, place)
            assert cold.runs.size < len(CONTENT)
            assert store.statistics().quarantined > 0
            stranger = Place(place.root, "", held=False)
            with pytest.raises(NotFound):
                await got(warm, stranger)

    with stored(tmp_path) as (store, place, home):
        asyncio.run(run(store, place, home))
