"""Operation: add. A directory or file becomes chunks in the store, and a link.

    scan -> (unchanged? done) -> read, cut, hash -> store -> list nodes, listing -> commit -> look again -> pin

Small files go through in batches of 4 MiB, large ones in the chunker's; while one batch is being compressed and written
by another thread the next is read, cut and hashed by this one.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Self

from forge_p2p.content.chunking import Chunker
from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root, hash_bytes
from forge_p2p.content.linktext import format_link
from forge_p2p.content.pathtext import path_bytes, path_text
from forge_p2p.content.snapshot import Entry, encode_pages
from forge_p2p.content.tree import TreeBuilder
from forge_p2p.content.walk import reach
from forge_p2p.errors import CorruptChunk, DiskError, DiskFull, NotFound, SourceChanged
from forge_p2p.ids import Hash
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.results import AddResult, Progress
from forge_p2p.store.base import Ingest, Keep, Pin
from forge_p2p.workspace.found import Found
from forge_p2p.workspace.scan import Scan, rescan_changes
from forge_p2p.workspace.source import SourceReader
from forge_p2p.workspace.statcache import StatCache

BATCH_BYTES = 4 * 1024 * 1024
BATCH_CHUNKS = 512

TELL_INTERVAL = 0.1
"""Seconds between two reports from within a file."""

INTERIM = 3600.0
"""Seconds for which new content is kept without its lasting pin, which the caller sets in a moment."""

Rooted = Callable[["Writer", Iterable[Entry]], Root]
"""Stores what holds a directory's entries together, and says what that is."""


def add(node: LocalNode, *, path: str, report: Report, keep: bool = True) -> AddResult:
    """Stores what is at `path` (text form, absolute) and pins it until `forge store` is told otherwise; `keep=False`
    leaves the pin to the caller. Raises `UsageError`, `SourceChanged`, `DiskError`, `DiskFull`."""
    started = time.monotonic()
    cache = node.stat_cache
    report(Progress("scan"))
    found = node.look(path_bytes(path), cache)
    adder = Adder(node, found, cache, report)
    root = adder.run()
    if keep:
        keep_added(node, root)
    return AddResult(
        link=format_link(root),
        kind=root.kind.value,
        files=sum(item.is_file for item in found.items),
        bytes=sum(item.size for item in found.items),
        new_bytes=adder.new_bytes,
        stored_bytes=adder.stored_bytes,
        seconds=time.monotonic() - started,
        notes=[str(skipped) for skipped in found.skipped],
    )


def keep_added(node: LocalNode, root: Root) -> None:
    """Keeps what was added here until `forge store` is told otherwise. Blocks."""
    node.store.pin(f"add/{format_link(root)}", root, Keep.KEPT)


