"""Names of a private network: published, pulled and followed by real nodes over QUIC on loopback."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio

from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.refs import publishing, pulling
from forge_p2p.node.refs.results import PublishResult, PullResult
from tests.node.harness import contents, small_tree
from tests.node.test_members import founder, member, token


async def publish(network: Network, name: str, path: Path, **options: Any) -> PublishResult:
    with trio.fail_after(30):
        return await publishing.publish(network, name=name, path=str(path), report=ignore_progress, **options)


async def pull(network: Network, name: str, destination: Path, **options: Any) -> PullResult:
    with trio.fail_after(30):
        return await pulling.pull(network, name=name, destination=str(destination), report=ignore_progress, **options)


async def test_what_is_published_on_one_node_is_pulled_on_another(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        made = await publish(home, "assets/textures", tree)
        assert (made.ref, made.seq, made.unchanged) == ("team/assets/textures@1", 1, False)
        got = await pull(reader, "assets/textures", tmp_path / "copy")
        assert (got.seq, got.link, got.author) == (1, made.link, home.node.node_id.hex())
        assert contents(tmp_path / "copy") == contents(tree)


async def test_a_member_publishes_at_the_home_and_a_third_pulls(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home, AsyncExitStack() as stack:
        writer = await stack.enter_async_context(member(tmp_path / "b", await token(home, "writer")))
        reader = await stack.enter_async_context(member(tmp_path / "c", await token(home)))
        await publish(writer, "nightly", tree)
        (tree / "new").write_bytes(b"more")
        made = await publish(writer, "nightly", tree)
        assert made.seq == 2
        assert (await publish(writer, "nightly", tree)).unchanged
        assert (await pull(reader, "nightly", tmp_path / "copy")).seq == 2
        assert contents(tmp_path / "copy") == contents(tree)
        again = await pull(reader, "nightly", tmp_path / "copy")
        assert again.unchanged == again.files
        assert (await pull(reader, "nightly@1", tmp_path / "old")).seq == 1
        assert not (tmp_path / "old" / "new").exists()
