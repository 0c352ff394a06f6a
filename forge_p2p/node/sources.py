"""Whom this node got its content from: the tickets of its gets, kept so that damaged chunks can be fetched again.

One file a root in the node's folder, as private as the key, for a ticket is a secret.
"""

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link
from forge_p2p.errors import UsageError
from forge_p2p.node.home import Home
from forge_p2p.node.records import newest_first, write_record
from forge_p2p.node.target import Target, parse_target

KEPT = 256
"""Tickets remembered; past it the oldest go."""


class Sources:
    """Never raises for a full disk or a damaged file: a source that is forgotten costs a chance to heal, no content."""

    def __init__(self, home: Home) -> None:
        self._folder = home.path / "sources"

    def remember(self, root: Root, ticket: str) -> None:
        """Notes that `ticket` led to the content of `root`."""
        try:
            write_record(self._folder / format_link(root), ticket.strip().encode(), durable=False)
            for old in newest_first(self._folder)[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError:
            return

    def all(self) -> list[Target]:
        """Those remembered, newest first."""
        targets = []
        try:
            paths = newest_first(self._folder)
        except OSError:
            return []
        for path in paths:
            try:
                targets.append(parse_target(path.read_text()))
            except (OSError, UnicodeDecodeError, UsageError):
                continue
        return targets
