"""Whom this node got its content from: the tickets of its gets, kept so that damaged chunks can be fetched again.

One file a root in the node's folder, as private as the key, for a ticket is a secret.
"""

import os
from pathlib import Path

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link
from forge_p2p.errors import UsageError
from forge_p2p.node.home import Home
from forge_p2p.node.target import Target, parse_target

KEPT = 256
"""Tickets remembered; past it the oldest go."""


class Sources:
    """Never raises for a full disk or a damaged file: a source that is forgotten costs a chance to heal, no content."""

    def __init__(self, home: Home) -> None:
        self._folder = home.path / "sources"

    def remember(self, root: Root, ticket: str) -> None:
        """Notes that `ticket` led to the content of `root`."""
        path = self._folder / format_link(root)
        temporary = self._folder / f".{os.getpid()}.{os.urandom(4).hex()}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            try:
                temporary.write_text(ticket.strip())
                temporary.chmod(0o600)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            for old in self._newest_first()[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError:
            return

    def all(self) -> list[Target]:
        """Those remembered, newest first."""
        targets = []
        for path in self._newest_first():
            try:
                targets.append(parse_target(path.read_text()))
            except (OSError, UnicodeDecodeError, UsageError):
                continue
        return targets

    def _newest_first(self) -> list[Path]:
        try:
            paths = [path for path in self._folder.iterdir() if not path.name.startswith(".")]
            return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        except OSError:
            return []
