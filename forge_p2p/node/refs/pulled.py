"""What was last pulled into which destination, so that the next pull removes what is no longer part of it."""

from pathlib import Path

import msgspec

from forge_p2p.content.link import Root, hash_bytes
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.content.pathtext import path_bytes
from forge_p2p.errors import ForgeError
from forge_p2p.node.home import Home
from forge_p2p.node.records import newest_first, write_record

KEPT = 1024
"""Destinations remembered; past it the oldest go, and files that a later version does not have stay there."""


class _Pulled(msgspec.Struct, frozen=True):
    destination: str
    link: str


class PulledRecords:
    """Never raises for a full disk or a damaged file: without a record nothing is removed."""

    def __init__(self, home: Home) -> None:
        self._folder = Path(home.cache) / "pulled"

    def find(self, destination: str) -> Root | None:
        """What the destination was made last."""
        try:
            found = msgspec.json.decode(self._file(destination).read_bytes(), type=_Pulled)
            return parse_link(found.link) if found.destination == destination else None
        except (OSError, msgspec.DecodeError, ForgeError):
            return None

    def remember(self, destination: str, root: Root) -> None:
        """The destination is this now."""
        try:
            content = msgspec.json.encode(_Pulled(destination, format_link(root)))
            write_record(self._file(destination), content, durable=False)
            for old in newest_first(self._folder)[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError:
            return

    def _file(self, destination: str) -> Path:
        return self._folder / hash_bytes(path_bytes(destination))[:16].hex()
