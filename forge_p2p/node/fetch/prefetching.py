"""A root's content into the store, without restoring it anywhere: what a name will be asked for next."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.link import CHUNK_MAX, Root
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.node.fetch.bases import Previous
from forge_p2p.node.fetch.earlier import Earlier
from forge_p2p.node.fetch.expanding import NODES_AHEAD, fetch_ahead, leaves_below, listing
from forge_p2p.node.fetch.fetching import fetching
from forge_p2p.node.fetch.placing import KeptTarget, Slot
from forge_p2p.node.fetch.receiving import Counts, Receiver
from forge_p2p.node.target import Target

if TYPE_CHECKING:
    from forge_p2p.node.network import Network

WANTS = 512
"""Small files wanted at once."""


async def prefetch(
    network: "Network",
    root: Root,
    in_network: str,
    pin: Callable[[], None],
    previous: Root | None = None,
    *,
    edge_only: bool = False,
) -> Counts:
    """Fetches what is missing of `root` from the members of one network; it belongs to that network then. `pin` is
    called in a worker thread once all is here. `previous`: an earlier version of that network that is here, for deltas.
    `edge_only`: from the bucket alone, and it is for `pin` to say what it belongs to. Raises as `getting.get`."""
    usable = previous if previous is not None and previous != root and previous.kind is root.kind else None

    async def produce(receiver: Receiver) -> None:
        earlier = Earlier(network.node.store, usable) if usable else None
        fetch.previous = Previous(usable) if usable else None
        link = root.link
        entries = [Entry(b"blob", EntryKind.FILE, 0, 0, link.size, link.level, link.hash)]
        if root.kind.is_listing:
            old = await trio.to_thread.run_sync(earlier.root) if earlier else None
            entries = [each for each in await listing(receiver, root.link, old) if each.kind == EntryKind.FILE]
        # Everybody knows this one: holes cross no network.
        await trio.to_thread.run_sync(fetch.ingest.put, [(ZERO_CHUNK, bytes(CHUNK_MAX))])
        await want_all(receiver, list({entry.link: entry for entry in entries}.values()), earlier)

    members = await network.members()
    lock = members.prefetching.setdefault(root.link.hash, trio.Lock())
    # Who asks second for the same finds it here: a followed name that is synced, too, comes once.
    async with lock, fetching(network, Target(root, None, (), in_network), edge_only=edge_only) as fetch:
        counts = await fetch.run(produce, lambda counts: None)
        await fetch.commit()
        await trio.to_thread.run_sync(pin)
        await fetch.keep()
    return counts


async def want_all(receiver: Receiver, entries: Sequence[Entry], earlier: Earlier | None = None) -> None:
    """Wants files into the store. `earlier`: where what they were before is found."""
    if earlier is not None:
        receiver.pair(await trio.to_thread.run_sync(earlier.pairs, entries))
    small = [entry.link for entry in entries if entry.level == 0]
    for start in range(0, len(small), WANTS):
        part = small[start : start + WANTS]
        await receiver.want([(link.hash, link.size, Slot(KeptTarget(), size=link.size)) for link in part])
    large = [entry for entry in entries if entry.level > 0]
    async with aclosing(fetch_ahead(receiver, [entry.link for entry in large], NODES_AHEAD)) as nodes:
        number = 0
        async for link, node in nodes:
            old = await trio.to_thread.run_sync(earlier.version_of, large[number]) if earlier else None
            target = KeptTarget(number)
            number += 1
            async with aclosing(leaves_below(receiver, link, node, old)) as batches:
                async for batch in batches:
                    await receiver.want([(chunk, size, Slot(target, offset, size)) for chunk, size, offset in batch])
