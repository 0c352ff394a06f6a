"""Operation: edge pull. A link's or a name's content from the bucket alone, whoever else may have it."""

from typing import TYPE_CHECKING

import trio

from forge_p2p.content.linktext import format_link, is_link, parse_link
from forge_p2p.errors import NotFound
from forge_p2p.node.edge.naming import folder_of, named_here, pinned_seqs
from forge_p2p.node.local import Report
from forge_p2p.node.results import GetResult

if TYPE_CHECKING:
    from forge_p2p.node.network import Network


async def pull(
    network: "Network", *, what: str, destination: str, in_network: str = "", report: Report, check: bool = False
) -> GetResult:
    """As `getting.get`, from the bucket. A name is what was last pushed of it, which costs no word with its home.
    Raises `UsageError`, `NotFound`, `BucketError`, and what `get` does."""
    from forge_p2p.node.getting import get

    link = what if is_link(what) else await _pushed(network, what, in_network)
    return await get(network, what=link, destination=destination, edge_only=True, report=report, check=check)


async def _pushed(network: "Network", what: str, in_network: str) -> str:
    node = network.node
    named = await trio.to_thread.run_sync(named_here, node, what, in_network)
    edge = await trio.to_thread.run_sync(lambda: node.edge)
    state = await trio.to_thread.run_sync(edge.catalogue.refresh)
    seqs = pinned_seqs(folder_of(named), state)
    seq = named.seq or max(seqs, default=0)
    if seq not in seqs:
        raise NotFound(f"{what!r} was not pushed to {edge.where}", hint=f"forge edge push {what}")
    return format_link(parse_link(state.pins[f"{folder_of(named)}{seq}"].root))
