"""From a link to its chunks while they are still on their way: list nodes are fetched ahead of the chunks they name.

All of these are async generators: whoever may stop in the middle, be it for an error, uses them in `aclosing`.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from itertools import accumulate

from forge_p2p.content.align import Version
from forge_p2p.content.link import CHUNK_MAX, Link
from forge_p2p.content.snapshot import Entry, ListingDecoder
from forge_p2p.content.tree import decode_node, overlapping
from forge_p2p.errors import HostileSnapshot
from forge_p2p.ids import Hash
from forge_p2p.node.fetch.placing import NodeTarget, Raw, Slot
from forge_p2p.node.fetch.receiving import Receiver

NODES_AHEAD = 16
"""List nodes under way at once; each opens up some 25 MB of content, so this is far ahead of any network."""

CHUNKS_AHEAD = 64
"""Chunks under way when content is read in order: 4 MiB at the average chunk size."""

LISTING_MAX = 512 * 1024 * 1024
"""Bytes: some five million files. A listing is held in memory; a longer one is refused before any of it is fetched."""

Leaf = tuple[Hash, int, int]
"""Hash, size, offset within the content."""


async def fetch_ahead(receiver: Receiver, links: Iterable[Link], ahead: int) -> AsyncGenerator[tuple[Link, Raw]]:
    """The bytes of the chunks that `links` name themselves (list nodes or leaves), in order, `ahead` of them wanted
    before the first is there."""
    waiting: deque[tuple[Link, NodeTarget]] = deque()
    fresh: list[tuple[Link, NodeTarget]] = []
    for link in links:
        fresh.append((link, NodeTarget()))
        if len(fresh) * 2 >= ahead:
            await _want(receiver, fresh)
            waiting.extend(fresh)
            fresh = []
        while len(waiting) > ahead:
            first, target = waiting.popleft()
            yield first, await receiver.taken(target)
    await _want(receiver, fresh)
    waiting.extend(fresh)
    for link, target in waiting:
        yield link, await receiver.taken(target)


async def leaves(receiver: Receiver, link: Link, old: Version | None = None) -> AsyncGenerator[list[Leaf]]:
    """The chunks of `link` in order, in batches of one list node. `old`: an earlier version, whose chunks the new ones
    are paired with. Memory: the nodes under way. Raises `Malformed`."""
    _pair(receiver, [link], old)
    if link.level == 0:
        yield [(link.hash, link.size, 0)]
        return
    async with aclosing(fetch_ahead(receiver, [link], 1)) as nodes:
        async for _, node in nodes:
            async with aclosing(leaves_below(receiver, link, node, old)) as below:
                async for batch in below:
                    yield batch


async def leaves_below(
    receiver: Receiver, link: Link, node: Raw, old: Version | None = None
) -> AsyncGenerator[list[Leaf]]:
    """As `leaves`, for a link of level 1 or more whose list node is at hand."""
    children = decode_node(link, node)
    _pair(receiver, children, old)
    if link.level == 1:
        offsets = accumulate((child.size for child in children), initial=0)
        yield [(child.hash, child.size, offset) for child, offset in zip(children, offsets, strict=False)]
        return
    base = 0
    async with aclosing(fetch_ahead(receiver, children, NODES_AHEAD)) as nodes:
        async for child, list_node in nodes:
            async with aclosing(leaves_below(receiver, child, list_node, old)) as below:
                async for batch in below:
                    yield [(chunk, size, base + offset) for chunk, size, offset in batch]
            base += child.size


async def content(receiver: Receiver, link: Link, old: Version | None = None) -> AsyncGenerator[Raw]:
    """The bytes of `link`, chunk by chunk, verified."""
    async with aclosing(leaves(receiver, link, old)) as batches:
        async for batch in batches:
            links = [Link(chunk, size, 0) for chunk, size, _ in batch]
            async with aclosing(fetch_ahead(receiver, links, CHUNKS_AHEAD)) as pieces:
                async for _, piece in pieces:
                    yield piece


async def between(receiver: Receiver, link: Link, start: int, stop: int) -> AsyncGenerator[Raw]:
    """The bytes `[start, stop)` of `link`, verified: of each level only the nodes that lead there. Memory: the links of
    the range's chunks. Raises `Malformed`."""
    spans = [(0, link)]
    for _ in range(link.level):
        below: list[tuple[int, Link]] = []
        at = iter(spans)
        async with aclosing(fetch_ahead(receiver, [each for _, each in spans], NODES_AHEAD)) as nodes:
            async for parent, node in nodes:
                base, _ = next(at)
                below += overlapping(decode_node(parent, node), base, start, stop)
        spans = below
    bases = iter(spans)
    async with aclosing(fetch_ahead(receiver, [each for _, each in spans], CHUNKS_AHEAD)) as pieces:
        async for _, piece in pieces:
            base, _ = next(bases)
            yield memoryview(piece)[max(start - base, 0) : stop - base]


async def listing(
    receiver: Receiver, link: Link, old: Version | None = None, *, most: int = LISTING_MAX
) -> list[Entry]:
    """All entries of a tree, checked; of no more than `most` bytes. Raises `Malformed` or `HostileSnapshot`."""
    if link.size > most:
        raise HostileSnapshot(f"refused a listing of {link.size} bytes: the most is {most}")
    entries: list[Entry] = []
    decoder = ListingDecoder()
    async with aclosing(content(receiver, link, old)) as pieces:
        async for piece in pieces:
            entries += decoder.feed(piece)
    decoder.finish()
    return entries


def _pair(receiver: Receiver, links: Sequence[Link], old: Version | None) -> None:
    if old is not None:
        receiver.pair(old.pair(links))


async def _want(receiver: Receiver, fresh: Sequence[tuple[Link, NodeTarget]]) -> None:
    """Wants the chunks themselves; a list node's own size is not in its link, so the window assumes a full chunk."""
    if fresh:
        sizes = [link.size if link.level == 0 else 0 for link, _ in fresh]
        wanted = [
            (link.hash, size or CHUNK_MAX // 4, Slot(target, size=size))
            for (link, target), size in zip(fresh, sizes, strict=True)
        ]
        await receiver.want(wanted, urgent=True)
