"""Operations: cache save and cache restore. What a CI keeps from one run to the next, under keys.

A key is a name `cache/KEY` in a network: saved once, expiring, and never written twice while it lasts; so whoever saves
what is there already does nothing, and an entry is what its first writer made. A restore takes the key itself or, by
prefixes in their order, the entry that was saved last.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

from forge_p2p.content.linktext import format_link
from forge_p2p.content.ref import RefRecord
from forge_p2p.content.refname import check_name, fault_of
from forge_p2p.errors import Conflict, ForgeError, NotFound
from forge_p2p.node.groups import unwrapped
from forge_p2p.node.local import Report, ignore_progress
from forge_p2p.node.refs.naming import Named, parse_name
from forge_p2p.node.refs.results import CacheRestoreResult, CacheSaveResult
from forge_p2p.node.results import GetResult, Progress

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network

SPACE: Final = "cache/"
"""Where keys lie among the names of a network."""

ASKED_AT_ONCE: Final = 16
"""Entries whose newest record is asked for at the same time."""

ENTRIES_MAX: Final = 1000
"""Entries of one prefix that are looked at."""


async def save(
    network: "Network", *, key: str, path: str, in_network: str = "", expires: float = 0.0, report: Report
) -> CacheSaveResult:
    """Saves `path` under `key` for `expires` seconds (0: for ever), unless something is there already. Raises
    `UsageError` for what cannot be a key, and what `publish` does."""
    from forge_p2p.node.refs import publishing

    started = time.monotonic()
    members = await network.members()
    named = _keyed(members, key, in_network)
    report(Progress("connect"))
    head = await members.names.refresh(named.network, named.name)
    if head is not None and not head.has_expired(time.time()):
        return _there_already(named, key, head, started)
    try:
        made = await publishing.publish(
            network,
            name=named.name,
            path=path,
            in_network=named.joined.name,
            report=report,
            expires=expires,
            after=head.seq if head else 0,
        )
    except Conflict:
        head = await members.names.refresh(named.network, named.name)
        if head is None:
            raise
        return _there_already(named, key, head, started)
    return CacheSaveResult(
        key=key,
        ref=made.ref,
        link=made.link,
        saved=True,
        held=made.held,
        files=made.files,
        bytes=made.bytes,
        new_bytes=made.new_bytes,
        seconds=time.monotonic() - started,
        notes=made.notes,
    )


async def restore(
    network: "Network",
    *,
    key: str,
    destination: str,
    prefixes: Sequence[str] = (),
    in_network: str = "",
    report: Report,
) -> CacheRestoreResult:
    """Restores the entry of `key`, or else the one that was saved last of those that begin with the first of `prefixes`
    that has any. Raises `NotFound` when there is none, `UsageError`, `HomeUnreachable`, and what `get` does."""
    started = time.monotonic()
    members = await network.members()
    named = _keyed(members, key, in_network)
    report(Progress("connect"))
    record = await _live(members, named)
    for prefix in prefixes:
        record = record or await _newest(members, named, SPACE + prefix)
    if record is None:
        raise NotFound(f"nothing is saved as {key!r}{_or_prefixes(prefixes)}", hint="forge cache save makes an entry")
    result = await _get(network, named, record, destination, report)
    return CacheRestoreResult(
        key=key,
        found=record.name.removeprefix(SPACE),
        exact=record.name == named.name,
        ref=Named(named.joined, record.name, 0).ref(record.seq),
        link=result.link,
        time=float(record.time),
        destination=result.destination,
        files=result.files,
        unchanged=result.unchanged,
        bytes=result.bytes,
        fetched_bytes=result.fetched_bytes,
        seconds=time.monotonic() - started,
        problems=result.problems,
    )


def _keyed(members: "Members", key: str, in_network: str) -> Named:
    """A key as a name; in the only network, where none is said."""
    network = parse_name(members.memberships.joined(), "cache", in_network).joined
    return Named(network, check_name(SPACE + key), 0)


def _there_already(named: Named, key: str, head: RefRecord, started: float) -> CacheSaveResult:
    return CacheSaveResult(
        key=key,
        ref=named.ref(head.seq),
        link=format_link(head.target),
        saved=False,
        held=False,
        files=0,
        bytes=0,
        new_bytes=0,
        seconds=time.monotonic() - started,
        notes=[],
    )


async def _live(members: "Members", named: Named) -> RefRecord | None:
    """The newest record of a name, if there is one and it has not expired."""
    head = await members.names.refresh(named.network, named.name)
    return head if head is not None and not head.has_expired(time.time()) else None


async def _newest(members: "Members", named: Named, prefix: str) -> RefRecord | None:
    """The entry that was saved last of those whose name begins with `prefix`. An entry does not change while it lasts:
    what is known of it here is not asked for again."""
    names = await members.names.listed(named.network, prefix, ENTRIES_MAX)
    if not fault_of(prefix):
        names.append(prefix)
    found: list[RefRecord] = []
    limit = trio.CapacityLimiter(ASKED_AT_ONCE)

    async def look(name: str) -> None:
        async with limit:
            known = await trio.to_thread.run_sync(members.names.book.head, named.network, name)
            if known is None or known.has_expired(time.time()):
                known = await _live(members, Named(named.joined, name, 0))
            if known is not None:
                found.append(known)

    with unwrapped():
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(look, name)
    return max(found, key=lambda record: (record.time, record.name), default=None)


def _or_prefixes(prefixes: Sequence[str]) -> str:
    return "".join(f" or as {prefix!r}…" for prefix in prefixes)


async def _get(network: "Network", named: Named, record: RefRecord, destination: str, report: Report) -> GetResult:
    from forge_p2p.node.operations import getting

    link = format_link(record.target)
    here = await trio.to_thread.run_sync(
        lambda: getting.already_there(network.node, what=link, destination=destination, report=ignore_progress)
    )
    if here is not None:
        return here
    try:
        return await getting.get(
            network, what=link, destination=destination, in_network=named.joined.name, report=report
        )
    except NotFound as error:
        raise _gone(record, error) from error


def _gone(record: RefRecord, error: ForgeError) -> NotFound:
    return NotFound(f"{record.name.removeprefix(SPACE)!r} was saved, but {error.message}", hint=error.hint)
