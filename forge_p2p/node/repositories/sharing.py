"""Operations: git_share, git_list. A repository by ticket, as it is now; which names stand for repositories."""

import time
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.link import Kind
from forge_p2p.content.linktext import format_link
from forge_p2p.content.ticket import format_ticket, issue
from forge_p2p.errors import PeerError
from forge_p2p.node.local import Report
from forge_p2p.node.refs.history import names
from forge_p2p.node.refs.naming import chosen_network
from forge_p2p.node.repositories.putting import stored
from forge_p2p.node.repositories.results import RepositoriesResult, RepositoryEntry, RepositoryShareResult
from forge_p2p.node.results import Progress
from forge_p2p.node.shares import Shares

if TYPE_CHECKING:
    from forge_p2p.node.network import Network


async def share(
    network: "Network", *, folder: str, path: str, expires: float = 0.0, report: Report
) -> RepositoryShareResult:
    """Issues a ticket for the manifest and packs in `folder`, good for `expires` seconds (0 = until it is removed).
    `path`: the repository that they were made of, for `forge shares`. Raises `Malformed`, and as `add`."""
    report(Progress("ingest"))
    node = network.node
    root, size = await trio.to_thread.run_sync(stored, node, folder, {}, {})
    addresses = network.reachable_addresses()
    until = int(time.time() + expires) if expires else 0
    ticket = issue(node.key, root, [(address.host, address.port) for address in addresses], expires=until)
    await trio.to_thread.run_sync(
        lambda: Shares(node.home).add(node.store, ticket.capability.id, path, root, size, float(until))
    )
    return RepositoryShareResult(format_ticket(ticket), format_link(root), float(until), size)


async def listed(network: "Network", *, in_network: str = "", report: Report) -> RepositoriesResult:
    """The names of a network that stand for repositories, as their homes have them or else as they are known here.
    Raises `UsageError`."""
    members = await network.members()
    joined = chosen_network(members.memberships.joined(), in_network)
    known = await names(network, in_network=in_network, report=report)
    found = []
    for name in known.names:
        try:
            head = await members.names.refresh(joined.network, name)
        except PeerError:
            head = await trio.to_thread.run_sync(members.names.book.head, joined.network, name)
        if head is not None and head.target.kind is Kind.GIT and not head.has_expired(time.time()):
            found.append(RepositoryEntry(name, head.seq, float(head.time), head.author.hex(), format_link(head.target)))
    return RepositoriesResult(joined.name, found, known.notes)
