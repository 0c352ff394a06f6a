"""Operation: edge pull. A link's or a name's content from the bucket alone, whoever else may have it."""

from typing import TYPE_CHECKING

import trio

from forge_p2p.content.catalogue import PinEntry
from forge_p2p.content.linktext import format_link, is_link
from forge_p2p.content.ref import RefRecord, decode_record
from forge_p2p.errors import NotFound, Untrusted
from forge_p2p.node.edge.naming import folder_of, named_here, pinned_seqs
from forge_p2p.node.local import Report
from forge_p2p.node.refs.book import require_unexpired
from forge_p2p.node.refs.naming import Named
from forge_p2p.node.results import GetResult

if TYPE_CHECKING:
    from forge_p2p.node.network import Network
    from forge_p2p.node.refs.book import Book


async def pull(
    network: "Network", *, what: str, destination: str, in_network: str = "", report: Report, check: bool = False
) -> GetResult:
    """As `getting.get`, from the bucket. A name is what was last pushed of it, which costs no word with its home.
    Raises `UsageError`, `NotFound`, `Untrusted`, `BucketError`, and what `get` does."""
    from forge_p2p.node.operations.getting import get

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
    pin = state.pins[f"{folder_of(named)}{seq}"]
    members = await network.members()
    record = await trio.to_thread.run_sync(_believed, members.names.book, named, seq, pin)
    if not named.seq:
        require_unexpired(record)
    return format_link(record.target)


def _believed(book: "Book", named: Named, seq: int, pin: PinEntry) -> RefRecord:
    """The record that a pin of a name is about. Whoever may write into the bucket may pin anything under any name, so
    its author has to have the right. Raises `Untrusted`, `Malformed`."""
    if not pin.record:
        what = named.ref(seq)
        raise Untrusted(f"the bucket does not say who published {what}", hint=f"forge edge push {what} lets it")
    record = decode_record(pin.record)
    if record.seq != seq:
        raise Untrusted(f"the bucket has record {record.seq} of {record.name!r} in the place of {named.ref(seq)}")
    book.verify_alone(named.network, named.name, record)
    return record
