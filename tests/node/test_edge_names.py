"""Names whose home is a bucket: published and pulled by nodes that are never up at the same time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from forge_p2p.bucket.base import step_key
from forge_p2p.content.catalogue import PinEntry
from forge_p2p.content.linktext import format_link
from forge_p2p.content.ref import BadRef
from forge_p2p.errors import Conflict, Malformed, Untrusted
from forge_p2p.node.edge import pulling, pushing
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


async def test_what_is_no_record_lies_beside_records(tmp_path: Path) -> None:
    """Left there by a file manager, or by somebody who would like to stop the name."""
    async with founder(tmp_path / "a") as maker:
        await use_bucket(maker, tmp_path)
        await publish(maker, "nightly", folder(tmp_path, 1), home="bucket")
        await publish(maker, "nightly", folder(tmp_path, 2))
        network = (await joined(maker)).network
        for name in (".DS_Store", "Thumbs.db", "~", "old/0000000000000009"):
            maker.node.edge.bucket.put_if_absent(f"refs/{network.hex()}/nightly/{name}", b"junk")
        assert (await pull(maker, "nightly", tmp_path / "there")).seq == 2
        assert (await publish(maker, "nightly", folder(tmp_path, 3))).seq == 3


async def test_a_name_pulled_from_a_bucket_is_what_its_author_signed(tmp_path: Path) -> None:
    """Of a name whose home is a node the bucket has pins alone. Whoever may write into it may add some; a member that
    has never heard of the name believes none that nobody with the right has signed."""
    async with founder(tmp_path / "a") as maker:
        await use_bucket(maker, tmp_path)
        text = await token(maker, "writer")
        async with member(tmp_path / "b", text) as reader:
            await use_bucket(reader, tmp_path)
        first = folder(tmp_path, 1)
        await publish(maker, "nightly", first)
        await publish(maker, "other", folder(tmp_path, 2))
        for name in ("nightly", "other"):
            await pushing.push(maker, what=name, report=ignore_progress)
        network = (await joined(maker)).network
        good = maker.node.refs.head(network, "nightly")
        other = maker.node.refs.head(network, "other")
        assert good is not None
        assert other is not None
        evil = format_link(other.target)
        catalogue = maker.node.edge.catalogue
        no_numbers = ["007", "٣", "0", "-1", "9" * 19, "1/1", ""]
        pins: list[object] = [PinEntry(f"{network.hex()}/nightly/{each}", evil, 1.0) for each in no_numbers]
        catalogue.commit(lambda state: catalogue.record(state, pins=pins))
        async with alone(tmp_path / "b", text) as reader:
            await pulling.pull(reader, what="nightly", destination=str(tmp_path / "there"), report=ignore_progress)
            assert contents(tmp_path / "there") == contents(first)
            for seq, record in [
                (1, b""),
                (1, replace(good, target=other.target).encode()),
                (2, b""),
                (2, good.encode()),
                (2, replace(good, seq=2).encode()),
                (2, replace(other, name="nightly", seq=2).encode()),
                (2, replace(other, seq=2).encode()),
                (1, other.encode()),
                (2, b"garbage"),
            ]:
                pin = PinEntry(f"{network.hex()}/nightly/{seq}", evil, 1.0, record)
                catalogue.commit(lambda state, pin=pin: catalogue.record(state, pins=[pin]))  # type: ignore[misc]
                with pytest.raises((Untrusted, Malformed)):
                    await pulling.pull(reader, what="nightly", destination=str(tmp_path / "x"), report=ignore_progress)
                assert not (tmp_path / "x").exists()
                unpin = [f"{network.hex()}/nightly/2"]
                catalogue.commit(lambda state, unpin=unpin: catalogue.record(state, unpins=[*unpin]))  # type: ignore[misc]
            await pushing.push(maker, what="nightly", report=ignore_progress)
            await pulling.pull(reader, what="nightly", destination=str(tmp_path / "again"), report=ignore_progress)
            assert contents(tmp_path / "again") == contents(first)
