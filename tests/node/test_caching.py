"""A CI's caches, on real nodes of one network."""

from pathlib import Path
from typing import Any

import pytest
import trio

from forge_p2p.errors import NotFound, Refused, UsageError
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.operations import caching
from forge_p2p.node.refs.results import CacheRestoreResult, CacheSaveResult
from tests.node.harness import contents, small_tree
from tests.node.test_members import founder, member, token


async def save(network: Network, key: str, path: Path, **options: Any) -> CacheSaveResult:
    with trio.fail_after(30):
        return await caching.save(network, key=key, path=str(path), report=ignore_progress, **options)


async def restore(network: Network, key: str, path: Path, *prefixes: str) -> CacheRestoreResult:
    with trio.fail_after(30):
        return await caching.restore(network, key=key, destination=str(path), prefixes=prefixes, report=ignore_progress)


async def test_a_cache_saved_by_one_agent_is_restored_by_another(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home, "writer")) as first:
        assert (await save(first, "pip-linux-3f2a", tree, expires=600.0)).saved
        async with member(tmp_path / "c", await token(home)) as second:
            result = await restore(second, "pip-linux-3f2a", tmp_path / "copy")
            assert (result.found, result.exact) == ("pip-linux-3f2a", True)
            assert contents(tmp_path / "copy") == contents(tree)
            with pytest.raises(Refused):
                await save(second, "mine", tree)


async def test_an_entry_is_not_written_twice(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home:
        made = await save(home, "key", tree)
        (tree / "new").write_bytes(b"new")
        again = await save(home, "key", tree)
        assert (again.saved, again.link, again.ref) == (False, made.link, made.ref)


async def test_the_newest_with_a_prefix(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home, "writer")) as agent:
        for number, key in enumerate(["pip-c", "pip-a", "npm-z"]):
            await save(agent, key, small_tree(tmp_path / key, seed=number, files=2))
            if key == "pip-c":
                await trio.sleep(1.1)
        with pytest.raises(NotFound, match="'cargo-1' or as 'cargo-'…"):
            await restore(agent, "cargo-1", tmp_path / "none", "cargo-")
        result = await restore(agent, "pip-x", tmp_path / "copy", "pip-x", "pip-", "npm-")
        assert (result.found, result.exact) == ("pip-a", False)
        assert contents(tmp_path / "copy") == contents(tmp_path / "pip-a")
        assert (await restore(home, "npm-1", tmp_path / "npm", "npm-z")).found == "npm-z"
        assert (await restore(home, "npm-1", tmp_path / "npm", "")).found in {"npm-z", "pip-a"}


async def test_an_entry_expires_and_its_key_is_free_again(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home:
        await save(home, "key", tree, expires=1.0)
        await trio.sleep(2.1)
        with pytest.raises(NotFound, match="nothing is saved as 'key'"):
            await restore(home, "key", tmp_path / "copy", "k")
        (tree / "new").write_bytes(b"new")
        assert (await save(home, "key", tree)).saved
        assert (await restore(home, "other", tmp_path / "copy", "k")).found == "key"


async def test_what_cannot_be_a_key(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as home:
        with pytest.raises(UsageError, match="cannot be a name"):
            await save(home, "a b", tmp_path)
