"""Operations: peers and why. Who is there, where content is, and what came from whom."""

from typing import TYPE_CHECKING

import trio

from forge_p2p.content.linktext import format_link
from forge_p2p.errors import CorruptChunk, NotFound
from forge_p2p.ids import NetworkId
from forge_p2p.node.history import History
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.membership.holders import ask_holders, first_address
from forge_p2p.node.membership.peering import Acquaintance
from forge_p2p.node.network_results import FetchEntry, HolderEntry, PeerEntry, PeersResult, WhyResult
from forge_p2p.node.target import Target, parse_target

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network
    from forge_p2p.node.sessions.peer import PeerSession

SAMPLE = 0.5
"""Seconds over which rates are measured."""


def peers(node: LocalNode, *, sample: float = SAMPLE, report: Report) -> PeersResult:  # noqa: ARG001
    """Without a node up nobody is connected."""
    return PeersResult([], [])


async def running_peers(network: "Network", *, sample: float = SAMPLE, report: Report) -> PeersResult:  # noqa: ARG001
    """Everybody connected or known, with rates measured over `sample` seconds; 0: not measured, and told at once."""
    members = await network.members()
    before = {session: session.connection.statistics() for session in network.sessions}
    await trio.sleep(sample)
    rates: dict[PeerSession, tuple[float, float]] = {}
    for session, old in before.items():
        new = session.connection.statistics()
        sent, received = new.bytes_sent - old.bytes_sent, new.bytes_received - old.bytes_received
        rates[session] = (sent / sample, received / sample) if sample else (0.0, 0.0)
    found = [
        _peer(members, each, known, rates) for each in members.peering.networks for known in members.peering.known(each)
    ]
    tickets = {session.where for session in network.sessions if session.member is None}
    return PeersResult(found, [peer for peer in network.peers() if peer.address in tickets])


def _peer(
    members: "Members", network: NetworkId, known: Acquaintance, rates: "dict[PeerSession, tuple[float, float]]"
) -> PeerEntry:
    contact = known.contact
    label, role = members.memberships.label(network, contact.node_id)
    session = members.peering.connected(network, contact.node_id)
    counts = session.connection.statistics() if session else None
    up, down = rates.get(session, (0.0, 0.0)) if session else (0.0, 0.0)
    return PeerEntry(
        network=members.name(network),
        node_id=contact.node_id.hex(),
        label=label,
        role=role,
        found=known.found.name.lower(),
        address=session.where if session else first_address(contact),
        connected=trio.current_time() - session.since if session else 0.0,
        round_trip=counts.round_trip if counts else 0.0,
        sent=counts.bytes_sent if counts else 0,
        received=counts.bytes_received if counts else 0,
        up=up,
        down=down,
        failures=known.failures,
        problem=known.problem,
        chunks=members.summaries.known(network, contact.node_id),
    )


async def why(network: "Network", *, what: str, report: Report) -> WhyResult:  # noqa: ARG001
    """Where a link's content is, who says that they hold it, and how the last fetch of it went."""
    target = parse_target(what)
    here = await trio.to_thread.run_sync(_here, network.node, target)
    last = await trio.to_thread.run_sync(History(network.node.home).find, format_link(target.root))
    members = await network.members()
    holders: list[HolderEntry] = []

    def note(holder: HolderEntry) -> bool:
        holders.append(holder)
        return False

    async with trio.open_nursery() as nursery:
        for each in members.chosen():
            nursery.start_soon(ask_holders, members, each, target.root.link.hash, note)
    names = [members.name(each) for each in members.chosen()]
    notes = _notes(target, here, names, holders, last)
    return WhyResult(format_link(target.root), here, names, holders, last, notes)


def _here(node: LocalNode, target: Target) -> str:
    from forge_p2p.content.walk import reach

    try:
        lacking = node.store.missing(reach(target.root, node.store.read))
    except (NotFound, CorruptChunk):
        return "no, or not even all of its lists" if node.store.has(target.root.link.hash) else "no"
    return f"all but {len(lacking)} chunks" if lacking else "all of it"


def _notes(
    target: Target, here: str, networks: list[str], holders: list[HolderEntry], last: FetchEntry | None
) -> list[str]:
    notes = []
    if target.ticket is not None:
        notes.append(f"this ticket leads to node {target.ticket.server.hex()[:16]}")
    elif not networks:
        notes.append("this node is in no network, so nobody can be asked about a bare link")
    elif not any(not each.problem for each in holders) and here != "all of it":
        notes.append("nobody who can be reached has it: is the node up that shared it?")
    if last is not None:
        notes += [f"{each.node_id[:16]} was left: {each.problem}" for each in last.sources if each.problem]
    return notes
