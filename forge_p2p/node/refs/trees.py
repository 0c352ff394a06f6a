"""What a root holds, without any of its content."""

from typing import TYPE_CHECKING

import trio

from forge_p2p.content.link import Root
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import CorruptChunk, NotFound
from forge_p2p.node.fetch.expanding import listing
from forge_p2p.node.fetch.fetching import fetching
from forge_p2p.node.fetch.receiving import Receiver
from forge_p2p.node.operations.getting import listing_here
from forge_p2p.node.target import Target

if TYPE_CHECKING:
    from forge_p2p.node.network import Network


async def read_listing(network: "Network", root: Root, in_network: str) -> list[Entry]:
    """Everything in a tree, from the store or fetched; nothing for a blob. Raises as `getting.get`."""
    try:
        return await trio.to_thread.run_sync(listing_here, network.node, root)
    except (NotFound, CorruptChunk):
        entries: list[Entry] = []

    async def produce(receiver: Receiver) -> None:
        entries.extend(await listing(receiver, root.link))

    async with fetching(network, Target(root, None, (), in_network)) as fetch:
        await fetch.run(produce, lambda counts: None)
    return entries
