"""Operation: git_put. A manifest and new packs become what a name stands for.

files -> store -> listing with the packs that were there before -> record put at the home, if nobody was faster
"""

import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from forge_p2p.content import walk
from forge_p2p.content.gitmanifest import (
    VOUCHED_LISTING,
    VOUCHED_MANIFEST,
    decode_manifest,
    manifest_entry,
    paths_of,
    repository_listing,
)
from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.content.membership import Role
from forge_p2p.content.pathtext import path_bytes
from forge_p2p.content.ref import RefRecord
from forge_p2p.content.snapshot import Entry, EntryKind, encode_pages
from forge_p2p.errors import Malformed, UsageError
from forge_p2p.node.fetch.prefetching import prefetch
from forge_p2p.node.local import LocalNode, Report, ignore_progress
from forge_p2p.node.operations.adding import Adder, Writer, hold, store_pages
from forge_p2p.node.operations.getting import is_whole, listing_here
from forge_p2p.node.refs.naming import Named, parse_name
from forge_p2p.node.refs.publishing import held_elsewhere
from forge_p2p.node.refs.retention import sweep
from forge_p2p.node.refs.writing import Change, require_writer, write
from forge_p2p.node.repositories.reading import open_repository, require_repository
from forge_p2p.node.repositories.results import RepositoryPutResult
from forge_p2p.node.results import Progress
from forge_p2p.node.target import Target
from forge_p2p.workspace.scan import scan
from forge_p2p.workspace.statcache import StatCache

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network

NO_CACHE = StatCache(Path(os.devnull))
"""Remembers nothing: what is put comes from a folder that nobody scans again."""


async def put(
    network: "Network", *, name: str, folder: str, base: str, after: int, in_network: str = "", report: Report
) -> RepositoryPutResult:
    """Makes `name` stand for the manifest in `folder` and its packs: those that are there, in `packs/`, and those of
    `base`, the link that the name stood for by record `after`; empty and 0 for a new name. Raises `Conflict` when
    another record came first, `Malformed`, and as `publish`."""
    started = time.monotonic()
    members = await network.members()
    named = parse_name(members.memberships.joined(), name, in_network)
    require_writer(named)
    if named.seq:
        raise UsageError(f"{name!r} names a record; a push makes the next one", hint="leave @ and its number out")
    before: dict[bytes, Entry] = {}
    vouched: dict[bytes, Link] = {}
    if base:
        before = await _before(network, named, parse_link(base))
        if named.joined.membership.role is not Role.ADMIN:
            vouched = await trio.to_thread.run_sync(_vouched, members, named, after, before)
    report(Progress("ingest"))
    root, new_bytes = await trio.to_thread.run_sync(stored, network.node, folder, before, vouched)
    await _offer(members, named, root)
    report(Progress("publish"))

    def intent(head: RefRecord | None) -> Change:
        return Change(root, bool(head and head.protected))

    written = await write(members, named, intent, after=after, sweeps=False)
    await network.afterwards(partial(sweep, network.node, members.holdings, named.network, named.name))
    held = await held_elsewhere(network, members, named, written, report)
    notes = []
    if not held and not network.stays:
        notes.append("nobody else has the content yet, and this command ends: forge up keeps it within reach")
    record = written.record
    link = format_link(record.target)
    seconds = time.monotonic() - started
    return RepositoryPutResult(named.joined.name, named.name, record.seq, link, held, new_bytes, seconds, notes)


async def _before(network: "Network", named: Named, base: Root) -> dict[bytes, Entry]:
    """The files of the packs there were, all of them here: who pushes can give everything that the name stands for."""
    require_repository(base, "what is pushed to")
    target = Target(base, None, (), named.joined.name)
    files = (await open_repository(network, target)).files
    holding = (await network.members()).holdings.find(named.network, base.link.hash)
    known = holding is not None and holding.complete
    if not known and not await trio.to_thread.run_sync(is_whole, network.node, base):
        await prefetch(network, base, named.joined.name, partial(hold, network.node, base))
    return files


def _vouched(members: "Members", named: Named, seq: int, before: dict[bytes, Entry]) -> dict[bytes, Link]:
    """What a record that is not an admin's carries of the newest that is: that was record `seq`, or it carries the
    same. Blocks."""
    last = members.names.book.at(named.network, named.name, seq)
    if last.role is Role.ADMIN and last.target.kind is Kind.GIT:
        entries = listing_here(members.node, last.target)
        return {VOUCHED_LISTING: last.target.link, VOUCHED_MANIFEST: manifest_entry(entries).link}
    return {path: before[path].link for path in (VOUCHED_LISTING, VOUCHED_MANIFEST) if path in before}


def stored(node: LocalNode, folder: str, before: dict[bytes, Entry], vouched: dict[bytes, Link]) -> tuple[Root, int]:
    """The root of what is in `folder` and of packs that were there `before`, durable, and the bytes that are new.
    Blocks. Raises `Malformed`."""

    def rooted(writer: Writer, entries: Iterable[Entry]) -> Root:
        files = {entry.path: entry for entry in entries if entry.kind == EntryKind.FILE}
        manifest = manifest_entry(files.values()).link
        writer.settle()
        decoded = decode_manifest(b"".join(walk.stream(manifest, node.store.read)))
        files = {**before, **files}
        if missing := [path for path in paths_of(decoded) if path not in files]:
            raise Malformed(f"{missing[0].decode()} is neither pushed nor there already")
        pages = encode_pages(repository_listing(manifest, decoded, files, vouched))
        return Root(Kind.GIT, store_pages(writer, pages))

    found = scan(path_bytes(folder), NO_CACHE)
    adder = Adder(node, found, NO_CACHE, ignore_progress, rooted=rooted)
    return adder.run(), adder.new_bytes


async def _offer(members: "Members", named: Named, root: Root) -> None:
    """Lets the members of the network have the content, before anybody hears of it."""
    keep = partial(members.holdings.keep, named.network, root, origin=True, pinned=False)
    members.holdings.tell(await trio.to_thread.run_sync(keep))
    if named.network in members.lookups:
        members.lookups[named.network].announce(root.link.hash)
