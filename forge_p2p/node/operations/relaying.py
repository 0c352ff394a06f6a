"""Operations for who serves content on behalf of this node, as the HTTP gateway does: relay, resolve, offer.

No command uses them. What is relayed passes through the store, where it stays for a while, and on to the caller as it
arrives, no faster than the caller takes it.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.link import CHUNK_MAX, Kind, Link
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.errors import NotFound, PeerError, UsageError
from forge_p2p.ids import NetworkId
from forge_p2p.node.fetch.fetching import Fetching, fetching
from forge_p2p.node.local import Report
from forge_p2p.node.membership.holders import ask_holders
from forge_p2p.node.operations.getting import keep_cached
from forge_p2p.node.operations.sharing import writable
from forge_p2p.node.results import OfferResult, RelayResult, ResolveResult
from forge_p2p.node.target import Target

if TYPE_CHECKING:
    from forge_p2p.node.fetch.receiving import Receiver
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network
    from forge_p2p.node.network_results import HolderEntry

Emit = Callable[[bytes], Awaitable[None]]

RELAY_MAX: Final = 64 * 1024 * 1024
"""Bytes of one relay: its chunks' links are held in memory. Who wants more asks again."""

FIRST_CHUNK_ROOM: Final = 4 * CHUNK_MAX
"""Bytes of the store that a root's first chunk is fetched into."""

PROVEN_MAX: Final = 65_536
"""Roots remembered to be a network's."""


async def relay(
    network: "Network",
    *,
    what: str,
    in_network: str,
    part: str = "",
    start: int = 0,
    stop: int,
    emit: Emit,
    report: Report,  # noqa: ARG001
) -> RelayResult:
    """Hands bytes `[start, stop)` to `emit`: of `what` itself (of a directory: of its listing), or of `part`, the link
    of a file in it. Only what belongs to the network, as this node or another member says, whatever the store holds.
    Raises `NotFound` for everything else, and what `get` does."""
    root = parse_link(what)
    link = parse_link(part).link if part else root.link
    if not 0 <= start < stop <= link.size or stop - start > RELAY_MAX:
        raise UsageError(f"bytes {start} to {stop} are no part of {link.size} that can be relayed at once")
    members = await network.members()
    [chosen] = members.chosen(in_network)
    target = Target(root, None, (), in_network)
    if not await _belongs(network, members, chosen, target):
        raise NotFound("nobody in this network is known to have this content")
    async with fetching(network, target) as fetch:
        await fetch.run(partial(_relay, fetch, link, start, stop, emit), lambda counts: None)
        await fetch.commit()
        if root.kind is Kind.BLOB and stop - start == root.link.size:
            await trio.to_thread.run_sync(keep_cached, network.node, root)
            await fetch.keep()
    return RelayResult(stop - start)


async def _relay(fetch: Fetching, link: Link, start: int, stop: int, emit: Emit, receiver: "Receiver") -> None:
    from forge_p2p.node.fetch.expanding import between

    # Everybody knows this one: holes cross no network.
    if link.level:
        await trio.to_thread.run_sync(fetch.ingest.put, [(ZERO_CHUNK, bytes(CHUNK_MAX))])
    async with aclosing(between(receiver, link, start, stop)) as pieces:
        async for piece in pieces:
            await emit(bytes(piece))


async def _belongs(network: "Network", members: "Members", chosen: NetworkId, target: Target) -> bool:
    """Whether this node holds the root in the network, or another member proves to. The store is no witness: what is
    in it may be another network's, and whoever asks may know no more of it than its hash."""
    key = chosen, target.root.link.hash
    holding = members.holdings.find(*key)
    if key in members.proven or (holding is not None and holding.complete):
        return True
    if not await _is_held(members, chosen, target) or not await _is_had(network, target):
        return False
    members.proven[key] = None
    while len(members.proven) > PROVEN_MAX:
        members.proven.popitem(last=False)
    return True


async def _is_held(members: "Members", network: NetworkId, target: Target) -> bool:
    """Whether another member says so, which is soon known."""
    held = False

    def told(holder: "HolderEntry") -> bool:
        nonlocal held
        held = held or not holder.problem
        return held

    await ask_holders(members, network, target.root.link.hash, told)
    return held


async def _is_had(network: "Network", target: Target) -> bool:
    """Whether a member sends the root's first chunk, into an empty store. A bucket is no member."""
    from forge_p2p.node.fetch.expanding import fetch_ahead
    from forge_p2p.store.memory import MemoryStore

    async def produce(receiver: "Receiver") -> None:
        async with aclosing(fetch_ahead(receiver, [target.root.link], 1)) as chunks:
            async for _ in chunks:
                pass

    try:
        async with fetching(network, target, MemoryStore(FIRST_CHUNK_ROOM), peers_only=True) as fetch:
            await fetch.run(produce, lambda counts: None)
    except (NotFound, PeerError):
        return False
    return True


async def resolve(
    network: "Network",
    *,
    name: str,
    in_network: str,
    report: Report,  # noqa: ARG001
) -> ResolveResult:
    """What `name` (`NAME` or `NAME@SEQ`) stands for, its home having been asked if it can be reached. Raises as `pull`
    does."""
    from forge_p2p.node.refs.naming import parse_name
    from forge_p2p.node.refs.pulling import resolve as resolved

    members = await network.members()
    named = parse_name(members.memberships.joined(), name, in_network)
    record, _ = await resolved(members, named)
    return ResolveResult(named.name, record.seq, format_link(record.target))


async def offer(
    network: "Network",
    *,
    what: str,
    in_network: str,
    report: Report,  # noqa: ARG001
) -> OfferResult:
    """Lets the members of a network have content that was put into the store here. Raises `Refused` to a reader,
    `NotFound` unless all of it is here."""
    root = parse_link(what)
    members = await network.members()
    chosen = writable(members, in_network)
    holding = await trio.to_thread.run_sync(
        partial(members.holdings.keep, chosen, root, origin=True, size=root.link.size)
    )
    if not await members.holdings.ready(holding):
        await trio.to_thread.run_sync(members.holdings.forget, holding)
        raise NotFound("not all of this content is in the store")
    members.holdings.tell(holding)
    members.lookups[chosen].announce(root.link.hash)
    return OfferResult(what, members.name(chosen))
