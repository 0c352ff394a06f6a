"""Upload and download limits: no more comes through than is allowed, in all sessions together, and it all arrives."""

from dataclasses import replace
from pathlib import Path

import trio

from forge_p2p.config import NetConfig
from forge_p2p.node.results import GetResult
from tests.node.harness import CONFIG, get, noise, running, share

MB = 1_000_000
RATE = 4.0 * MB
SIZE = 5 * MB
BURST = 1.2 * MB
"""What may pass at once: turns that are under way, or what is asked for at first."""


async def fetch_twice(tmp_path: Path, up: float = 0.0, down: float = 0.0) -> tuple[float, list[GetResult]]:
    """Two shares fetched at once from one node by another; how long it took."""
    sender = replace(CONFIG, net=NetConfig(limit_up=up))
    receiver = replace(CONFIG, net=NetConfig(limit_down=down))
    sources = [tmp_path / "one", tmp_path / "two"]
    results = []
    async with running(tmp_path / "here", sender) as here, running(tmp_path / "there", receiver, serve=False) as there:
        for seed, source in enumerate(sources):
            source.write_bytes(noise(seed, SIZE // 2))
        shared = [await share(here, source) for source in sources]
        started = trio.current_time()

        async def fetch(number: int) -> None:
            results.append(await get(there, shared[number].ticket, tmp_path / f"copy{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(fetch, number)
        seconds = trio.current_time() - started
    for number, source in enumerate(sources):
        assert (tmp_path / f"copy{number}").read_bytes() == source.read_bytes()
    return seconds, results


async def test_upload_limit(tmp_path: Path) -> None:
    seconds, _ = await fetch_twice(tmp_path, up=RATE)
    assert seconds > (SIZE - BURST) / RATE


async def test_download_limit(tmp_path: Path) -> None:
    seconds, _ = await fetch_twice(tmp_path, down=RATE)
    assert seconds > (SIZE - 2 * BURST) / RATE


async def test_a_limit_of_less_than_a_chunk_a_second_still_lets_everything_through(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(noise(3, 30_000))
    slow = replace(CONFIG, net=NetConfig(limit_up=20_000.0, limit_down=20_000.0))
    async with running(tmp_path / "here", slow) as here, running(tmp_path / "there", slow, serve=False) as there:
        shared = await share(here, tmp_path / "small")
        await get(there, shared.ticket, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "small").read_bytes()
