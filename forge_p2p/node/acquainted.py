"""Who knows of which content: the nodes by whose tickets it came, and the networks whose members it came from.

What is asked of a peer with the help of an earlier version tells it that this version is here, and short hashes of what
is in it. So that is told to those alone who know of it already. One file a root in the node's cache.
"""

from collections.abc import Iterable
from pathlib import Path

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link
from forge_p2p.node.home import Home
from forge_p2p.node.records import newest_first, write_record

KEPT = 256
"""Roots remembered; past it the oldest go."""

KNOWING_MAX = 16
"""Nodes and networks remembered of one root."""


class Acquainted:
    """Never raises for a full disk or a damaged file: what is forgotten makes an update larger, and no secret known."""

    def __init__(self, home: Home) -> None:
        self._folder = Path(home.cache) / "acquainted"

    def remember(self, root: Root, ids: Iterable[bytes]) -> None:
        """Notes that these nodes and networks, by their keys, gave the content of `root`. Blocks."""
        known = self.of(root)
        new = set(ids) - known
        if not new:
            return
        lines = [each.hex() for each in (*sorted(new), *sorted(known))][:KNOWING_MAX]
        try:
            write_record(self._folder / format_link(root), "\n".join(lines).encode(), durable=False)
            for old in newest_first(self._folder)[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError:
            return

    def of(self, root: Root) -> frozenset[bytes]:
        """Nodes and networks that know of `root`. Blocks."""
        try:
            text = (self._folder / format_link(root)).read_text()
            return frozenset(bytes.fromhex(line) for line in text.split())
        except (OSError, ValueError):
            return frozenset()
