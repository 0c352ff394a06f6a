"""What a person names on the command line: a link, or a ticket, and who has it."""

from collections.abc import Sequence
from dataclasses import dataclass

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import is_link, parse_link
from forge_p2p.content.ticket import Ticket, parse_ticket, verify
from forge_p2p.content.ticketname import is_ticket
from forge_p2p.errors import NotFound, UsageError
from forge_p2p.net.base import Address
from forge_p2p.node.addresses import parse_listen


@dataclass(frozen=True, slots=True)
class Target:
    """A root, and with a ticket who has it and where."""

    root: Root
    ticket: Ticket | None
    addresses: tuple[Address, ...]
    network: str = ""
    """Name of the network to look in; all of the node's when empty."""


def parse_target(what: str, peers: Sequence[str] = (), network: str = "") -> Target:
    """Reads a link or a ticket; `peers` are addresses to try before the ticket's own. Raises `UsageError`."""
    given = tuple(parse_listen(peer) for peer in peers)
    if not is_ticket(what):
        if not is_link(what):
            hint = "a link begins with fblob1 or ftree1, a ticket with fticket1; forge pull gets what a name stands for"
            raise UsageError("this is neither a link nor a ticket", hint=hint)
        return Target(parse_link(what), None, given, network)
    ticket = parse_ticket(what)
    return Target(ticket.root, ticket, given + tuple(Address(host, port) for host, port in ticket.addresses))


def require_ticket(target: Target, now: float) -> Ticket:
    """The ticket, good as far as can be told from here. Raises `Refused` for an expired or tampered one, `NotFound`
    for a bare link, which does not say who has the content."""
    if target.ticket is None:
        raise NotFound(
            "this content is not in the store, and this node is in no network that could be asked for it",
            hint="ask for a ticket (forge share makes one), or join a network (forge network join)",
        )
    verify(target.ticket.capability, target.ticket.server, now)
    return target.ticket
