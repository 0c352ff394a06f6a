"""Refuses a snapshot with names that the destination takes for one and the same."""

from collections.abc import Iterable

from forge_p2p.content.folding import fold
from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import HostileSnapshot


def refuse_collisions(entries: Iterable[Entry]) -> None:
    """Raises `HostileSnapshot`, naming both, if two entries would be one: the later would overwrite the first, or be
    written through it where that is a symlink (CVE-2021-21300)."""
    seen: dict[str, bytes] = {}
    for entry in entries:
        other = seen.setdefault(fold(entry.path), entry.path)
        if other != entry.path:
            raise HostileSnapshot(
                f"refused entry {path_text(entry.path)}: at this destination it is the same name as {path_text(other)}",
                hint="choose a destination whose file system tells the two apart",
            )
