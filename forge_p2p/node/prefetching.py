"""A root's content into the store, without restoring it anywhere: what a name will be asked for next."""

from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root
from forge_p2p.content.snapshot import EntryKind
from forge_p2p.node.expanding import NODES_AHEAD, fetch_ahead, leaves_below, listing
from forge_p2p.node.fetching import fetching
from forge_p2p.node.placing import KeptTarget, Slot
from forge_p2p.node.receiving import Counts, Receiver
from forge_p2p.node.target import Target

if TYPE_CHECKING:
    from forge_p2p.node.network import Network

WANTS = 512
"""Small files wanted at once."""


async def prefetch(network: "Network", root: Root, in_network: str, pin: Callable[[], None]) -> Counts:
    """Fetches what is missing of `root` from the members of one network; it belongs to that network then. `pin` is
    called in a worker thread once all is here. Raises as `getting.get`."""

    async def produce(receiver: Receiver) -> None:
        links = [root.link]
        if root.kind is Kind.TREE:
            entries = await listing(receiver, root.link)
            links = [entry.link for entry in entries if entry.kind == EntryKind.FILE]
        # Everybody knows this one: holes cross no network.
        await trio.to_thread.run_sync(fetch.ingest.put, [(ZERO_CHUNK, bytes(CHUNK_MAX))])
        await _want_all(receiver, list(dict.fromkeys(links)))

    members = await network.members()
    lock = members.prefetching.setdefault(root.link.hash, trio.Lock())
    # Who asks second for the same finds it here: a followed name that is synced, too, comes once.
    async with lock, fetching(network, Target(root, None, (), in_network)) as fetch:
        counts = await fetch.run(produce, lambda counts: None)
        await fetch.commit()
        await trio.to_thread.run_sync(pin)
        await fetch.keep()
    return counts


async def _want_all(receiver: Receiver, links: list[Link]) -> None:
    small = [link for link in links if link.level == 0]
    for start in range(0, len(small), WANTS):
        part = small[start : start + WANTS]
        await receiver.want([(link.hash, link.size, Slot(KeptTarget(), size=link.size)) for link in part])
    large = [link for link in links if link.level > 0]
    async with aclosing(fetch_ahead(receiver, large, NODES_AHEAD)) as nodes:
        number = 0
        async for link, node in nodes:
            target = KeptTarget(number)
            number += 1
            async with aclosing(leaves_below(receiver, link, node)) as batches:
                async for batch in batches:
                    await receiver.want([(chunk, size, Slot(target, offset, size)) for chunk, size, offset in batch])
