"""A node that is up watches what it has pulled: an unchanged pull looks at no file, and no edit is missed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from forge_p2p.node.folders import watch_folders
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.operations import adding
from forge_p2p.workspace.walking import Walk
from tests.node.harness import contents, small_tree
from tests.node.names import publish, pull
from tests.node.test_members import founder, member, token

PATIENCE = 30.0


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The directories that were listed."""
    names: list[bytes] = []
    whole = Walk.directory

    def directory(self: Walk, descriptor: int, prefix: bytes, *rest: object) -> None:
        names.append(prefix)
        whole(self, descriptor, prefix, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Walk, "directory", directory)
    return names


@asynccontextmanager
async def watching(network: Network) -> AsyncIterator[None]:
    """What the daemon has run beside."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_folders, network.node)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def until_looked_at(network: Network, copy: Path) -> None:
    """The node has begun to watch a directory by itself."""
    watched = network.node.watched
    assert watched is not None
    with trio.fail_after(PATIENCE):
        while not watched.is_watched(os.fsencode(copy)):
            await trio.sleep(0.01)


async def test_an_unchanged_pull_looks_at_nothing(tmp_path: Path, listed: list[bytes]) -> None:
    tree, copy = small_tree(tmp_path / "tree"), tmp_path / "copy"
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader, watching(reader):
        await publish(home, "nightly", tree)
        await pull(reader, "nightly", copy)
        await until_looked_at(reader, copy)
        listed.clear()
        again = await pull(reader, "nightly", copy)
        assert (again.unchanged, listed) == (again.files, [])


async def test_an_edit_right_before_a_pull_is_seen(tmp_path: Path) -> None:
    tree, copy = small_tree(tmp_path / "tree"), tmp_path / "copy"
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader, watching(reader):
        await publish(home, "nightly", tree)
        await pull(reader, "nightly", copy)
        await until_looked_at(reader, copy)
        names = [path.relative_to(tree) for path in sorted(tree.rglob("*")) if path.is_file()]
        for name in names[:10]:
            (copy / name).write_bytes(b"edited")
            assert (await pull(reader, "nightly", copy)).unchanged == len(names) - 1
            assert contents(copy) == contents(tree)
        (tree / names[0]).write_bytes(b"a new version")
        await publish(home, "nightly", tree)
        await pull(reader, "nightly", copy)
        assert contents(copy) == contents(tree)


async def test_an_edit_right_before_it_is_published_is_in_it(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home, watching(home):
        links = set()
        for number in range(10):
            (tree / "d1" / "f001").write_bytes(b"edit %d" % number)
            added = await trio.to_thread.run_sync(lambda: adding.add(home.node, path=str(tree), report=ignore_progress))
            links.add(added.link)
        assert len(links) == 10
