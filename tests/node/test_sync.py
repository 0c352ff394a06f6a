"""Folders kept the same on real nodes of one network, over QUIC on loopback."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from forge_p2p.errors import Refused
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.syncing import rounds
from forge_p2p.node.syncing.results import SyncResult
from tests.node.harness import contents, small_tree
from tests.node.test_members import founder, member, token


async def sync(network: Network, directory: Path, name: str = "folder", **options: Any) -> SyncResult:
    with trio.fail_after(30):
        return await rounds.sync(
            network, name=name, directory=str(directory), emit=_ignore, report=ignore_progress, **options
        )


async def _ignore(line: bytes) -> None:
    pass


@asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Network, Network]]:
    """The network's founder, who is the home of names, and a writer."""
    async with founder(tmp_path / "a") as one, member(tmp_path / "b", await token(one, "writer")) as other:
        yield one, other


def versions(root: Path) -> set[bytes]:
    return {path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_edits_go_both_ways(tmp_path: Path) -> None:
    here, there = small_tree(tmp_path / "here"), tmp_path / "there"
    async with pair(tmp_path) as (one, other):
        first = await sync(one, here)
        assert (first.seq, first.published, first.received) == (1, True, [])
        second = await sync(other, there)
        assert (second.seq, second.published, second.sent) == (1, False, [])
        assert contents(there) == contents(here)
        (there / "d0" / "f000").write_bytes(b"edited there")
        (there / "new").mkdir()
        (there / "new" / "file").write_bytes(b"new there")
        (here / "d1" / "f001").write_bytes(b"edited here")
        (here / "d2" / "f002").unlink()
        await sync(other, there)
        both = await sync(one, here)
        assert both.seq == 3
        assert set(both.received) == {"d0/f000", "new", "new/file"}
        assert (both.sent, both.sent_removals) == (["d1/f001"], ["d2/f002"])
        last = await sync(other, there)
        assert (last.received, last.received_removals) == (["d1/f001"], ["d2/f002"])
        assert contents(there) == contents(here)
        again = await sync(one, here)
        assert (again.seq, again.published, again.received) == (3, False, [])


async def test_both_versions_stay(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "plan.txt").write_bytes(b"base")
    async with pair(tmp_path) as (one, other):
        await sync(one, here)
        await sync(other, there)
        (here / "plan.txt").write_bytes(b"here")
        (there / "plan.txt").write_bytes(b"there")
        await sync(one, here)
        merged = await sync(other, there)
        assert len(merged.conflicts) == 1
        await sync(one, here)
        assert contents(here) == contents(there)
        assert versions(here) == {b"here", b"there"}
        assert len(list(here.iterdir())) == 2
        assert (await sync(other, there)).conflicts == []


async def test_first_sync_of_two_full_folders(tmp_path: Path) -> None:
    here, there = small_tree(tmp_path / "here"), small_tree(tmp_path / "there")
    (there / "d0" / "f000").write_bytes(b"another")
    (there / "only").write_bytes(b"there")
    async with pair(tmp_path) as (one, other):
        await sync(one, here)
        merged = await sync(other, there)
        assert [each.path for each in merged.conflicts] == ["d0/f000"]
        await sync(one, here)
        assert contents(here) == contents(there)
        assert b"another" in versions(here)


async def test_a_folder_made_anew_deletes_nothing(tmp_path: Path) -> None:
    """Another file system is mounted there, or a person removed the whole folder: that is no wish to delete it all."""
    here = small_tree(tmp_path / "here")
    before = contents(here)
    async with founder(tmp_path / "a") as one:
        await sync(one, here)
        here.rename(tmp_path / "away")
        here.mkdir()
        result = await sync(one, here)
        assert (result.seq, result.sent_removals) == (1, [])
        assert contents(here) == before


async def test_a_reader_takes_and_may_not_give(tmp_path: Path) -> None:
    here, there = small_tree(tmp_path / "here"), tmp_path / "there"
    async with founder(tmp_path / "a") as one, member(tmp_path / "b", await token(one)) as reader:
        await sync(one, here)
        await sync(reader, there)
        assert contents(there) == contents(here)
        (there / "mine").write_bytes(b"mine")
        with pytest.raises(Refused, match="may not publish"):
            await sync(reader, there)
        assert (there / "mine").read_bytes() == b"mine"


async def test_what_is_ignored_here_is_not_deleted_there(tmp_path: Path) -> None:
    here, there = small_tree(tmp_path / "here"), tmp_path / "there"
    async with pair(tmp_path) as (one, other):
        await sync(one, here)
        await sync(other, there)
        (here / ".forgeignore").write_bytes(b"d0/\n")
        (here / "d0" / "f000").write_bytes(b"private now")
        await sync(one, here)
        result = await sync(other, there)
        assert result.received_removals == []
        assert (there / "d0" / "f000").exists()
        assert (here / "d0" / "f000").read_bytes() == b"private now"


async def test_one_file_that_cannot_be_written_does_not_stop_the_others(tmp_path: Path) -> None:
    """Something stands in the way that no listing may name: a pipe."""
    here, there = small_tree(tmp_path / "here"), tmp_path / "there"
    there.mkdir()
    (there / "d1").mkdir()
    os.mkfifo(there / "d1" / "f001")
    async with pair(tmp_path) as (one, other):
        await sync(one, here)
        result = await sync(other, there)
        assert [problem.split(":")[0] for problem in result.problems] == ["d1/f001"]
        (there / "d1" / "f001").unlink()
        (here / "d0" / "f000").write_bytes(b"edited")
        await sync(one, here)
        result = await sync(other, there)
        assert result.problems == []
        assert contents(there) == contents(here)


async def test_watched_folders_follow_each_other(tmp_path: Path) -> None:
    here, there = small_tree(tmp_path / "here"), tmp_path / "there"
    async with pair(tmp_path) as (one, other), trio.open_nursery() as nursery:
        told: dict[Path, list[SyncResult]] = {here: [], there: []}
        for network, directory in ((one, here), (other, there)):
            nursery.start_soon(_watch, network, directory, told[directory])
            await _until(lambda directory=directory: bool(told[directory]))
        assert contents(here) == contents(there)
        for number in range(3):
            (here / "d0" / "f000").write_bytes(b"edit %d" % number)
            await _until(lambda: contents(here) == contents(there))
            (there / "new").write_bytes(b"new %d" % number)
            await _until(lambda: contents(here) == contents(there))
        (there / "new").unlink()
        await _until(lambda: contents(here) == contents(there) and not (here / "new").exists())
        assert not [result.conflicts for results in told.values() for result in results if result.conflicts]
        nursery.cancel_scope.cancel()


async def _watch(network: Network, directory: Path, told: list[SyncResult]) -> None:
    async def emit(line: bytes) -> None:
        told.append(msgspec.json.decode(line, type=SyncResult))

    await rounds.sync(network, name="folder", directory=str(directory), watch=True, emit=emit, report=ignore_progress)


async def _until(holds: Any) -> None:
    with trio.fail_after(20):
        while not await trio.to_thread.run_sync(_calmly, holds):
            await trio.sleep(0.02)


def _calmly(holds: Any) -> bool:
    try:
        return bool(holds())
    except FileNotFoundError:
        return False
