"""Operation: pull. What a name stands for becomes files at a destination.

what is new? (one round trip to the home) -> root -> is it there already? -> else as `get`
"""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from forge_p2p.content.link import Kind, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.pathtext import path_bytes
from forge_p2p.content.ref import RefRecord
from forge_p2p.errors import CorruptChunk, NotFound, UsageError
from forge_p2p.node.local import Report, ignore_progress
from forge_p2p.node.refs.book import require_unexpired
from forge_p2p.node.refs.names import HomeUnreachable
from forge_p2p.node.refs.naming import Named, parse_name
from forge_p2p.node.refs.pulled import PulledRecords
from forge_p2p.node.refs.results import PullResult
from forge_p2p.node.refs.trees import read_listing
from forge_p2p.node.refs.writing import describe
from forge_p2p.node.results import GetResult, Progress
from forge_p2p.workspace.pruning import prune

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge_p2p.content.snapshot import Entry
    from forge_p2p.node.local import LocalNode
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network


async def pull(
    network: "Network", *, name: str, destination: str, in_network: str = "", report: Report, **options: bool
) -> PullResult:
    """Makes `destination` what `name` stands for now, or stood for at `NAME@SEQ`. `options`: see `getting.Options`.
    Raises `UsageError`, `NotFound`, `HomeUnreachable` when nothing is known of the name, `BadRef`, and what `get`
    does."""
    started = time.monotonic()
    members = await network.members()
    named = parse_name(members.memberships.joined(), name, in_network)
    report(Progress("connect"))
    before = _wire(members, named)
    record, notes = await resolve(members, named)
    if record.target.kind is Kind.GIT:
        raise UsageError(
            f"{named.name!r} stands for a git repository", hint=f"git clone forge://{named.joined.name}/{named.name}"
        )
    asked = tuple(now - then for now, then in zip(_wire(members, named), before, strict=True))
    result, left = await _get(network, named, record, destination, report, options)
    return PullResult(
        ref=named.ref(record.seq),
        network=named.joined.name,
        name=named.name,
        seq=record.seq,
        link=result.link,
        time=float(record.time),
        author=record.author.hex(),
        destination=result.destination,
        files=result.files,
        unchanged=result.unchanged,
        bytes=result.bytes,
        fetched_bytes=result.fetched_bytes,
        wire_sent=result.wire_sent or asked[0],
        wire_received=result.wire_received or asked[1],
        seconds=time.monotonic() - started,
        problems=result.problems,
        notes=[*notes, *left],
    )


async def resolve(members: "Members", named: Named) -> tuple[RefRecord, list[str]]:
    """The record that is meant, and what has to be said about it. One that is given by its number and known here never
    changes. Else the home is asked; when it cannot be, other members are, and what is known here counts. Raises as
    `pull`."""
    if named.seq:
        with suppress(NotFound):
            return await trio.to_thread.run_sync(members.names.book.at, named.network, named.name, named.seq), []
    notes: list[str] = []
    try:
        head = await members.names.refresh(named.network, named.name, reading=True)
    except HomeUnreachable as error:
        head = await _known_elsewhere(members, named)
        if head is None:
            head = await members.names.refresh(named.network, named.name)  # nobody can help: with all patience
        else:
            notes.append(f"{error.message}; the newest known elsewhere is {describe(head)}")
    if head is None:
        raise NotFound(
            f"nothing was published as {named.name!r} in network {named.joined.name!r}",
            hint="forge log lists the names there are",
        )
    if named.seq and named.seq != head.seq:
        head = await trio.to_thread.run_sync(members.names.book.at, named.network, named.name, named.seq)
    if not named.seq:
        require_unexpired(head)
    return head, notes


async def _known_elsewhere(members: "Members", named: Named) -> RefRecord | None:
    """The newest record that other members tell, or else that is known here."""
    told = await members.names.hearsay(named.network, named.name)
    return told or await trio.to_thread.run_sync(members.names.book.head, named.network, named.name)


async def _get(
    network: "Network", named: Named, record: RefRecord, destination: str, report: Report, options: dict[str, Any]
) -> tuple[GetResult, list[str]]:
    """As `get`; what an earlier pull had put there and is gone now is removed, unless it was changed since. What there
    is to say of that comes second."""
    from forge_p2p.node.operations import getting

    link = format_link(record.target)
    here = await trio.to_thread.run_sync(
        lambda: getting.already_there(
            network.node, what=link, destination=destination, report=ignore_progress, **options
        )
    )
    before = await trio.to_thread.run_sync(_before, network.node, destination, record.target)
    if here is not None and before is None:
        return here, []
    notes: list[str] = []

    def clear(after: "Sequence[Entry]") -> None:
        if before is not None:  # first, for a file may have become a directory
            kinds = {(entry.path, int(entry.kind)) for entry in after}
            notes.extend(prune(path_bytes(destination), before, kinds).left)

    if here is not None:
        after = await read_listing(network, record.target, named.joined.name)
        await trio.to_thread.run_sync(clear, after)
    result = here or await getting.get(
        network,
        what=link,
        destination=destination,
        in_network=named.joined.name,
        beforehand=clear,
        report=report,
        **options,
    )
    await trio.to_thread.run_sync(PulledRecords(network.node.home).remember, destination, record.target)
    if network.node.watched is not None:
        network.node.watched.expect(path_bytes(destination))
    return result, notes


def _before(node: "LocalNode", destination: str, target: Root) -> "list[Entry] | None":
    """What an earlier pull put at the destination, if that was something else and is still known; `None`: there is
    nothing to be removed. Blocks."""
    from forge_p2p.node.operations.getting import listing_here

    root = PulledRecords(node.home).find(destination)
    if root is None or root == target:
        if root is None:
            PulledRecords(node.home).remember(destination, target)
        return None
    try:
        return listing_here(node, root)
    except (NotFound, CorruptChunk):
        return []


def _wire(members: "Members", named: Named) -> tuple[int, int]:
    """Bytes sent and received in all sessions of the network."""
    counts = [session.connection.statistics() for session in members.peering.sessions(named.network)]
    return sum(each.bytes_sent for each in counts), sum(each.bytes_received for each in counts)
