"""Chunks that rot, vanish, repeat: what is wrong in one store is fetched again, and never spread."""

import json
import os
import random
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.errors import NotFound, PeerError
from forge_p2p.node.network import Network
from forge_p2p.node.operations.adding import add
from forge_p2p.node.results import Progress
from forge_p2p.store import open_store
from tests.cli.harness import forge
from tests.node.conftest import Pair
from tests.node.harness import CHUNK, contents, get, node, noise, running, share, small_tree

SETTLED = 0.1
"""Seconds after which a file that was written is remembered without being read again."""


def data_files(network: Network) -> list[Path]:
    return sorted(network.node.home.store.glob("files/*/*.data"))


def flip(path: Path, draw: random.Random) -> None:
    """One bit, anywhere; the times stay."""
    status = path.stat()
    with path.open("r+b") as file:
        at = draw.randrange(status.st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << draw.randrange(8)]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def wipe(path: Path, draw: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def remove(path: Path, draw: random.Random) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [flip, truncate, wipe, remove])
@pytest.mark.parametrize("seed", range(3))
async def test_rot_here_is_fetched_again(
    pair: Pair, tmp_path: Path, damage: Callable[[Path, random.Random], None], seed: int
) -> None:
    source = small_tree(pair.path / "source", files=60)
    (source / "bulk").write_bytes(noise(2, 20 * CHUNK))
    shared = await share(pair.here, source)
    async with running(tmp_path / "getting", serve=False) as there:
        whole = (await get(there, shared.ticket, pair.path / "copy")).fetched_bytes
        draw = random.Random(seed)
        damage(draw.choice(data_files(there)), draw)
    async with running(tmp_path / "getting", serve=False) as there:
        result = await get(there, shared.ticket, pair.path / "again")
        assert contents(pair.path / "again") == contents(source)
        assert result.problems == []
        if damage is flip:
            assert 0 < result.fetched_bytes < whole // 2
        assert there.node.store.verify().corrupt == []
        third = await get(there, shared.ticket, pair.path / "third")
        assert third.fetched_bytes == 0, "it was healed in the store, too"


@pytest.mark.parametrize("damage", [flip, truncate, wipe, remove])
async def test_rot_at_the_source_is_never_served(
    pair: Pair, tmp_path: Path, damage: Callable[[Path, random.Random], None]
) -> None:
    """The getter is told, nothing wrong arrives, and adding the content again heals it."""
    source = small_tree(pair.path / "source", files=60)
    (source / "bulk").write_bytes(noise(2, 20 * CHUNK))
    async with running(tmp_path / "sharing") as here:
        shared = await share(here, source)
        damaged = data_files(here)
        for path in damaged:
            damage(path, random.Random(1))
    async with running(tmp_path / "sharing") as here:
        host, port = here.reachable_addresses()[0].host, here.reachable_addresses()[0].port
        there = partial(get, pair.there, shared.ticket, pair.path / "copy", peers=[f"{host}:{port}"])
        with pytest.raises((NotFound, PeerError), match=r"does not have|damaged at its source"):
            await there()
        assert not (pair.path / "copy").exists()
        for path in source.rglob("*"):
            if path.is_file():
                os.utime(path)  # or the stat cache would spare reading them
        here.node.store.verify()  # which sees what the getter had not asked for yet when it gave up
        quarantined = here.node.store.statistics().quarantined
        assert quarantined == len(damaged) if damage is flip else quarantined >= len(damaged)
        again = await share(here, source)
        await get(pair.there, again.ticket, pair.path / "copy")
    assert contents(pair.path / "copy") == contents(source)


async def test_a_store_that_fails_is_no_business_of_peers(pair: Pair, tmp_path: Path) -> None:
    """They are told that it fails; where it lies is for this node's own log."""
    source = small_tree(pair.path / "source")
    (source / "bulk").write_bytes(noise(2, 20 * CHUNK))
    async with running(tmp_path / "sharing") as here:
        shared = await share(here, source)
        files = data_files(here)
    for path in files:
        path.unlink()
        path.mkdir()
    async with running(tmp_path / "sharing") as here:
        (address,) = here.reachable_addresses()
        with pytest.raises(PeerError) as caught:
            await get(pair.there, shared.ticket, pair.path / "copy", peers=[f"{address.host}:{address.port}"])
        assert str(tmp_path) not in str(caught.value)
    assert not (pair.path / "copy").exists()


async def test_a_share_whose_content_was_removed(pair: Pair) -> None:
    source = small_tree(pair.path / "source")
    shared = await share(pair.here, source)
    for pin in pair.here.node.store.pins():
        pair.here.node.store.unpin(pin.name)
    pair.here.node.store.collect(grace=0.0)
    with pytest.raises(PeerError, match="refused: the share is damaged at its source"):
        await get(pair.there, shared.ticket, pair.path / "copy")
    assert not (pair.path / "copy").exists()


async def test_a_link_that_is_half_here(pair: Pair) -> None:
    """Without a ticket, what is missing is said, and nothing is written."""
    source = small_tree(pair.path / "source")
    (source / "bulk").write_bytes(noise(2, 20 * CHUNK))
    added = await trio.to_thread.run_sync(lambda: add(pair.there.node, path=str(source), report=lambda progress: None))
    for path in data_files(pair.there):
        flip(path, random.Random(3))
    pair.there.node.close()
    with pytest.raises(NotFound, match="not in the store"):
        await get(pair.there, added.link, pair.path / "copy")
    assert not (pair.path / "copy").exists()


