"""What is pushed is brought ahead to nodes that have lately fetched: real nodes over QUIC."""

import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
import trio
from msgspec import structs

from forge_p2p.content.gitmanifest import (
    FORMAT,
    MANIFEST,
    MANIFEST_MAX,
    GitManifest,
    GitPack,
    GitRef,
    encode_manifest,
    manifest_entry,
    pack_paths,
)
from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry, encode_pages
from forge_p2p.errors import HostileSnapshot, Malformed, NotFound
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.network import Network
from forge_p2p.node.operations.adding import Adder, Writer, store_pages
from forge_p2p.node.operations.getting import listing_here
from forge_p2p.node.refs.naming import parse_name
from forge_p2p.node.refs.writing import Change, write
from forge_p2p.node.repositories import putting, reading
from forge_p2p.node.repositories.ahead import REPOSITORIES_MAX
from forge_p2p.node.repositories.putting import NO_CACHE
from forge_p2p.node.repositories.reading import ALONG_MAX
from forge_p2p.node.repositories.results import RepositoryPutResult
from forge_p2p.workspace.scan import scan
from tests.node.names import PATIENCE
from tests.node.test_members import founder, member, token

REF = b"refs/heads/main"


class Source:
    """A repository at one node to which packs are pushed. What is in a pack is none of a node's business."""

    def __init__(self, network: Network, folder: Path, name: str = "project") -> None:
        self._network = network
        self._folder = folder
        self._name = name
        self._packs: list[GitPack] = []
        self._put = RepositoryPutResult("", "", 0, "", held=False, new_bytes=0, seconds=0.0, notes=[])

    async def push(self, content: bytes) -> str:
        """Puts a pack of these bytes; the link of what the repository is then."""
        pack = GitPack(bytes([len(self._packs)]) * 20, 1, [], [])
        self._packs.append(pack)
        folder = self._folder / str(len(self._packs))
        manifest = GitManifest(FORMAT, "sha1", REF, [GitRef(REF, pack.hash)], list(self._packs))
        files = {MANIFEST: encode_manifest(manifest), **dict.fromkeys(pack_paths(pack.hash), content)}
        for path, data in files.items():
            file = folder / path.decode()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        before = self._put
        self._put = await putting.put(
            self._network,
            name=self._name,
            folder=path_text(str(folder).encode()),
            base=before.link,
            after=before.seq,
            report=ignore_progress,
        )
        return self._put.link


async def read(network: Network, name: str = "project") -> str:
    """The link of what a repository is, asked for as git's helper does."""

    async def nowhere(data: bytes) -> None:
        pass

    return (await reading.read(network, name=name, emit=nowhere, report=ignore_progress)).link


async def lie(network: Network, name: str, folder: Path, files: int) -> Root:
    """Makes a name stand for a repository whose list names one file so many times."""

    def made() -> Root:
        folder.mkdir()
        (folder / "file").write_bytes(b"x")

        def listed(writer: Writer, entries: Iterable[Entry]) -> Root:
            (one,) = entries
            lies = (structs.replace(one, path=b"%0200d" % number) for number in range(files))
            return Root(Kind.GIT, store_pages(writer, encode_pages(lies)))

        found = scan(bytes(folder), NO_CACHE)
        return Adder(network.node, found, NO_CACHE, ignore_progress, rooted=listed).run()

    root = await trio.to_thread.run_sync(made)
    members = await network.members()
    named = parse_name(members.memberships.joined(), name)
    holding = await trio.to_thread.run_sync(partial(members.holdings.keep, named.network, root, origin=True))
    members.holdings.tell(holding)
    await write(members, named, lambda head: Change(root))
    return root


