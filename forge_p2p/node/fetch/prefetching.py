"""A root's content into the store: what a name will be asked for next, or what a folder is going to be."""

from collections.abc import Callable, Collection, Sequence
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
from forge_p2p.node.fetch.placing import KeptTarget, LargeTarget, Slot, SmallTarget
from forge_p2p.node.fetch.receiving import Counts, Receiver, Wanted
from forge_p2p.node.target import Target
from forge_p2p.workspace.restore import RestoreWriter

if TYPE_CHECKING:
    from forge_p2p.node.network import Network

WANTS = 512
"""Small files wanted at once."""

Stage = Callable[[Sequence[Entry]], RestoreWriter | None]
"""Called in a worker thread with all that a root holds, as soon as that is known: where the files that its plan has to
write are written as they arrive. The writer stays the caller's."""


async def prefetch(
    network: "Network",
    root: Root,
    in_network: str,
    pin: Callable[[], None],
    previous: Root | None = None,
    *,
    edge_only: bool = False,
    stage: Stage | None = None,
) -> Counts:
    """Fetches what is missing of `root` from the members of one network; it belongs to that network then. `pin` is
    called in a worker thread once all is here. `previous`: an earlier version of that network that is here, for deltas.
    `edge_only`: from the bucket alone, and it is for `pin` to say what it belongs to. `stage`: of a tree, where files
    go besides. Raises as `getting.get`."""
    usable = previous if previous is not None and previous != root and previous.kind is root.kind else None

    async def produce(receiver: Receiver) -> None:
        earlier = Earlier(network.node.store, usable) if usable else None
        fetch.previous = Previous(usable) if usable else None
        link = root.link
        entries = [Entry(b"blob", EntryKind.FILE, 0, 0, link.size, link.level, link.hash)]
        staged: Collection[bytes] = ()
        if root.kind.is_listing:
            old = await trio.to_thread.run_sync(earlier.root) if earlier else None
            entries = await listing(receiver, root.link, old)
            writer = await trio.to_thread.run_sync(stage, entries) if stage else None
            if writer is not None:
                receiver.restore_to(writer)
                staged = {entry.path for entry in writer.plan.write}
            entries = [each for each in entries if each.kind == EntryKind.FILE]
        # Everybody knows this one: holes cross no network.
        await trio.to_thread.run_sync(fetch.ingest.put, [(ZERO_CHUNK, bytes(CHUNK_MAX))])
        await want_all(receiver, _once(entries, staged), earlier, staged)

    members = await network.members()
    lock = members.prefetching.setdefault(root.link.hash, trio.Lock())
    # Who asks second for the same finds it here: a followed name that is synced, too, comes once.
    async with lock, fetching(network, Target(root, None, (), in_network), edge_only=edge_only) as fetch:
        counts = await fetch.run(produce, lambda counts: None)
        await fetch.commit()
        await trio.to_thread.run_sync(pin)
        await fetch.keep()
    return counts


def _once(entries: Sequence[Entry], staged: Collection[bytes]) -> list[Entry]:
    """Each content once, but for the files that are staged: each of those is wanted."""
    kept = {entry.link: entry for entry in entries if entry.path not in staged}
    return [each for each in entries if each.path in staged or kept[each.link] is each]


async def want_all(
    receiver: Receiver, entries: Sequence[Entry], earlier: Earlier | None = None, staged: Collection[bytes] = ()
) -> None:
    """Wants files into the store. `earlier`: where what they were before is found. `staged`: paths of those that are
    wanted at the destination, too."""
    if earlier is not None:
        receiver.pair(await trio.to_thread.run_sync(earlier.pairs, entries))
    small = [entry for entry in entries if entry.level == 0]
    for start in range(0, len(small), WANTS):
        await receiver.want([_small(entry, entry.path in staged) for entry in small[start : start + WANTS]])
    large = [entry for entry in entries if entry.level > 0]
    async with aclosing(fetch_ahead(receiver, [entry.link for entry in large], NODES_AHEAD)) as nodes:
        number = 0
        async for link, node in nodes:
            entry = large[number]
            old = await trio.to_thread.run_sync(earlier.version_of, entry) if earlier else None
            target = LargeTarget(entry, number, link.size) if entry.path in staged else KeptTarget(number)
            number += 1
            async with aclosing(leaves_below(receiver, link, node, old)) as batches:
                async for batch in batches:
                    await receiver.want([(chunk, size, Slot(target, offset, size)) for chunk, size, offset in batch])


def _small(entry: Entry, is_staged: bool) -> Wanted:
    target = SmallTarget(entry) if is_staged else KeptTarget()
    return entry.link.hash, entry.size, Slot(target, size=entry.size)
