"""Content that is pushed to a bucket and fetched from it, by nodes that never meet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from forge_p2p.errors import NotFound, UsageError
from forge_p2p.node.edge import managing, pulling, pushing
from forge_p2p.node.edge.results import EdgePush, EdgeStatus
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, ignore_progress
from forge_p2p.node.network import Network, open_network
from forge_p2p.node.operations import adding, getting
from tests.node.harness import CONFIG, contents, noise


@asynccontextmanager
async def node_with(bucket: Path, folder: Path) -> AsyncIterator[Network]:
    """A node whose bucket is a folder."""
    with LocalNode(Home(folder), CONFIG) as node:
        await trio.to_thread.run_sync(lambda: managing.set_bucket(node, url=f"file://{bucket}", report=ignore_progress))
        async with open_network(node, serve=False) as network:
            yield network


def tree(path: Path, files: int = 40) -> Path:
    for number in range(files):
        file = path / f"{number % 5}" / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noise(number, 1000 * number))
    (path / "large").write_bytes(noise(99, 3 << 20))
    return path


def added(network: Network, path: Path) -> str:
    return adding.add(network.node, path=str(path), report=ignore_progress).link


async def push(network: Network, what: str) -> EdgePush:
    return await pushing.push(network, what=what, report=ignore_progress)


async def test_what_is_pushed_can_be_pulled(tmp_path: Path) -> None:
    source = tree(tmp_path / "source")
    async with node_with(tmp_path / "bucket", tmp_path / "a") as network:
        link = added(network, source)
        pushed = await push(network, link)
        assert pushed.new_chunks == pushed.chunks > 40
        assert pushed.objects == 3  # a bundle, its index, and the record
    async with node_with(tmp_path / "bucket", tmp_path / "b") as network:
        await pulling.pull(network, what=link, destination=str(tmp_path / "there"), report=ignore_progress)
    assert contents(tmp_path / "there") == contents(source)


async def test_get_goes_to_the_bucket_by_itself(tmp_path: Path) -> None:
    source = tree(tmp_path / "source")
    async with node_with(tmp_path / "bucket", tmp_path / "a") as network:
        link = added(network, source)
        await push(network, link)
    async with node_with(tmp_path / "bucket", tmp_path / "b") as network:
        result = await getting.get(network, what=link, destination=str(tmp_path / "there"), report=ignore_progress)
        assert result.fetched_bytes > 3 << 20
        assert [each.found for each in result.sources] == ["edge"]
    assert contents(tmp_path / "there") == contents(source)


async def test_pushing_again_costs_three_requests(tmp_path: Path) -> None:
    source = tree(tmp_path / "source")
    async with node_with(tmp_path / "bucket", tmp_path / "a") as network:
        await push(network, added(network, source))
        (source / "1" / "1.bin").write_bytes(noise(7, 5000))
        again = await push(network, added(network, source))
        assert again.requests == again.objects == 3
        assert again.received == 0
        assert again.sent < 100_000
        assert (await push(network, added(network, source))).unchanged


async def test_what_was_not_pushed_is_not_found(tmp_path: Path) -> None:
    source = tree(tmp_path / "source", 3)
    async with node_with(tmp_path / "bucket", tmp_path / "a") as network:
        link = added(network, source)
    async with node_with(tmp_path / "bucket", tmp_path / "b") as network:
        with pytest.raises(NotFound, match="does not have this content"):
            await pulling.pull(network, what=link, destination=str(tmp_path / "there"), report=ignore_progress)


async def test_without_a_bucket(tmp_path: Path) -> None:
    with LocalNode(Home(tmp_path / "a"), CONFIG) as node:
        async with open_network(node, serve=False) as network:
            with pytest.raises(UsageError, match="no bucket"):
                await push(network, "x")


def test_status_tells_what_is_there(tmp_path: Path) -> None:
    async def main() -> EdgeStatus:
        async with node_with(tmp_path / "bucket", tmp_path / "a") as network:
            await push(network, added(network, tree(tmp_path / "source", 5)))
            return managing.status(network.node, report=ignore_progress)

    found = trio.run(main)
    assert found.records == found.bundles == len(found.pins) == 1
    assert found.chunks > 5
    assert found.bytes > 3 << 20
