"""Names of a private network: published, pulled and rolled back by real nodes over QUIC on loopback."""

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from forge_p2p.errors import Conflict, NotFound, Refused, UsageError
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.operations import networking
from forge_p2p.node.refs import diffing, history
from forge_p2p.node.refs.names import HomeUnreachable
from forge_p2p.node.refs.retention import pinned_numbers
from tests.node.harness import contents, noise, small_tree
from tests.node.names import brief_founder, links, meet, network_id, publish, pull, rollback
from tests.node.test_members import founder, member, token


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


async def test_what_is_unchanged_costs_next_to_nothing(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", files=200)
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        await publish(home, "nightly", tree)
        await pull(reader, "nightly", tmp_path / "copy")
        again = await pull(reader, "nightly", tmp_path / "copy")
        assert (again.unchanged, again.fetched_bytes) == (201, 0)
        assert again.wire_sent + again.wire_received < 1000


async def test_a_pull_removes_what_the_name_lost_and_nothing_else(tmp_path: Path) -> None:
    tree, copy = small_tree(tmp_path / "tree"), tmp_path / "copy"
    (tree / "was a file").write_bytes(b"one")
    (tree / "was a folder").mkdir()
    (tree / "was a folder" / "file").write_bytes(b"two")
    (tree / "gone").mkdir()
    (tree / "gone" / "file").write_bytes(b"three")
    (tree / "link").symlink_to("large")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        await publish(home, "nightly", tree)
        await pull(reader, "nightly", copy)
        (copy / "own").write_bytes(b"mine")
        (copy / "d1" / "f001").write_bytes(b"edited")
        (copy / "gone" / "own").write_bytes(b"mine, too")
        for name in ("was a file", "d1/f001", "d1/f005", "was a folder/file", "gone/file", "link"):
            (tree / name).unlink()
        (tree / "gone").rmdir()
        (tree / "was a folder").rmdir()
        (tree / "was a file").mkdir()
        (tree / "was a file" / "inside").write_bytes(b"four")
        (tree / "was a folder").write_bytes(b"five")
        await publish(home, "nightly", tree)
        result = await pull(reader, "nightly", copy)
        assert result.notes == ["d1/f001 is not in the new version, and stays: it was changed here"]
        kept = {path: seen for path, seen in contents(copy).items() if path not in contents(tree)}
        assert {path: seen.content for path, seen in kept.items() if seen.kind == "file"} == {
            b"own": b"mine",
            b"d1/f001": b"edited",
            b"gone/own": b"mine, too",
        }
        assert {path: contents(copy)[path] for path in contents(tree)} == contents(tree)


async def test_history_and_the_way_back(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home, "writer")) as writer:
        first = await publish(home, "nightly", tree)
        before = contents(tree)
        (tree / "bug").write_bytes(b"bad")
        second = await publish(writer, "nightly", tree)
        assert await links(writer, "nightly") == await links(home, "nightly") == [second.link, first.link]
        back = await rollback(writer, "nightly", 1)
        assert (back.seq, back.link) == (3, first.link)
        await pull(writer, "nightly", tmp_path / "copy")
        assert contents(tmp_path / "copy") == before
        assert await links(home, "nightly") == [first.link, second.link, first.link]
        assert (await rollback(home, "nightly", 1)).unchanged
        with pytest.raises(NotFound, match="has no record 9"):
            await rollback(home, "nightly", 9)


