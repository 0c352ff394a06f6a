"""Which chunk of an older version lies where a new one stands: the likely base of a delta.

Chunks that both versions have are anchors. What lies between two neighbouring anchors is paired by its distance from
the first of them: one changed line changes one chunk, which has the old one in its place as base; a chunk that was
split or merged meets the one that covers its middle.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from forge_p2p.content.link import Link
from forge_p2p.content.tree import decode_node
from forge_p2p.ids import Hash

Pair = tuple[Hash, Hash]
"""A chunk to fetch, and the one to name as its base."""


class Version:
    """An older version of one content: its chunks, and its list nodes level by level. The new version's links of one
    level are to be given in order."""

    def __init__(self, link: Link, levels: Sequence[Sequence[Link]]) -> None:
        """`levels`: the links of level 0, of level 1 and so on, up to the root's own."""
        self.link = link
        self._levels = [_Level(links) for links in levels]

    @classmethod
    def read(cls, link: Link, read: Callable[[Hash], bytes | memoryview]) -> "Version":
        """The version that `link` names; raises what `read` raises when a list node is not here, or `Malformed`."""
        levels: list[Sequence[Link]] = [[link]]
        for _ in range(link.level):
            levels.insert(0, [child for node in levels[0] for child in decode_node(node, read(node.hash))])
        return cls(link, levels)

    def offset(self, chunk: Hash) -> int | None:
        """Where in the content a chunk lies, at the last place if there are several; `None` if it is not in it."""
        return self._levels[0].start(chunk)

    def pair(self, links: Sequence[Link]) -> list[Pair]:
        """The next links of their level that are new, each with the old one that it probably came from."""
        level = links[0].level
        return self._levels[level].pair(links) if level < len(self._levels) else []


class _Level:
    """The old links of one level, and how far the new ones have been followed."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links
        self._ends = list(accumulate([link.size for link in links]))
        self._index = {link.hash: at for at, link in enumerate(links)}
        self._anchor = 0
        """The first old link after the last anchor."""
        self._distance = 0
        """Bytes of the new version since then."""

    def start(self, chunk: Hash) -> int | None:
        at = self._index.get(chunk)
        return None if at is None else self._ends[at] - self._links[at].size

    def pair(self, links: Sequence[Link]) -> list[Pair]:
        found: list[Pair] = []
        gap: list[tuple[Hash, int]] = []
        for link in links:
            at = self._index.get(link.hash)
            if at is None:
                gap.append((link.hash, self._distance + link.size // 2))
                self._distance += link.size
                continue
            found += self._pair_gap(gap, at if at >= self._anchor else len(self._links))
            gap = []
            self._anchor, self._distance = at + 1, 0
        return found + self._pair_gap(gap, len(self._links))

    def _pair_gap(self, gap: Sequence[tuple[Hash, int]], end: int) -> list[Pair]:
        """Pairs what is new between two anchors with the old links from the first to `end`."""
        if not gap or self._anchor >= end:
            return []
        start = self._ends[self._anchor] - self._links[self._anchor].size
        return [
            (chunk, self._links[bisect_right(self._ends, start + middle, self._anchor, end - 1)].hash)
            for chunk, middle in gap
        ]
