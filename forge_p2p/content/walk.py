"""From a root down to its chunks: what a link reaches, given a way to read chunks.

`read` returns a chunk's verified bytes and raises what its owner raises when there is none; everything here streams, so
a walk over a terabyte holds one list node a level.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from forge_p2p.content.link import Link, Root
from forge_p2p.content.snapshot import Entry, EntryKind, ListingDecoder
from forge_p2p.content.tree import decode_node
from forge_p2p.ids import Hash

Read = Callable[[Hash], bytes | memoryview]

ReadMany = Callable[[Sequence[Hash]], Sequence[bytes | memoryview]]
"""As `Read`, for several at once, in their order."""

BATCH: Final = 256
"""Chunks read at once: at most 64 MiB."""


def leaves(link: Link, read: Read) -> Iterator[Link]:
    """The level 0 links of `link`, in the order of its bytes."""
    if link.level == 0:
        yield link
        return
    for child in decode_node(link, read(link.hash)):
        yield from leaves(child, read)


def stream(link: Link, read: Read) -> Iterator[bytes | memoryview]:
    """The bytes of `link`, chunk by chunk."""
    return (read(leaf.hash) for leaf in leaves(link, read))


def entries(listing: Link, read: Read) -> Iterator[list[Entry]]:
    """The checked entries of a tree's listing, page by page. Raises `Malformed` or `HostileSnapshot`."""
    decoder = ListingDecoder()
    for piece in stream(listing, read):
        yield decoder.feed(piece)
    decoder.finish()


def reach(root: Root, read: Read) -> Iterator[Hash]:
    """Every chunk that `root` needs: list nodes, listing and contents. A hash may come more than once."""
    yield from _reach_link(root.link, read)
    if root.kind.is_listing:
        for page in entries(root.link, read):
            for entry in page:
                if entry.kind == EntryKind.FILE:
                    yield from _reach_link(entry.link, read)


def _reach_link(link: Link, read: Read) -> Iterator[Hash]:
    yield link.hash
    if link.level == 1:
        yield from (child.hash for child in decode_node(link, read(link.hash)))
    elif link.level > 1:
        for child in decode_node(link, read(link.hash)):
            yield from _reach_link(child, read)


def reach_by_level(root: Root, read: ReadMany) -> Iterator[Hash]:
    """As `reach`, in another order: level by level, so that where reading is a request many are read in one."""
    files = [root.link]
    if root.kind.is_listing:
        leaves_of_listing: list[Link] = []
        yield from _descend([root.link], read, leaves_of_listing)
        decoder = ListingDecoder()
        found: list[Entry] = []
        for part in _batches(leaves_of_listing):
            for piece in read([leaf.hash for leaf in part]):
                found += decoder.feed(piece)
        decoder.finish()
        files = list({entry.link: None for entry in found if entry.kind == EntryKind.FILE})
    yield from _descend(files, read, [])


def _descend(links: list[Link], read: ReadMany, leaves_found: list[Link]) -> Iterator[Hash]:
    """All that `links` reach; their level 0 links go to `leaves_found`, in the order of the bytes of each."""
    order: list[Link] = links
    while order:
        yield from (link.hash for link in order)
        nodes = [link for link in order if link.level]
        if not nodes:
            leaves_found += order
            return
        children: dict[Link, list[Link]] = {}
        for part in _batches(nodes):
            contents = read([link.hash for link in part])
            children.update(zip(part, map(decode_node, part, contents), strict=True))
        order = [child for link in order for child in (children[link] if link.level else [link])]


def _batches(links: Sequence[Link]) -> Iterator[Sequence[Link]]:
    return (links[start : start + BATCH] for start in range(0, len(links), BATCH))