class Adder:
    """One add under way. `new_bytes` and `stored_bytes` count what the store did not have, raw and as it keeps it.
    `patient`: a file that cannot be read, or that changes meanwhile, ends nothing; it is not in the snapshot then, but
    in `left_out`, with the reason. `rooted`: what becomes of a directory's entries, if not a tree."""

    def __init__(
        self,
        node: LocalNode,
        found: Scan,
        cache: StatCache,
        report: Report,
        *,
        patient: bool = False,
        rooted: Rooted | None = None,
    ) -> None:
        self.new_bytes = 0
        self.stored_bytes = 0
        self.left_out: dict[bytes, str] = {}
        self._patient = patient
        self._rooted = rooted or _as_tree
        self._node = node
        self._scan = found
        self._cache = cache
        self._report = report
        self._read_bytes = 0
        self._told_at = 0.0

    def run(self) -> Root:
        """The root of what was scanned, with everything it reaches in the store and durable."""
        known = self._scan.known_root
        if known is not None and self._is_whole(known):
            return known
        with self._node.store.ingest() as ingest, SourceReader(self._scan) as source:
            writer = Writer(ingest)
            with writer:
                links = self._read_files(source, writer, self._to_read(ingest))
                self._check_unchanged()
                root = self._finish(writer, links)
            ingest.commit(_interim_pin(root))
            tallied = ingest.statistics()
        self.new_bytes, self.stored_bytes = tallied.raw_bytes, tallied.stored_bytes
        self._scan.remember(self._cache, links, root)
        self._scan = replace(self._scan, items=self._scan.resolved(links))
        return root

    @property
    def scan(self) -> Scan:
        """What was added: after `run`, all links known."""
        return self._scan

    def _is_whole(self, root: Root) -> bool:
        """Whether a root that was added before is still here: what is pinned is, unless damage was found. It then stays
        until the caller has pinned it."""
        store = self._node.store
        if store.statistics().quarantined or not self._is_pinned(root):
            return False
        hold(self._node, root)
        return self._is_pinned(root)

    def _is_pinned(self, root: Root) -> bool:
        interim = _interim(root)
        return any(pin.root == root and pin.name != interim for pin in self._node.store.pins())

    def _to_read(self, ingest: Ingest) -> list[Found]:
        """Files whose content is not known, and those of whose content something was collected or damaged since."""
        known = [item for item in self._scan.items if item.is_file and not item.is_unknown]
        gone = set(ingest.missing([Hash(item.payload) for item in known]))
        lost = {item.path for item in known if Hash(item.payload) in gone}
        lost |= {item.path for item in known if item.level and item.path not in lost and self._has_lost(ingest, item)}
        return [item for item in self._scan.items if item.is_unknown or item.path in lost]

    def _has_lost(self, ingest: Ingest, item: Found) -> bool:
        """Whether any chunk of a large file is not here. Those that are stay: its name alone would keep only itself."""
        root = Root(Kind.BLOB, Link(Hash(item.payload), item.size, item.level))
        try:
            return bool(ingest.missing(reach(root, self._node.store.read)))
        except (NotFound, CorruptChunk):
            return True

    def _read_files(self, source: SourceReader, writer: "Writer", files: Sequence[Found]) -> dict[bytes, Link]:
        total = sum(item.size for item in files)
        links: dict[bytes, Link] = {}
        chunker = Chunker()
        for number, item in enumerate(files):
            try:
                links[item.path] = self._read_file(source, writer, chunker, item, number)
            except (SourceChanged, DiskError) as error:
                if not self._patient or isinstance(error, DiskFull) or writer.failed:
                    raise
                changed = isinstance(error, SourceChanged)
                self.left_out[item.path] = "it changed while it was read" if changed else error.message
            self._read_bytes += item.size
            if number % 256 == 0 or item.size > BATCH_BYTES:
                self._report(Progress("ingest", self._read_bytes, total, number, len(files)))
        self._report(Progress("ingest", total, total, len(files), len(files)))
        return links

    def _read_file(self, source: SourceReader, writer: "Writer", chunker: Chunker, item: Found, number: int) -> Link:
        if item.size > CHUNK_MAX:
            return self._read_large(source, writer, chunker, item, number)
        content = source.read(item)
        name = hash_bytes(content)
        writer.put_small(name, content)
        return Link(name, len(content), 0)

    def _read_large(self, source: SourceReader, writer: "Writer", chunker: Chunker, item: Found, group: int) -> Link:
        descriptor = source.open_verified(item)
        try:
            builder = TreeBuilder()
            done = 0
            for chunks in chunker.cut_file(descriptor, item.size, self._name(item.path)):
                writer.put_behind([(chunk.hash, chunk.data) for chunk in chunks], group)
                builder.add_all([(chunk.hash, chunk.length) for chunk in chunks])
                writer.put_nodes(builder.take_nodes())
                done += sum(chunk.length for chunk in chunks)
                self._tell(done)
            source.check_unchanged(descriptor, item)
        finally:
            os.close(descriptor)
        link = builder.finish()
        writer.put_nodes(builder.take_nodes())
        return link

    def _tell(self, done: int) -> None:
        """Reports how far a large file is; not after every batch, for a report wakes another thread."""
        now = time.monotonic()
        if now >= self._told_at + TELL_INTERVAL:
            self._told_at = now
            self._report(Progress("ingest", self._read_bytes + done, None))

    def _finish(self, writer: "Writer", links: dict[bytes, Link]) -> Root:
        if self._scan.kind is Kind.BLOB:
            (item,) = self._scan.resolved(links)
            return Root(Kind.BLOB, links.get(item.path, Link(Hash(item.payload), item.size, item.level)))
        return self._rooted(writer, self._scan.entries(links))

    def _name(self, path: bytes) -> str:
        """A path of the scan as messages have it."""
        return path_text(os.path.join(self._scan.root, path).rstrip(b"/"))

    def _check_unchanged(self) -> None:
        if self._patient:  # each file was compared after it was read; they need not be of one moment
            stays = [each for each in self._scan.items if each.path not in self.left_out]
            self._scan = replace(self._scan, items=stays)
            return
        changed = rescan_changes(self._scan)
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise SourceChanged(
                f"{self._name(changed[0])}{more} changed while the directory was read; nothing was shared",
                hint="run the command again when nothing writes there: what was read already goes fast",
            )


