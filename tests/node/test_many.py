"""Many at once: everybody gets the right bytes, and nobody waits for the slowest."""

import subprocess
from pathlib import Path

import pytest
import trio

from tests.cli.harness import COMMAND, environment
from tests.node.conftest import Pair
from tests.node.harness import contents, get, getting_json, node, noise, running, settings, share, small_tree

MB = 1_000_000
GETTERS = 20


async def test_many_getters(pair: Pair) -> None:
    """Each a node of its own, all of them in this process."""
    source = small_tree(pair.path / "source", files=60)
    (source / "bulk").write_bytes(noise(1, 4 * MB))
    shared = await share(pair.here, source)
    finished = []

    async def one(number: int) -> None:
        async with running(pair.path / f"home{number}", serve=False) as there:
            await get(there, shared.ticket, pair.path / f"copy{number}")
            finished.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(GETTERS):
            nursery.start_soon(one, number)
    assert sorted(finished) == list(range(GETTERS))
    for number in range(GETTERS):
        assert contents(pair.path / f"copy{number}") == contents(source)


async def test_different_shares_at_once(pair: Pair) -> None:
    """One getting node, several shares, each asked for several times over."""
    sources = [small_tree(pair.path / f"source{seed}", seed=seed, files=40) for seed in range(4)]
    tickets = [(await share(pair.here, source)).ticket for source in sources]
    async with trio.open_nursery() as nursery:
        for seed, ticket in enumerate(tickets):
            for copy in range(3):
                nursery.start_soon(get, pair.there, ticket, pair.path / f"copy{seed}{copy}")
    for seed, source in enumerate(sources):
        for copy in range(3):
            assert contents(pair.path / f"copy{seed}{copy}") == contents(source)


async def test_both_ways_at_once(pair: Pair, tmp_path: Path) -> None:
    """Two nodes that share with each other while they get."""
    sources = [small_tree(pair.path / f"source{seed}", seed=seed, files=60) for seed in range(2)]
    async with running(tmp_path / "other") as other:
        ours, theirs = await share(pair.here, sources[0]), await share(other, sources[1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, other, ours.ticket, pair.path / "copy0")
            nursery.start_soon(get, pair.here, theirs.ticket, pair.path / "copy1")
    for seed, source in enumerate(sources):
        assert contents(pair.path / f"copy{seed}") == contents(source)


async def test_what_was_got_can_be_shared_on(pair: Pair, tmp_path: Path) -> None:
    source = small_tree(pair.path / "source")
    first = await share(pair.here, source)
    async with running(tmp_path / "middle") as middle:
        await get(middle, first.ticket, pair.path / "copy")
        second = await share(middle, pair.path / "copy")
        assert second.link == first.link
        assert second.add.new_bytes == 0
        await get(pair.there, second.ticket, pair.path / "copy of the copy")
    assert contents(pair.path / "copy of the copy") == contents(source)


@pytest.mark.soak
def test_many_getting_processes(tmp_path: Path) -> None:
    source = small_tree(tmp_path / "source", files=200)
    (source / "bulk").write_bytes(noise(1, 100 * MB))
    with node(tmp_path / "here", "share", str(source)) as sharing:
        processes = []
        for number in range(GETTERS):
            home = settings(tmp_path / f"home{number}", 'listen = "127.0.0.1:0"\n[store]\nreserve = 0\n')
            command = [*COMMAND, "get", sharing.ticket, str(tmp_path / f"copy{number}"), "--json"]
            processes.append(
                subprocess.Popen(
                    command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
        for number, process in enumerate(processes):
            out, told = process.communicate(timeout=600)
            getting_json(subprocess.CompletedProcess(command, process.returncode, out, told))
            assert contents(tmp_path / f"copy{number}") == contents(source)
