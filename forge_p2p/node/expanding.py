"""From a link to its chunks while they are still on their way: list nodes are fetched ahead of the chunks they name."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import accumulate

from forge_p2p.content.link import CHUNK_MAX, Link
from forge_p2p.content.tree import decode_node
from forge_p2p.ids import Hash
from forge_p2p.node.placing import NodeTarget, Raw, Slot
from forge_p2p.node.receiving import Receiver

NODES_AHEAD = 16
"""List nodes under way at once; each opens up some 25 MB of content, so this is far ahead of any network."""

CHUNKS_AHEAD = 64
"""Chunks under way when content is read in order: 4 MiB at the average chunk size."""

Leaf = tuple[Hash, int, int]
"""Hash, size, offset within the content."""


async def fetch_ahead(receiver: Receiver, links: Iterable[Link], ahead: int) -> AsyncIterator[tuple[Link, Raw]]:
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


async def leaves(receiver: Receiver, link: Link) -> AsyncIterator[list[Leaf]]:
    """The chunks of `link` in order, in batches of one list node. Memory: the nodes under way. Raises `Malformed`."""
    if link.level == 0:
        yield [(link.hash, link.size, 0)]
        return
    async for _, node in fetch_ahead(receiver, [link], 1):
        async for batch in leaves_below(receiver, link, node):
            yield batch


async def leaves_below(receiver: Receiver, link: Link, node: Raw) -> AsyncIterator[list[Leaf]]:
    """As `leaves`, for a link of level 1 or more whose list node is at hand."""
    children = decode_node(link, node)
    if link.level == 1:
        offsets = accumulate((child.size for child in children), initial=0)
        yield [(child.hash, child.size, offset) for child, offset in zip(children, offsets, strict=False)]
        return
    base = 0
    async for child, below in fetch_ahead(receiver, children, NODES_AHEAD):
        async for batch in leaves_below(receiver, child, below):
            yield [(chunk, size, base + offset) for chunk, size, offset in batch]
        base += child.size


async def content(receiver: Receiver, link: Link) -> AsyncIterator[Raw]:
    """The bytes of `link`, chunk by chunk, verified."""
    async for batch in leaves(receiver, link):
        async for _, piece in fetch_ahead(receiver, [Link(chunk, size, 0) for chunk, size, _ in batch], CHUNKS_AHEAD):
            yield piece


async def _want(receiver: Receiver, fresh: Sequence[tuple[Link, NodeTarget]]) -> None:
    """Wants the chunks themselves; a list node's own size is not in its link, so the window assumes a full chunk."""
    if fresh:
        sizes = [(link.hash, link.size if link.level == 0 else CHUNK_MAX // 4, Slot(target)) for link, target in fresh]
        await receiver.want(sizes, urgent=True)
