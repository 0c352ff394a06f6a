"""Which chunks a capability opens: exactly those that its root reaches.

The closure is computed once per root and kept as sorted 64-bit prefixes of the hashes, 8 bytes a chunk, so that a share
of 50 GB costs 7 MB. A prefix is enough: to be let through wrongly, a stranger would need the full hash of a chunk that
is here, is not shared with it, and agrees in 64 bits with one that is; the hash of content it does not have is already
beyond guessing.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice

from forge_p2p.content.link import Root
from forge_p2p.content.walk import Read, reach
from forge_p2p.ids import Hash

BLOCK = 65536


class Closure:
    """The set of chunks that one root reaches. Building it reads every list node and the listing."""

    __slots__ = ("_prefixes",)

    def __init__(self, root: Root, read: Read) -> None:
        self._prefixes = _sorted_prefixes(reach(root, read))

    def allows(self, chunk: Hash) -> bool:
        """Whether the capability opens this chunk."""
        prefix = int.from_bytes(chunk[:8], "big")
        index = bisect_left(self._prefixes, prefix)
        return index < len(self._prefixes) and self._prefixes[index] == prefix

    def __len__(self) -> int:
        return len(self._prefixes)


def _sorted_prefixes(hashes: Iterator[Hash]) -> "array[int]":
    """In blocks of distinct values, because a closure names shared list nodes and zero chunks over and over."""
    gathered: array[int] = array("Q")
    while block := {int.from_bytes(chunk[:8], "big") for chunk in islice(hashes, BLOCK)}:
        gathered.extend(block)
    return array("Q", sorted(gathered))
