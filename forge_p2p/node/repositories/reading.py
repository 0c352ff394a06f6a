"""Operation: git_read. What a name or a ticket says that a repository is: its manifest, from here or fetched."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from forge_p2p.content import walk
from forge_p2p.content.gitmanifest import (
    MANIFEST,
    MANIFEST_MAX,
    VOUCHED_LISTING,
    VOUCHED_MANIFEST,
    GitManifest,
    decode_manifest,
    files_of,
    manifest_entry,
)
from forge_p2p.content.gitpolicy import fault_against
from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.membership import Role
from forge_p2p.content.ref import RefRecord
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.content.ticketname import is_ticket
from forge_p2p.errors import CorruptChunk, Malformed, NotFound, Untrusted, UsageError
from forge_p2p.node.fetch.expanding import listing
from forge_p2p.node.fetch.fetching import fetching
from forge_p2p.node.fetch.prefetching import want_all
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.operations.getting import listing_here
from forge_p2p.node.refs.naming import parse_name
from forge_p2p.node.refs.pulling import resolve
from forge_p2p.node.repositories.results import RepositoryResult
from forge_p2p.node.results import Progress
from forge_p2p.node.target import Target, parse_target

if TYPE_CHECKING:
    from forge_p2p.node.fetch.receiving import Receiver
    from forge_p2p.node.network import Network

BLOCK = 64
"""Records of a log that are read at once."""

ALONG_MAX = 1 << 20
"""Bytes of new packs that come with the manifest that names them."""

_ABOUT = (MANIFEST, VOUCHED_LISTING, VOUCHED_MANIFEST)

Emit = Callable[[bytes], Awaitable[None]]


async def read(network: "Network", *, name: str, in_network: str = "", emit: Emit, report: Report) -> RepositoryResult:
    """Hands the manifest of the repository called `name`, or that a ticket is for, to `emit`, checked. Nothing of one
    that was not published yet. Raises as `pull`, and `UsageError` for what is no repository."""
    report(Progress("connect"))
    if is_ticket(name):
        target = parse_target(name)
        assert target.ticket is not None
        require_repository(target.root, "this ticket")
        await emit((await open_repository(network, target)).data)
        author = target.ticket.server.hex()
        return RepositoryResult("", "", 0, format_link(target.root), author, "", "", member=False, notes=[])
    members = await network.members()
    named = parse_name(members.memberships.joined(), name, in_network)
    own_role = named.joined.membership.role.name.lower()
    try:
        record, notes = await resolve(members, named)
    except NotFound:
        if named.seq or await trio.to_thread.run_sync(members.names.book.head, named.network, named.name) is not None:
            raise
        return RepositoryResult(named.joined.name, named.name, 0, "", "", "", own_role, member=True, notes=[])
    require_repository(record.target, f"{named.name!r}")
    repository = await open_repository(network, Target(record.target, None, (), named.joined.name))
    by_admin: RefRecord | None = record
    if record.role is not Role.ADMIN:
        by_admin = await trio.to_thread.run_sync(newest_by_admin_before, network.node, record)
    require_vouched(record, repository, by_admin)
    members.ahead.was_read(named.network, named.name)
    await emit(repository.data)
    return RepositoryResult(
        network=named.joined.name,
        name=named.name,
        seq=record.seq,
        link=format_link(record.target),
        author=record.author.hex(),
        role=record.role.name.lower(),
        own_role=own_role,
        member=True,
        notes=notes,
    )


def require_repository(root: Root, what: str) -> None:
    """Raises `UsageError` for a root of another kind."""
    if root.kind is not Kind.GIT:
        raise UsageError(f"{what} stands for files, not for a git repository", hint="forge pull gets them")


@dataclass(frozen=True, slots=True)
class Repository:
    """What a root of kind `git` holds: the manifest, and as bytes; the files of its packs, and others, by path; the
    manifest that is vouched for, if there is one, and the link of its listing."""

    data: bytes
    manifest: GitManifest
    files: dict[bytes, Entry]
    vouched: GitManifest | None
    vouched_listing: Link | None


async def open_repository(network: "Network", target: Target) -> Repository:
    """What is in a repository, checked, from the store or fetched. Raises `Malformed`, and as `get`."""
    try:
        return await trio.to_thread.run_sync(_here, network.node, target.root)
    except (NotFound, CorruptChunk):
        await _fetch(network, target, MANIFEST_MAX)
    return await trio.to_thread.run_sync(_here, network.node, target.root)


def _here(node: LocalNode, root: Root) -> Repository:
    if root.link.size > MANIFEST_MAX:
        raise Malformed(f"a repository whose files' list has {root.link.size} bytes: the most is {MANIFEST_MAX}")
    entries = listing_here(node, root)
    data = b"".join(walk.stream(manifest_entry(entries).link, node.store.read))
    manifest = decode_manifest(data)
    files = files_of(manifest, entries)
    if VOUCHED_LISTING not in files:
        return Repository(data, manifest, files, None, None)
    listing_link = files[VOUCHED_LISTING].link
    if max(listing_link.size, files[VOUCHED_MANIFEST].size) > MANIFEST_MAX:
        raise Malformed(f"what a repository is vouched for by has more than {MANIFEST_MAX} bytes")
    listed = [entry for page in walk.entries(listing_link, node.store.read) for entry in page]
    if manifest_entry(listed).link != files[VOUCHED_MANIFEST].link:
        raise Malformed("what a repository is vouched for by is not of one piece")
    vouched = decode_manifest(b"".join(walk.stream(files[VOUCHED_MANIFEST].link, node.store.read)))
    return Repository(data, manifest, files, vouched, listing_link)


async def bring_what_is_small(network: "Network", target: Target, spent: Callable[[int], object]) -> None:
    """Has what is in a repository in the store, as far as it is little. `spent` is told the bytes that came for it,
    whatever becomes of them. Raises as `get`."""
    try:
        await trio.to_thread.run_sync(_here, network.node, target.root)
    except (NotFound, CorruptChunk):
        await _fetch(network, target, ALONG_MAX, spent)


async def _fetch(
    network: "Network", target: Target, most: int, spent: Callable[[int], object] = lambda fetched: None
) -> None:
    """Brings everything but the packs into the store, no file of more than `most` bytes, nor the list of them; the
    packs, too, if what is new of them is little: who asks for the one wants the other next, and a fetch of its own
    would take as long again."""

    async def produce(receiver: "Receiver") -> None:
        entries = await listing(receiver, target.root.link, most=most)
        manifest_entry(entries)
        wanted = [entry for entry in entries if entry.path in _ABOUT and entry.size <= most]
        packs = [entry for entry in entries if entry.path not in _ABOUT and entry.kind == EntryKind.FILE]
        hashes = [entry.link.hash for entry in packs]
        missing = set(await trio.to_thread.run_sync(network.node.store.missing, hashes))
        new = [entry for entry in packs if entry.link.hash in missing]
        await want_all(receiver, wanted + (new if sum(entry.size for entry in new) <= ALONG_MAX else []))

    async with fetching(network, target) as fetch:
        try:
            await fetch.run(produce, lambda counts: None)
            await fetch.commit()
        finally:
            spent(sum(source.fetched for source in fetch.sources()))


def newest_by_admin_before(node: LocalNode, record: RefRecord) -> RefRecord | None:
    """The newest record of an admin's before `record`, as far as the log is here. Blocks."""
    last = record.seq - 1
    while last > 0:
        first = max(1, last - BLOCK + 1)
        for each in reversed(node.refs.range(record.network, record.name, first, last - first + 1)):
            if each.role is Role.ADMIN:
                return each
        last = first - 1
    return None


def require_vouched(record: RefRecord, repository: Repository, by_admin: RefRecord | None) -> None:
    """Raises `Untrusted` if who signed `record` did with protected refs what only admins may."""
    if by_admin is not None and by_admin.target == record.target:
        return
    expected = by_admin.target.link if by_admin is not None and by_admin.target.kind is Kind.GIT else None
    fault = "it does not show what an admin signed last" if repository.vouched_listing != expected else ""
    fault = fault or fault_against(repository.vouched, repository.manifest)
    if fault:
        raise Untrusted(
            f"refused {record.name!r} as record {record.seq} by node {record.author.hex()[:16]} has it: {fault}",
            hint=f"an admin can set it right: forge rollback {record.name} SEQ",
        )
