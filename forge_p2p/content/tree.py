"""List nodes: what stands between a link of level n and its chunks.

A node is a header, the format's number and the node's own level, and one row of 40 bytes for each child: its hash and
its size. Where a node ends depends on the hash of its last child, so that a change in a long file rewrites one node a
level and leaves all others as they were. Nodes are small (128 to 1536 children, about 380, 15 KB): what is saved on a
change is worth more than a level less, and a node stays below the 64 KiB that a store keeps inline.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from forge_p2p.content.link import CHUNK_MAX, MAX_LEVEL, MAX_SIZE, Link, hash_bytes
from forge_p2p.errors import Malformed, UsageError
from forge_p2p.ids import HASH_SIZE, Hash

NODE_FORMAT: Final = 1

CHILDREN_MIN: Final = 128
"""A node's end is not looked for before; content of up to 8 MiB or so is one node, one round trip. 128 children a node
and 16 KiB a chunk reach `MAX_SIZE` at level 6, `MAX_LEVEL`."""

CHILDREN_MAX: Final = 1536

_END_BYTE: Final = 0
"""A node ends after a child whose hash ends in this byte: one in 256."""

_HEADER = struct.Struct("<BB")
_ROW = struct.Struct(f"<{HASH_SIZE}sQ")

NODE_MAX: Final = _HEADER.size + CHILDREN_MAX * _ROW.size
"""Bytes of the largest node: 61,442."""

_EMPTY = hash_bytes(b"")


class TreeBuilder:
    """Turns the chunks of one content, given in order, into its link, and collects the nodes on the way.

    Memory: one unfinished node a level, and the finished nodes until `take_nodes` is called.
    """

    def __init__(self) -> None:
        self._levels: list[_OpenNode] = []
        self._nodes: list[tuple[Hash, bytes]] = []
        self._size = 0

    def add(self, chunk: Hash, size: int) -> None:
        """The next chunk of the content. Raises `UsageError` past `MAX_SIZE`."""
        self._size += size
        if self._size > MAX_SIZE:
            raise UsageError(f"content is larger than {MAX_SIZE} bytes, the most that one link can name")
        self._add(0, chunk, size)

    def add_all(self, chunks: Iterable[tuple[Hash, int]]) -> None:
        """As `add`, for many."""
        for chunk, size in chunks:
            self.add(chunk, size)

    def take_nodes(self) -> list[tuple[Hash, bytes]]:
        """The nodes finished since the last call, in the form `Ingest.put` takes."""
        nodes, self._nodes = self._nodes, []
        return nodes

    def finish(self) -> Link:
        """The content's link, that of no bytes if nothing was added. `take_nodes` has the last nodes afterwards."""
        if not self._levels:
            return Link(_EMPTY, 0, 0)
        level = 0
        while level < len(self._levels) - 1 or self._levels[level].count > 1:
            if self._levels[level].count:
                self._close(level)
            level += 1
        return Link(Hash(bytes(self._levels[level].rows[:HASH_SIZE])), self._size, level)

    def _add(self, level: int, child: Hash, size: int) -> None:
        if level == len(self._levels):
            self._levels.append(_OpenNode())
        node = self._levels[level]
        node.rows += _ROW.pack(child, size)
        node.count += 1
        node.size += size
        if node.count >= CHILDREN_MIN and (child[-1] == _END_BYTE or node.count == CHILDREN_MAX):
            self._close(level)

    def _close(self, level: int) -> None:
        """Ends the open node over children of `level` and makes it a child one level up."""
        node = self._levels[level]
        self._levels[level] = _OpenNode()
        data = _HEADER.pack(NODE_FORMAT, level + 1) + node.rows
        name = hash_bytes(data)
        self._nodes.append((name, data))
        self._add(level + 1, name, node.size)


class _OpenNode:
    """The rows of a node that has not ended yet."""

    __slots__ = ("count", "rows", "size")

    def __init__(self) -> None:
        self.rows = bytearray()
        self.count = 0
        self.size = 0


def decode_node(link: Link, node: bytes | bytearray | memoryview) -> list[Link]:
    """The children of `link`, whose chunk `node` is (and was verified as).

    Raises `Malformed` unless the level is the link's, the rows are whole, at least one and at most `CHILDREN_MAX`,
    no chunk is empty or above `CHUNK_MAX`, and the sizes add up to the link's.
    """
    count, rest = divmod(len(node) - _HEADER.size, _ROW.size)
    if rest or not 0 < count <= CHILDREN_MAX:
        raise _malformed(link, f"{len(node)} bytes are not a whole number of 1 to {CHILDREN_MAX} rows")
    form, level = _HEADER.unpack_from(node)
    if form != NODE_FORMAT:
        raise _malformed(link, f"its format is {form}, this version reads {NODE_FORMAT}")
    if level != link.level or not 0 < level <= MAX_LEVEL:
        raise _malformed(link, f"it says level {level}, its link says {link.level}")
    rows = list(_ROW.iter_unpack(memoryview(node)[_HEADER.size :]))
    sizes = [size for _, size in rows]
    if min(sizes) == 0 or sum(sizes) != link.size or link.size > MAX_SIZE:
        raise _malformed(link, f"its children's sizes do not add up to {link.size}")
    below = level - 1
    if below == 0 and max(sizes) > CHUNK_MAX:
        raise _malformed(link, f"a chunk has {max(sizes)} bytes, the most is {CHUNK_MAX}")
    return [Link(Hash(name), size, below) for name, size in rows]


def overlapping(children: Iterable[Link], base: int, start: int, stop: int) -> Iterator[tuple[int, Link]]:
    """Those of `children`, the first of which begins at offset `base`, that hold any byte of `[start, stop)`, each with
    its own offset: level by level this leads a read in the middle to its chunks."""
    for child in children:
        if base >= stop:
            return
        if base + child.size > start:
            yield base, child
        base += child.size


def _malformed(link: Link, reason: str) -> Malformed:
    return Malformed(f"list node {link.hash.hex()[:16]} is malformed: {reason}")
