"""Operations: share, shares, unshare."""

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.linktext import parse_link
from forge_p2p.content.membership import Role
from forge_p2p.content.ticket import format_ticket, issue, parse_ticket
from forge_p2p.content.ticketname import is_ticket
from forge_p2p.errors import NotFound, Refused
from forge_p2p.ids import NetworkId
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.operations.adding import add
from forge_p2p.node.results import AddResult, ShareEntry, ShareResult, SharesResult, UnshareResult
from forge_p2p.node.shares import Share, Shares, share_entry

if TYPE_CHECKING:
    from forge_p2p.node.membership.holdings import Holding, Holdings
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network


async def share(
    network: "Network", *, path: str, expires: float = 0.0, in_network: str = "", report: Report
) -> ShareResult:
    """Adds `path` and issues a ticket for it, good for `expires` seconds (0 = until it is removed); or lets the members
    of the network called `in_network` have it. Raises `UsageError`, `Refused`, and what `add` does."""
    members = await network.members() if in_network else None
    chosen = writable(members, in_network) if members is not None else None
    added = await _add(network, path, report)
    addresses = network.reachable_addresses()
    where = [f"{address.host} port {address.port}" for address in addresses]
    root = parse_link(added.link)
    if members is not None and chosen is not None:
        keep = partial(members.holdings.keep, chosen, root, origin=True, path=path, size=added.bytes)
        await trio.to_thread.run_sync(keep)
        members.lookups[chosen].announce(root.link.hash)
        return ShareResult("", added.link, where, 0.0, added, members.name(chosen))
    node = network.node
    until = int(time.time() + expires) if expires else 0
    ticket = issue(node.key, root, [(address.host, address.port) for address in addresses], expires=until)
    await trio.to_thread.run_sync(
        lambda: Shares(node.home).add(node.store, ticket.capability.id, path, root, added.bytes, float(until))
    )
    return ShareResult(format_ticket(ticket), added.link, where, float(until), added)


def writable(members: "Members", name: str) -> NetworkId:
    """The network of this name. Raises `UsageError`, or `Refused` for a member who may only read."""
    [chosen] = members.chosen(name)
    joined = members.memberships.get(chosen)
    if joined is not None and not joined.membership.role.covers(Role.WRITER):
        raise Refused(
            f"this node is a {joined.membership.role.name.lower()} in network {name!r} and may not share there",
            hint="an admin can invite it as a writer: forge network invite --role writer",
        )
    return chosen


async def _add(network: "Network", path: str, report: Report) -> AddResult:
    token = trio.lowlevel.current_trio_token()

    def report_from_thread(progress: object) -> None:
        trio.from_thread.check_cancelled()
        token.run_sync_soon(report, progress)  # type: ignore[arg-type]

    node = network.node
    return await trio.to_thread.run_sync(lambda: add(node, path=path, report=report_from_thread, keep=False))


def shares(node: LocalNode, *, report: Report) -> SharesResult:  # noqa: ARG001  # every operation can report
    """Everything that is shared now."""
    return SharesResult([share_entry(each) for each in Shares(node.home).all()] + network_shares(node))


async def running_shares(network: "Network", *, report: Report) -> SharesResult:  # noqa: ARG001
    """As `shares`, with what has been sent of each since the node started."""
    known = await trio.to_thread.run_sync(Shares(network.node.home).all)
    held = await trio.to_thread.run_sync(network_shares, network.node)
    return SharesResult([share_entry(each, network.served(each.id)) for each in known] + held)


def network_shares(node: LocalNode) -> list[ShareEntry]:
    """What this node shares into its networks."""
    return [_network_entry(name, holding) for name, holding, _ in _held(node)]


def _held(node: LocalNode) -> "Iterator[tuple[str, Holding, Holdings]]":
    """The origins of every network on disk, with its name."""
    if not node.home.networks.exists():
        return
    from forge_p2p.node.membership.holdings import Holdings
    from forge_p2p.node.membership.networks import Networks

    networks = Networks(node.home, node.node_id)
    holdings = Holdings(node, networks.held_folder)
    for joined in networks.all():
        holdings.load(joined.network)
        yield from ((joined.name, each, holdings) for each in holdings.of(joined.network) if each.origin)


def _network_entry(name: str, holding: "Holding") -> ShareEntry:
    held = holding.held
    assert held is not None
    kind = holding.root.kind.value
    identity = holding.root.link.hash.hex()[:32]
    return ShareEntry(identity, held.path, held.link, kind, held.bytes, held.since, 0.0, 0, name)


def unshare(node: LocalNode, *, what: str, report: Report) -> UnshareResult:  # noqa: ARG001
    """Ends the shares whose id (or its beginning), link, ticket or path is `what`. Raises `NotFound` when none is."""
    known = Shares(node.home)
    matching = [each for each in known.all() if _matches(each, what)]
    held = [each for each in _held(node) if _matches(_network_entry(*each[:2]), what)]
    if not matching and not held:
        raise NotFound(f"nothing is shared as {what!r}", hint="forge shares lists what is")
    for each in matching:
        known.remove(node.store, each)
    for _, holding, holdings in held:
        holdings.forget(holding)
    return UnshareResult(
        [share_entry(each) for each in matching] + [_network_entry(name, holding) for name, holding, _ in held]
    )


def _matches(each: Share | ShareEntry, what: str) -> bool:
    if is_ticket(what):
        return parse_ticket(what).capability.id.hex() == each.id
    return what in (each.path, each.link) or (len(what) >= 4 and each.id.startswith(what))