async def test_differences(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        first = await publish(home, "nightly", tree)
        (tree / "d0" / "f000").unlink()
        (tree / "d1" / "f001").write_bytes(b"changed")
        os.utime(tree / "d2" / "f002", (1, 1))
        (tree / "new").mkdir()
        (tree / "d3" / "f003").rename(tree / "new" / "place")
        (tree / "new" / "file").write_bytes(b"added")
        await publish(home, "nightly", tree)
        for old, new in [("nightly@1", "nightly"), (first.link, "team/nightly@2")]:
            found = await diffing.diff(reader, old=old, new=new, report=ignore_progress)
            assert [(each.change, each.old_path, each.path) for each in found.entries] == [
                ("removed", "", "d0/f000"),
                ("changed", "", "d1/f001"),
                ("added", "", "new"),
                ("added", "", "new/file"),
                ("moved", "d3/f003", "new/place"),
            ]
        same = await diffing.diff(reader, old="nightly", new="nightly", report=ignore_progress)
        assert same.entries == []


async def test_two_who_publish_at_once(tmp_path: Path) -> None:
    """One is first, the other after it; nothing is lost of either."""
    async with founder(tmp_path / "a") as home, AsyncExitStack() as stack:
        text = await token(home, "writer")
        writers = [await stack.enter_async_context(member(tmp_path / f"w{number}", text)) for number in range(3)]
        made = []

        async def one(number: int) -> None:
            (tmp_path / f"file{number}").write_bytes(noise(number, 5000))
            made.append(await publish(writers[number], "nightly", tmp_path / f"file{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(one, number)
        assert sorted(each.seq for each in made) == [1, 2, 3]
        by_seq = [each.link for each in sorted(made, key=lambda each: -each.seq)]
        for network in (home, *writers):
            assert await links(network, "nightly") == by_seq


async def test_only_after_a_certain_record(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home, "writer")) as writer:
        with pytest.raises(Conflict, match="has none at all"):
            await publish(writer, "nightly", tmp_path / "one", after=3)
        await publish(writer, "nightly", tmp_path / "one", after=0)
        with pytest.raises(Conflict, match=r"is at record 1 by node .*, not at number 0"):
            await publish(writer, "nightly", tmp_path / "two", after=0)
        assert (await publish(writer, "nightly", tmp_path / "two", after=1)).seq == 2


async def test_a_reader_may_not_publish(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        with pytest.raises(Refused, match="is a reader in network 'team' and may not publish"):
            await publish(reader, "nightly", tmp_path / "file")


async def test_a_protected_name(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home, "writer")) as writer:
        await publish(home, "release", tmp_path / "one", protect=True)
        with pytest.raises(Exception, match="is protected: only admins may write it"):
            await publish(writer, "release", tmp_path / "two")
        assert (await publish(home, "release", tmp_path / "one")).unchanged
        await publish(home, "release", tmp_path / "one", protect=False)
        assert (await publish(writer, "release", tmp_path / "two")).seq == 3


async def test_a_name_that_expires(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"for a while")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        made = await publish(home, "preview", tmp_path / "file", expires=5.0)
        await pull(reader, "preview", tmp_path / "copy")
        await trio.sleep(5.5)
        with pytest.raises(NotFound, match="'preview' expired at"):
            await pull(reader, "preview", tmp_path / "copy")
        assert (await pull(reader, made.ref, tmp_path / "copy")).seq == 1
        assert (await publish(home, "preview", tmp_path / "file")).seq == 2


async def test_names_that_are_nothing(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        with pytest.raises(NotFound, match="nothing was published as 'nightly' in network 'team'"):
            await pull(reader, "nightly", tmp_path / "copy")
        with pytest.raises(UsageError, match="cannot be a name"):
            await pull(reader, "../nightly", tmp_path / "copy")
        with pytest.raises(UsageError, match="in no network 'other'"):
            await pull(reader, "nightly", tmp_path / "copy", in_network="other")
        await trio.to_thread.run_sync(lambda: networking.create(home.node, name="other", report=ignore_progress))
        members = await home.members()
        while len(members.memberships.joined()) < 2:
            await trio.sleep(0.05)
        with pytest.raises(UsageError, match="in several networks"):
            await pull(home, "nightly", tmp_path / "copy")
        with pytest.raises(NotFound, match="in network 'other'"):
            await pull(home, "other/nightly", tmp_path / "copy")


async def test_names_are_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    async with founder(tmp_path / "a") as home, member(tmp_path / "b", await token(home)) as reader:
        for name in ("b/c", "a", "ß"):
            await publish(home, name, tmp_path / "file")
        for network in (home, reader):
            found = await history.names(network, report=ignore_progress)
            assert (found.network, found.names, found.notes) == ("team", ["a", "b/c", "ß"], [])


async def test_a_network_that_is_left_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    async with founder(tmp_path / "a") as home:
        network = await network_id(home)
        await publish(home, "nightly", tmp_path / "file")
        assert pinned_numbers(home.node, network, "nightly") == {1}
        await trio.to_thread.run_sync(
            lambda: networking.leave(home.node, name="team", destroy_key=True, report=ignore_progress)
        )
        assert home.node.refs.head(network, "nightly") is None
        assert pinned_numbers(home.node, network, "nightly") == set()


async def test_the_home_is_down(tmp_path: Path) -> None:
    """Nothing can be published, and what others know can be pulled, with a word about it."""
    tree = small_tree(tmp_path / "tree")
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        home = await nursery.start(brief_founder, tmp_path / "a")
        writer = await stack.enter_async_context(member(tmp_path / "b", await token(home.network, "writer")))
        reader = await stack.enter_async_context(member(tmp_path / "c", await token(home.network)))
        made = await publish(writer, "nightly", tree)
        await home.stop()
        await meet(writer, reader)
        with pytest.raises(HomeUnreachable, match=r"the home of 'nightly', node .*, cannot be reached"):
            await publish(writer, "nightly", tree / "large")
        got = await pull(reader, "nightly", tmp_path / "copy")
        assert (got.link, got.seq) == (made.link, 1)
        assert "the newest known elsewhere is record 1" in got.notes[0]
        assert contents(tmp_path / "copy") == contents(tree)
        again = await pull(reader, "nightly", tmp_path / "copy")
        assert "the newest known elsewhere is record 1" in again.notes[0]
        with pytest.raises(HomeUnreachable):
            await pull(reader, "unheard", tmp_path / "other")
        by_number = await pull(writer, "nightly@1", tmp_path / "by number")
        assert (by_number.link, by_number.notes) == (made.link, [])
