"""Operations: share, shares, unshare."""

import time
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.content.ticket import format_ticket, is_ticket, issue, parse_ticket
from forge_p2p.errors import NotFound
from forge_p2p.node.adding import add
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.results import ShareResult, SharesResult, UnshareResult
from forge_p2p.node.shares import Share, Shares, share_entry

if TYPE_CHECKING:
    from forge_p2p.node.network import Network


async def share(network: "Network", *, path: str, expires: float = 0.0, report: Report) -> ShareResult:
    """Adds `path` and issues a ticket for it, good for `expires` seconds (0 = until it is removed)."""
    node = network.node
    token = trio.lowlevel.current_trio_token()

    def report_from_thread(progress: object) -> None:
        trio.from_thread.check_cancelled()
        token.run_sync_soon(report, progress)  # type: ignore[arg-type]

    added = await trio.to_thread.run_sync(lambda: add(node, path=path, report=report_from_thread, keep=False))
    root = parse_link(added.link)
    until = int(time.time() + expires) if expires else 0
    addresses = network.reachable_addresses()
    ticket = issue(node.key, root, [(address.host, address.port) for address in addresses], expires=until)
    await trio.to_thread.run_sync(
        lambda: Shares(node.home).add(node.store, ticket.capability.id, path, root, added.bytes, float(until))
    )
    return ShareResult(
        ticket=format_ticket(ticket),
        link=format_link(root),
        addresses=[f"{address.host} port {address.port}" for address in addresses],
        expires=float(until),
        add=added,
    )


def shares(node: LocalNode, *, report: Report) -> SharesResult:  # noqa: ARG001  # every operation can report
    """Everything that is shared now."""
    return SharesResult([share_entry(each) for each in Shares(node.home).all()])


async def running_shares(network: "Network", *, report: Report) -> SharesResult:  # noqa: ARG001
    """As `shares`, with what has been sent of each since the node started."""
    known = await trio.to_thread.run_sync(Shares(network.node.home).all)
    return SharesResult([share_entry(each, network.served(each.id)) for each in known])


def unshare(node: LocalNode, *, what: str, report: Report) -> UnshareResult:  # noqa: ARG001
    """Ends the shares whose id (or its beginning), link, ticket or path is `what`. Raises `NotFound` when none is."""
    known = Shares(node.home)
    matching = [each for each in known.all() if _matches(each, what)]
    if not matching:
        raise NotFound(f"nothing is shared as {what!r}", hint="forge shares lists what is")
    for each in matching:
        known.remove(node.store, each)
    return UnshareResult([share_entry(each) for each in matching])


def _matches(each: Share, what: str) -> bool:
    if is_ticket(what):
        return parse_ticket(what).capability.id.hex() == each.id
    return what in (each.path, each.link) or (len(what) >= 4 and each.id.startswith(what))