def hold(node: LocalNode, root: Root) -> None:
    """Keeps `root` until its lasting pin is set."""
    pin = _interim_pin(root)
    node.store.pin(pin.name, pin.root, pin.keep, pin.expires)


def _interim_pin(root: Root) -> Pin:
    now = time.time()
    return Pin(_interim(root), root, Keep.CACHED, now + INTERIM, now)


def _interim(root: Root) -> str:
    return f"interim/{format_link(root)}"


def _as_tree(writer: "Writer", entries: Iterable[Entry]) -> Root:
    return Root(Kind.TREE, store_pages(writer, encode_pages(entries)))


def store_pages(writer: "Writer", pages: Iterable[bytes]) -> Link:
    """Stores a listing and returns its link."""
    builder = TreeBuilder()
    for chunks in Chunker().cut_pieces(pages):
        writer.put_behind([(chunk.hash, chunk.data) for chunk in chunks], None)
        builder.add_all([(chunk.hash, chunk.length) for chunk in chunks])
    link = builder.finish()
    writer.put_nodes(builder.take_nodes())
    return link


class Writer:
    """Puts batches into an ingest from a second thread, at most one batch behind. A context manager: leaving it waits
    for the last batch and raises what went wrong with any."""

    def __init__(self, ingest: Ingest) -> None:
        self.failed = False
        """Something was not stored, be it of what was put long before."""
        self._ingest = ingest
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="forge-put")
        self._under_way: Future[None] | None = None
        self._small: list[tuple[Hash, bytes]] = []
        self._small_bytes = 0

    def put_small(self, name: Hash, content: bytes) -> None:
        self._small.append((name, content))
        self._small_bytes += len(content)
        if self._small_bytes >= BATCH_BYTES or len(self._small) >= BATCH_CHUNKS:
            self._flush_small()

    def put_nodes(self, nodes: Iterable[tuple[Hash, bytes]]) -> None:
        for name, content in nodes:
            self.put_small(name, content)

    def put_behind(self, chunks: Sequence[tuple[Hash, memoryview]], group: int | None) -> None:
        """Puts a chunker's batch. It is stored when something is put next: the next one is cut meanwhile."""
        self._wait()
        self._under_way = self._pool.submit(self._ingest.put, chunks, group)

    def settle(self) -> None:
        """Waits until all that was put can be read."""
        self._flush_small()
        self._wait()

    def _flush_small(self) -> None:
        batch, self._small, self._small_bytes = self._small, [], 0
        if batch:
            self._wait()
            self._under_way = self._pool.submit(self._ingest.put, batch)

    def _wait(self) -> None:
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            self.failed |= under_way.exception() is not None
            under_way.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            self._pool.shutdown()
