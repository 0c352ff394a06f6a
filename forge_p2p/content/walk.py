"""From a root down to its chunks: what a link reaches, given a way to read chunks.

`read` returns a chunk's verified bytes and raises what its owner raises when there is none; everything here streams, so
a walk over a terabyte holds one list node a level.
"""

from collections.abc import Callable, Iterator

from forge_p2p.content.link import Link, Root
from forge_p2p.content.snapshot import Entry, EntryKind, ListingDecoder
from forge_p2p.content.tree import decode_node
from forge_p2p.ids import Hash

Read = Callable[[Hash], bytes | memoryview]


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
