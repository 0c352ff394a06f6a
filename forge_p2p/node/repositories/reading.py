"""Operation: git_read. What a name or a ticket says that a repository is: its manifest, from here or fetched."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from forge_p2p.content import walk
from forge_p2p.content.gitmanifest import decode_manifest, files_of, manifest_entry
from forge_p2p.content.link import Kind, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.snapshot import Entry
from forge_p2p.content.ticket import is_ticket
from forge_p2p.errors import CorruptChunk, NotFound, UsageError
from forge_p2p.node.expanding import content, listing
from forge_p2p.node.fetching import fetching
from forge_p2p.node.getting import listing_here
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.refs.naming import parse_name
from forge_p2p.node.refs.pulling import resolve
from forge_p2p.node.repositories.results import RepositoryResult
from forge_p2p.node.results import Progress
from forge_p2p.node.target import Target, parse_target

if TYPE_CHECKING:
    from forge_p2p.node.network import Network
    from forge_p2p.node.receiving import Receiver

Emit = Callable[[bytes], Awaitable[None]]


async def read(network: "Network", *, name: str, in_network: str = "", emit: Emit, report: Report) -> RepositoryResult:
    """Hands the manifest of the repository called `name`, or that a ticket is for, to `emit`, checked. Nothing of one
    that was not published yet. Raises as `pull`, and `UsageError` for what is no repository."""
    report(Progress("connect"))
    if is_ticket(name):
        target = parse_target(name)
        assert target.ticket is not None
        require_repository(target.root, "this ticket")
        await emit((await manifest_and_files(network, target))[0])
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
    await emit((await manifest_and_files(network, Target(record.target, None, (), named.joined.name)))[0])
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


async def manifest_and_files(network: "Network", target: Target) -> tuple[bytes, dict[bytes, Entry]]:
    """The manifest's bytes and the files of its packs by path, checked, from the store or fetched. Raises `Malformed`,
    and as `get`."""
    try:
        data, entries = await trio.to_thread.run_sync(_here, network.node, target.root)
    except (NotFound, CorruptChunk):
        data, entries = await _fetched(network, target)
    return data, await trio.to_thread.run_sync(lambda: files_of(decode_manifest(data), entries))


def _here(node: LocalNode, root: Root) -> tuple[bytes, list[Entry]]:
    entries = listing_here(node, root)
    return b"".join(walk.stream(manifest_entry(entries).link, node.store.read)), entries


async def _fetched(network: "Network", target: Target) -> tuple[bytes, list[Entry]]:
    entries: list[Entry] = []
    data = bytearray()

    async def produce(receiver: "Receiver") -> None:
        entries.extend(await listing(receiver, target.root.link))
        async with aclosing(content(receiver, manifest_entry(entries).link)) as pieces:
            async for piece in pieces:
                data.extend(piece)

    async with fetching(network, target) as fetch:
        await fetch.run(produce, lambda counts: None)
        await fetch.commit()
    return bytes(data), entries
