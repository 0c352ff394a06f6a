"""How fetches went: what came from whom, kept for `forge why`."""

from pathlib import Path

import msgspec

from forge_p2p.node.home import Home
from forge_p2p.node.network_results import FetchEntry
from forge_p2p.node.records import newest_first, write_record

KEPT = 64
"""Fetches remembered, one a link; past it the oldest go."""


class History:
    """Never raises for a full disk or a damaged file: nothing depends on it."""

    def __init__(self, home: Home) -> None:
        self._folder = Path(home.cache) / "fetches"

    def remember(self, fetch: FetchEntry) -> None:
        """Notes how a fetch ended, in place of what was noted of the link before."""
        try:
            write_record(self._folder / fetch.link, msgspec.json.encode(fetch), durable=False)
            for old in newest_first(self._folder)[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError:
            return

    def find(self, link: str) -> FetchEntry | None:
        """The last fetch of a link."""
        try:
            return msgspec.json.decode((self._folder / link).read_bytes(), type=FetchEntry)
        except (OSError, msgspec.DecodeError):
            return None