async def files_here(network: Network, link: str, *, of: bytes) -> list[bytes]:
    """Paths of files that are in the store, once what this root lists is there; up to the one called `of`."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                entries = listing_here(network.node, parse_link(link))
                first: Link = manifest_entry(entries).link
                if network.node.store.has(first.hash):
                    here = [entry.path for entry in entries if entry.size and network.node.store.has(entry.link.hash)]
                    if of in here:
                        return here
            except NotFound:
                pass
            await trio.sleep(0.02)


async def test_a_small_push_is_there_before_it_is_asked_for(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        source = Source(origin, tmp_path / "source")
        first = await source.push(b"first")
        assert await read(reader) == first
        second = await source.push(b"second")
        newest = pack_paths(b"\1" * 20)
        assert set(newest) <= set(await files_here(reader, second, of=newest[-1]))
        assert await read(reader) == second


async def test_of_a_large_one_there_is_the_manifest(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        source = Source(origin, tmp_path / "source")
        await source.push(b"first")
        await read(reader)
        second = await source.push(bytes(200_000) + b"x" * ALONG_MAX)
        assert not set(pack_paths(b"\1" * 20)) & set(await files_here(reader, second, of=MANIFEST))


async def test_of_many_pushes_the_last_one_is_there(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        source = Source(origin, tmp_path / "source")
        await source.push(b"first")
        await read(reader)
        last = ""
        for content in (b"second", b"third", b"fourth"):
            last = await source.push(content)
        await files_here(reader, last, of=pack_paths(b"\3" * 20)[-1])


async def test_there_is_a_most_that_is_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forge_p2p.node.repositories.ahead.BROUGHT_MAX", 1000)
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        source = Source(origin, tmp_path / "source")
        await source.push(b"first")
        await read(reader)
        second = await source.push(random.Random(1).randbytes(100_000))
        await files_here(reader, second, of=pack_paths(b"\1" * 20)[-1])
        members, heard = await reader.members(), trio.Event()
        members.names.told.append(lambda record: heard.set() if record.seq == 3 else None)
        third = await source.push(b"third")
        with trio.fail_after(PATIENCE):
            await heard.wait()
            while members.ahead._bringing:
                await trio.sleep(0.02)
        assert not reader.node.store.has(parse_link(third).link.hash)
        assert await read(reader) == third


async def test_of_one_with_a_list_without_end_there_is_nothing(tmp_path: Path) -> None:
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        source, other = Source(origin, tmp_path / "source"), Source(origin, tmp_path / "other", "other")
        for each in (source, other):
            await each.push(b"first")
        await read(reader)
        await read(reader, "other")
        root = await lie(origin, "project", tmp_path / "lie", 6_000)
        assert root.link.size > ALONG_MAX
        second = await other.push(b"second")
        await files_here(reader, second, of=MANIFEST)
        assert not reader.node.store.has(root.link.hash)


async def test_a_list_that_no_repository_has_is_refused(tmp_path: Path) -> None:
    """Before it is in anybody's memory, whether it is here already or not."""
    async with founder(tmp_path / "a") as origin, member(tmp_path / "b", await token(origin)) as reader:
        root = await lie(origin, "project", tmp_path / "lie", 300_000)
        assert root.link.size > MANIFEST_MAX
        for each in (reader, origin):
            with pytest.raises((HostileSnapshot, Malformed), match="the most is"):
                await read(each)


async def test_who_never_asked_gets_nothing_nor_who_asked_for_much_else_since(tmp_path: Path) -> None:
    async with (
        founder(tmp_path / "a") as origin,
        member(tmp_path / "b", await token(origin)) as reader,
        member(tmp_path / "c", await token(origin)) as bystander,
        member(tmp_path / "d", await token(origin)) as forgetful,
    ):
        source = Source(origin, tmp_path / "source")
        await source.push(b"first")
        for each in (reader, forgetful):
            await read(each)
        members = await forgetful.members()
        (network,) = members.peering.networks
        for number in range(REPOSITORIES_MAX):
            members.ahead.was_read(network, f"other-{number}")
        second = await source.push(b"second")
        await files_here(reader, second, of=MANIFEST)
        root = parse_link(second).link.hash
        assert not bystander.node.store.has(root)
        assert not forgetful.node.store.has(root)
