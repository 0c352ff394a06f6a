"""Names whose home is a bucket: published and pulled by nodes that are never up at the same time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from forge_p2p.bucket.base import step_key
from forge_p2p.content.ref import BadRef
from forge_p2p.errors import Conflict
from forge_p2p.node.edge.managing import set_bucket
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.refs.names import HomeUnreachable
from tests.node.harness import contents, noise, running
from tests.node.names import joined, publish, pull
from tests.node.test_members import MEMBER, founder, member, token


async def use_bucket(network: Network, tmp_path: Path) -> None:
    await trio.to_thread.run_sync(
        lambda: set_bucket(network.node, url=f"file://{tmp_path}/bucket", report=ignore_progress)
    )


def folder(tmp_path: Path, seed: int) -> Path:
    path = tmp_path / f"source{seed}"
    path.mkdir()
    for number in range(4):
        (path / str(number)).write_bytes(noise(seed * 10 + number, 30_000))
    return path


@asynccontextmanager
async def alone(home: Path, text: str) -> AsyncIterator[Network]:
    """A member that has joined before, and that nobody else is up with."""
    async with running(home, replace(MEMBER, token=text)) as network:
        yield network


async def test_a_name_at_home_in_a_bucket_needs_no_node(tmp_path: Path) -> None:
    first, second = folder(tmp_path, 1), folder(tmp_path, 2)
    async with founder(tmp_path / "a") as maker:
        await use_bucket(maker, tmp_path)
        text = await token(maker, "writer")
        async with member(tmp_path / "b", text) as writer:
            await use_bucket(writer, tmp_path)
        published = await publish(maker, "nightly", first, home="bucket")
        assert published.held, "the content is in the bucket, too"
        async with member(tmp_path / "b", text) as writer:
            await pull(writer, "nightly", tmp_path / "seen")
    async with alone(tmp_path / "b", text) as writer:
        again = await publish(writer, "nightly", second)
        assert (again.seq, again.held) == (2, True)
        with pytest.raises(Conflict):
            await publish(writer, "nightly", first, after=1)
    async with running(tmp_path / "a", MEMBER) as maker:
        pulled = await pull(maker, "nightly", tmp_path / "there")
        assert pulled.seq == 2
    assert contents(tmp_path / "there") == contents(second)


async def test_without_the_bucket_its_names_cannot_be_reached(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as maker:
        await use_bucket(maker, tmp_path)
        await publish(maker, "nightly", folder(tmp_path, 1), home="bucket")
        async with member(tmp_path / "b", await token(maker, "writer")) as writer:
            await pull(writer, "nightly", tmp_path / "there")  # from what the maker knows
            with pytest.raises(HomeUnreachable, match="nightly"):
                await publish(writer, "nightly", folder(tmp_path, 2))


async def test_what_nobody_with_the_right_wrote_convinces_nobody(tmp_path: Path) -> None:
    """Whoever may write into the bucket may put anything there; it is refused, and what was known stays."""
    async with founder(tmp_path / "a") as maker:
        await use_bucket(maker, tmp_path)
        await publish(maker, "nightly", folder(tmp_path, 1), home="bucket")
        await publish(maker, "nightly", folder(tmp_path, 2))
        network = (await joined(maker)).network
        (tmp_path / "stolen").mkdir()
        record = maker.node.refs.head(network, "nightly")
        assert record is not None
        forged = replace(
            record, seq=3, previous=record.hash, target=maker.node.refs.range(network, "nightly", 1, 1)[0].target
        )
        key = step_key(f"refs/{network.hex()}/nightly/", 3)
        maker.node.edge.bucket.put_if_absent(key, forged.encode())
        with pytest.raises(BadRef, match="signature"):
            await pull(maker, "nightly", tmp_path / "there")
        assert maker.node.refs.head(network, "nightly") == record