def test_a_running_node_heals_what_verify_finds(tmp_path: Path) -> None:
    source = small_tree(tmp_path / "source", files=60)
    (source / "bulk").write_bytes(noise(2, 20 * CHUNK))
    with node(tmp_path / "here", "share", str(source)) as sharing, node(tmp_path / "there", "up", lines=2) as there:
        assert forge(there.home, "get", sharing.ticket, str(tmp_path / "copy")).returncode == 0
        flip(max((there.home / "store").glob("files/*/*.data"), key=os.path.getsize), random.Random(4))
        found = json.loads(forge(there.home, "store", "verify", "--json").stdout)
        assert len(found["corrupt"]) == 1
        assert found["healed"] == 1
        assert json.loads(forge(there.home, "store", "verify", "--json").stdout)["corrupt"] == []


PIECES = [noise(seed, size) for seed, size in enumerate([1, 1000, 20_000, 70_000, CHUNK, CHUNK + 1, 400_000])]
"""What files are made of: few pieces, so that chunks repeat within and across files."""


@settings(max_examples=15)
@given(
    st.lists(st.lists(st.integers(0, len(PIECES) - 1), max_size=8), min_size=1, max_size=12),
    st.lists(st.integers(0, 11), max_size=4),
)
def test_repeated_content(files: list[list[int]], there_before: list[int]) -> None:
    """Whatever repeats, and whatever the store or the destination has already, all of it ends up in place."""

    async def main(path: Path) -> None:
        source = path / "source"
        for number, pieces in enumerate(files):
            (source / f"{number % 3}").mkdir(parents=True, exist_ok=True)
            (source / f"{number % 3}" / f"{number}").write_bytes(b"".join(PIECES[piece] for piece in pieces))
        async with running(path / "here") as here, running(path / "there", serve=False) as there:
            for number in there_before:
                known = path / "known" / f"{number}"
                known.parent.mkdir(exist_ok=True)
                known.write_bytes(b"".join(PIECES[piece] for piece in files[number % len(files)]))
                await trio.to_thread.run_sync(lambda: add(there.node, path=str(known), report=lambda progress: None))  # noqa: B023
            shared = await share(here, source)
            result = await get(there, shared.ticket, path / "copy")
            assert contents(path / "copy") == contents(source)
            assert result.fetched_bytes <= shared.add.new_bytes
            assert (await get(there, shared.ticket, path / "again")).wire_sent == 0
            assert contents(path / "again") == contents(source)

    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, Path(folder))


@pytest.mark.parametrize("files", [1, 60], ids=["large", "small"])
async def test_adding_again_heals_what_verify_found(pair: Pair, files: int) -> None:
    """Nothing in the directory has changed: what is damaged in the store is read again all the same."""
    source = pair.path / "source"
    source.mkdir()
    for number in range(files):
        (source / f"{number}").write_bytes(noise(number, 30 * CHUNK // files))
    await trio.sleep(SETTLED)
    store = pair.here.node.store
    first = await trio.to_thread.run_sync(partial(add, pair.here.node, path=str(source), report=quiet))
    for path in data_files(pair.here):
        flip(path, random.Random(5))
    (corrupt,) = store.verify().corrupt
    assert not store.has(corrupt)
    again = await trio.to_thread.run_sync(partial(add, pair.here.node, path=str(source), report=quiet))
    assert again.link == first.link
    assert store.has(corrupt)
    await get(pair.here, again.link, pair.path / "copy")
    assert contents(pair.path / "copy") == contents(source)


async def test_adding_holds_on_to_what_is_being_collected(pair: Pair) -> None:
    """A large file that has not changed, in a directory that has: all of its chunks are kept, not its name alone."""
    source = small_tree(pair.path / "source")
    (source / "bulk").write_bytes(noise(2, 40 * CHUNK))
    await trio.sleep(SETTLED)
    store = pair.here.node.store
    await trio.to_thread.run_sync(partial(add, pair.here.node, path=str(source), report=quiet))
    other = open_store(pair.here.node.home.store, pair.here.node.config.store)
    with ExitStack() as writer:
        writer.enter_context(closing(other))
        writer.enter_context(other.ingest())  # one that has begun before: nothing condemned is deleted while it runs
        for pin in store.pins():
            store.unpin(pin.name)
        assert store.collect(grace=0.0).condemned > 0

        def collecting(progress: Progress) -> None:
            """In the middle of the add the other writer ends, and somebody collects."""
            if progress.phase == "ingest":
                writer.close()
                store.collect(grace=0.0)

        (source / "d0" / "f000").write_bytes(b"changed")
        added = await trio.to_thread.run_sync(partial(add, pair.here.node, path=str(source), report=collecting))
    store.collect(grace=0.0)
    await get(pair.here, added.link, pair.path / "copy")
    assert contents(pair.path / "copy") == contents(source)


def quiet(progress: Progress) -> None:
    """Reports nothing."""
