"""Operation: git_files. Files of a repository's packs into a folder, from the store or the network.

What the store has is linked or copied from there. The rest is fetched: large files into the store, laid out so that
they are linked, too, and written once; the others, and those of which the store has a part, to the store and the folder
from the same buffers.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import trio

from forge_p2p.content import walk
from forge_p2p.content.link import Link, Root
from forge_p2p.content.pathtext import path_bytes
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import CorruptChunk, NotFound, UsageError
from forge_p2p.ids import Hash
from forge_p2p.node.fetch.expanding import NODES_AHEAD, Leaf, fetch_ahead, leaves_below
from forge_p2p.node.fetch.fetching import Fetching, fetching
from forge_p2p.node.fetch.placing import KeptTarget, LargeTarget, Placer, Slot, SmallTarget
from forge_p2p.node.fetch.unpacking import stored_batches
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.operations.getting import is_whole, keep_cached
from forge_p2p.node.repositories.reading import open_repository, require_repository
from forge_p2p.node.repositories.results import RepositoryFilesResult
from forge_p2p.node.results import Progress
from forge_p2p.node.target import Target, parse_target
from forge_p2p.store.base import LAYOUT_MAX, Ingest
from forge_p2p.workspace.folderfiles import FolderFiles

if TYPE_CHECKING:
    from forge_p2p.node.fetch.receiving import Receiver
    from forge_p2p.node.network import Network

WHOLE_FROM = 4 << 20
"""Bytes from which a file is worth keeping as it is; copying less takes no time."""


async def files(
    network: "Network", *, what: str, folder: str, names: Mapping[str, str], in_network: str = "", report: Report
) -> RepositoryFilesResult:
    """Places files of the repository that the link or ticket `what` names in `folder`, an absolute path in text form.
    `names`: what each is to be called there, by its path in the listing. They are durable, their names are not. Raises
    `UsageError`, `Malformed`, `DiskError`, and as `get`."""
    started = time.monotonic()
    target = parse_target(what, (), in_network)
    require_repository(target.root, "this link")
    known = (await open_repository(network, target)).files
    chosen = _chosen(known, names)
    wanted = [known[path] for path in chosen]
    here, rest = await trio.to_thread.run_sync(_placed, network.node, path_bytes(folder), chosen, wanted)
    with here.folder as place:
        fetch = Missing(network, target, here, report)
        if rest:
            if lost := await fetch.place(rest, lays_out=here.may_link):
                await fetch.place(lost, lays_out=False)
            await trio.to_thread.run_sync(place.finish)
        whole = [(entry, place.open(entry)) for entry in here.copied + fetch.written if entry.size >= WHOLE_FROM]
    if whole:
        await network.afterwards(lambda: adopted(network.node, whole))
    return RepositoryFilesResult(
        files=len(wanted),
        linked=here.linked,
        bytes=sum(entry.size for entry in wanted),
        fetched_bytes=fetch.fetched,
        wire_sent=fetch.sent,
        wire_received=fetch.received,
        seconds=time.monotonic() - started,
    )


def _chosen(known: Mapping[bytes, Entry], names: Mapping[str, str]) -> dict[bytes, bytes]:
    """Names in the folder by path. Raises `UsageError` for what the repository has not, and for names that lead out."""
    chosen = {path_bytes(path): path_bytes(name) for path, name in names.items()}
    for path, name in chosen.items():
        if path not in known:
            raise UsageError(f"the repository has no {path.decode(errors='replace')}")
        if not name or b"/" in name or name in (b".", b".."):
            raise UsageError("a file of a pack needs a plain name")
    return chosen


def _placed(
    node: LocalNode, folder: bytes, names: Mapping[bytes, bytes], entries: Sequence[Entry]
) -> tuple["Here", list[Entry]]:
    """The folder, open, with what is here of `entries`, and the others; finished where there are none. Blocks."""
    place = FolderFiles(folder, names)
    try:
        here = Here(node, place)
        rest = here.place(entries)
        if not rest:
            place.finish()
    except BaseException:
        place.close()
        raise
    return here, rest


class Here:
    """Places what the store has. Blocks."""

    def __init__(self, node: LocalNode, folder: FolderFiles) -> None:
        self.linked = 0
        self.copied: list[Entry] = []
        self.folder = folder
        self._node = node

    @property
    def may_link(self) -> bool:
        """Whether the store and the folder are on one file system."""
        return os.stat(self._node.home.path).st_dev == self.folder.device

    def place(self, entries: Sequence[Entry]) -> list[Entry]:
        """Places those that are here as a whole; returns the others."""
        with self._node.store.ingest() as ingest:
            placer = Placer(self._node.store, ingest)
            placer.destination = self.folder
            lost = set(self._small_lost(placer, ingest, [entry for entry in entries if entry.level == 0]))
            return [
                entry
                for entry in entries
                if (entry.link.hash in lost if entry.level == 0 else not self._is_placed(entry, placer))
            ]

    def _small_lost(self, placer: Placer, ingest: Ingest, entries: Sequence[Entry]) -> Iterator[Hash]:
        """Places small files in one go; what of them is not here."""
        missing = set(ingest.missing(entry.link.hash for entry in entries))
        yield from missing
        here = [entry for entry in entries if entry.link.hash not in missing]
        slots = [(entry.link.hash, entry.size, Slot(SmallTarget(entry))) for entry in here]
        yield from (chunk for chunk, _, _ in placer.place_stored(slots))

    def _is_placed(self, entry: Entry, placer: Placer) -> bool:
        store = self._node.store
        try:
            chunks = _chunks(entry.link, store.read)
            if store.missing(chunk for chunk, _ in chunks):
                return False
            if entry.size >= WHOLE_FROM and store.link_into(self.folder.place(entry), chunks):
                self.linked += 1
                return True
            target = LargeTarget(entry, 0, entry.size)
            self.copied.append(entry)
            return not any(placer.place_stored(batch) for batch in stored_batches(self._node, entry.link, target))
        except (NotFound, CorruptChunk):
            return False


def _chunks(link: Link, read: walk.Read) -> list[tuple[Hash, int]]:
    return [(leaf.hash, leaf.size) for leaf in walk.leaves(link, read)]


def adopted(node: LocalNode, files: Sequence[tuple[Entry, int]]) -> None:
    """Lets the store keep large files, open as these descriptors, as they lie in the folder, so that the next one who
    wants them gets them without a copy. Closes the descriptors. Blocks."""
    for entry, descriptor in files:
        try:
            with suppress(NotFound, CorruptChunk):
                node.store.adopt_file(b"/proc/self/fd/%d" % descriptor, _chunks(entry.link, node.store.read))
        finally:
            os.close(descriptor)


class Missing:
    """Fetches what is not here, as a whole or in part, and places it. `written`: what was written to the folder and, in
    the order in which it came, to the store."""

    def __init__(self, network: "Network", target: Target, here: Here, report: Report) -> None:
        self.written: list[Entry] = []
        self.fetched = self.sent = self.received = 0
        self._network = network
        self._target = target
        self._here = here
        self._report = report

    async def place(self, entries: Sequence[Entry], *, lays_out: bool) -> list[Entry]:
        """Those that the store lost meanwhile. `lays_out`: large files may come from there."""
        total = sum(entry.size for entry in entries)
        kept: list[Entry] = []

        async def produce(receiver: "Receiver") -> None:
            receiver.restore_to(self._here.folder)
            small = [entry for entry in entries if entry.level == 0]
            await receiver.want([(entry.link.hash, entry.size, Slot(SmallTarget(entry))) for entry in small])
            large = [entry for entry in entries if entry.level > 0]
            async with aclosing(fetch_ahead(receiver, [entry.link for entry in large], NODES_AHEAD)) as nodes:
                number = 0
                async for link, node in nodes:
                    entry = large[number]
                    aim = _Aim(entry, number, fetch.ingest, lays_out=lays_out)
                    number += 1
                    async with aclosing(leaves_below(receiver, link, node)) as batches:
                        async for batch in batches:
                            goal = await aim.of(batch)
                            await receiver.want([(chunk, size, Slot(goal, at, size)) for chunk, size, at in batch])
                    (kept if aim.is_laid_out else self.written).append(entry)

        async with fetching(self._network, self._target) as fetch:
            counts = await fetch.run(produce, lambda counts: self._report(Progress("fetch", counts.placed, total)))
            await fetch.commit()
            lost = await trio.to_thread.run_sync(self._here.place, kept) if kept else []
            await _keep(self._network, self._target.root, fetch)
            sent, received = fetch.wire()
        self.fetched += counts.fetched
        self.sent += sent
        self.received += received
        return lost


class _Aim:
    """Where the chunks of one large file go."""

    def __init__(self, entry: Entry, number: int, ingest: Ingest, *, lays_out: bool) -> None:
        self._entry = entry
        self._number = number
        self._ingest = ingest
        self._lays_out = lays_out and WHOLE_FROM <= entry.size <= LAYOUT_MAX
        self._target: LargeTarget | KeptTarget | None = None

    @property
    def is_laid_out(self) -> bool:
        return isinstance(self._target, KeptTarget)

    async def of(self, leaves: Sequence[Leaf]) -> LargeTarget | KeptTarget:
        """Their target. It is decided by the first: of what is here in part, that part would have to be copied."""
        if self._target is None:
            names = {chunk for chunk, _, _ in leaves}
            if self._lays_out and len(await trio.to_thread.run_sync(self._ingest.missing, names)) == len(names):
                self._target = KeptTarget(self._number, laid_out=True)
            else:
                self._target = LargeTarget(self._entry, self._number, self._entry.size)
        return self._target


async def _keep(network: "Network", root: Root, fetch: Fetching) -> None:
    """What is here as a whole now is kept for others and for the next time, until the room is needed."""
    if await trio.to_thread.run_sync(is_whole, network.node, root):
        await trio.to_thread.run_sync(keep_cached, network.node, root)
        await fetch.keep()
    await trio.to_thread.run_sync(fetch.remember, "complete")
