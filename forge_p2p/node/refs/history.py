"""Operations: log and rollback. What a name stood for, and standing for it again."""

import time
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.linktext import format_link
from forge_p2p.content.ref import RefRecord
from forge_p2p.errors import NotFound, UsageError
from forge_p2p.ids import NetworkId
from forge_p2p.node.local import Report
from forge_p2p.node.refs.homes import LocalHome, all_names
from forge_p2p.node.refs.names import HomeUnreachable
from forge_p2p.node.refs.naming import Named, chosen_network, parse_name
from forge_p2p.node.refs.publishing import held_elsewhere, published
from forge_p2p.node.refs.pulling import resolve
from forge_p2p.node.refs.results import LogResult, NamesResult, PublishResult, RecordEntry
from forge_p2p.node.refs.retention import pinned_numbers
from forge_p2p.node.refs.writing import Change, describe, require_writer, write
from forge_p2p.node.results import Progress

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network

SHOWN = 1000
"""Records that one answer lists; the newest."""


async def log(network: "Network", *, name: str, in_network: str = "", count: int = SHOWN, report: Report) -> LogResult:
    """The newest `count` records of a name, as its home has them. Raises as `pull` does."""
    members = await network.members()
    named = parse_name(members.memberships.joined(), name, in_network)
    report(Progress("connect"))
    newest, notes = await resolve(members, named)
    first = max(1, newest.seq - min(count, SHOWN) + 1)
    records = await trio.to_thread.run_sync(
        network.node.refs.range, named.network, named.name, first, newest.seq - first + 1
    )
    if not records or records[-1] != newest:
        records = [each for each in records if each.seq < newest.seq] + [newest]
    pinned = await trio.to_thread.run_sync(pinned_numbers, network.node, named.network, named.name)
    entries = [_entry(members, named.network, each, each.seq in pinned) for each in reversed(records)]
    return LogResult(named.joined.name, named.name, entries, notes)


async def names(network: "Network", *, in_network: str = "", report: Report) -> NamesResult:
    """The names of a network. Those that were moved to another home than the network's are known only to who has read
    them. Raises `UsageError`."""
    members = await network.members()
    joined = chosen_network(members.memberships.joined(), in_network)
    report(Progress("connect"))
    found = set(await all_names(LocalHome(network.node.refs.log(joined.network))))
    notes = []
    try:
        found.update(await members.names.names(joined.network))
    except HomeUnreachable as error:
        notes.append(f"{error.message}; these are the names known here")
    return NamesResult(joined.name, sorted(found, key=str.encode), notes)


async def rollback(network: "Network", *, name: str, seq: int, in_network: str = "", report: Report) -> PublishResult:
    """Makes `name` stand again for what its record `seq` says, by a new record: nothing is erased. Raises as `publish`,
    and `NotFound` for a record that there is not."""
    started = time.monotonic()
    members = await network.members()
    named = parse_name(members.memberships.joined(), name, in_network)
    if named.seq:
        raise UsageError(f"{name!r} names a record already", hint="write forge rollback NAME SEQ")
    require_writer(named)
    report(Progress("publish"))
    await members.names.refresh(named.network, named.name)
    old = await trio.to_thread.run_sync(members.names.book.at, named.network, named.name, seq)
    here = await _is_here(members, named, old)

    def intent(head: RefRecord | None) -> Change | None:
        if head is None:
            raise NotFound(f"{named.name!r} has no records", hint="forge publish makes the first")
        if head.target == old.target and not head.has_expired(time.time()):
            return None
        return Change(old.target, head.protected, 0, pinned=here)

    written = await write(members, named, intent)
    notes = [f"{describe(each)} came first; this one is after it" for each in written.lost_to]
    if not here:
        notes.append("this node does not have that content: it can be pulled as long as somebody else does")
    held = await held_elsewhere(network, members, named, written, report) if here else False
    return published(named, written, held=held, started=started, notes=notes)


async def _is_here(members: "Members", named: Named, old: RefRecord) -> bool:
    """Whether the content of a record is at hand, whole."""
    holding = members.holdings.find(named.network, old.target.link.hash)
    return holding is not None and holding.complete and await members.holdings.ready(holding)


def _entry(members: "Members", network: NetworkId, record: RefRecord, pinned: bool) -> RecordEntry:
    label = record.chain[-1].label or members.memberships.label(network, record.author)[0]
    return RecordEntry(
        seq=record.seq,
        time=float(record.time),
        link=format_link(record.target),
        author=record.author.hex(),
        label=label,
        role=record.role.name.lower(),
        expires=float(record.expires),
        protected=record.protected,
        home=record.home.hex(),
        pinned=pinned,
    )
