"""Which chunks a capability opens: exactly those that its root reaches.

The closure is computed once per root and kept as sorted 64-bit prefixes of the hashes, 8 bytes a chunk, so that a share
of 50 GB costs 7 MB. A prefix is enough: to be let through wrongly, a stranger would need the full hash of a chunk that
is here, is not shared with it, and agrees in 64 bits with one that is; the hash of content it does not have is already
beyond guessing.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.link import Root
from forge_p2p.content.walk import Read, reach
from forge_p2p.errors import NotFound
from forge_p2p.ids import Hash, prefix_of

BLOCK = 65536

Missing = Callable[[list[Hash]], list[Hash]]
"""Which of these a store lacks."""


class Closure:
    """The set of chunks that one root reaches. Building it reads every list node and the listing, and looks for all
    other chunks if it is told what is `missing`. Raises `NotFound`, or what `read` raises."""

    __slots__ = ("_prefixes",)

    def __init__(self, root: Root, read: Read, missing: Missing | None = None) -> None:
        hashes = reach(root, read)
        self._prefixes = _sorted_prefixes(hashes if missing is None else _present(hashes, missing))

    @property
    def prefixes(self) -> "array[int]":
        """The first 64 bits of each hash, ascending; not to be changed."""
        return self._prefixes

    def allows(self, chunk: Hash) -> bool:
        """Whether the capability opens this chunk."""
        prefix = prefix_of(chunk)
        index = bisect_left(self._prefixes, prefix)
        return index < len(self._prefixes) and self._prefixes[index] == prefix

    def __len__(self) -> int:
        return len(self._prefixes)


def _present(hashes: Iterator[Hash], missing: Missing) -> Iterator[Hash]:
    while block := list(dict.fromkeys(islice(hashes, BLOCK))):
        lacking = [chunk for chunk in missing(block) if chunk != ZERO_CHUNK]  # holes need not be stored
        if lacking:
            raise NotFound(f"{len(lacking)} chunks are not here any more, first {lacking[0].hex()[:16]}…")
        yield from block


def _sorted_prefixes(hashes: Iterator[Hash]) -> "array[int]":
    """In blocks of distinct values, because a closure names shared list nodes and zero chunks over and over."""
    gathered: array[int] = array("Q")
    while block := set(map(prefix_of, islice(hashes, BLOCK))):
        gathered.extend(block)
    return array("Q", sorted(gathered))
