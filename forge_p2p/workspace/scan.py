"""A directory as a sorted list of what it holds, ready to become a snapshot.

One pass (`walking`), one `stat` a name. What the stat cache knows and what has not changed since keeps its record, link
included; the caller reads the rest through `source.SourceReader`. `watched` answers the same without a look, where it
can.
"""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from forge_p2p.content.link import Kind, Root
from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import ForgeError, UsageError
from forge_p2p.workspace.faults import disk_error
from forge_p2p.workspace.found import Found, Links, found_file
from forge_p2p.workspace.statcache import Seen, StatCache, settled
from forge_p2p.workspace.walking import Skipped, walk


@dataclass(frozen=True, slots=True)
class Scan:
    """What is at `root`, an absolute path without symlinks, sorted as a listing is. A root that is a file has the one
    item `b""`."""

    root: bytes
    kind: Kind
    items: list[Found]
    skipped: list[Skipped]
    known_root: Root | None
    """The snapshot that this is, if nothing at all has changed since it was remembered."""
    boot: str
    started_ns: int
    """Unix time at which the first name was looked at."""
    patient: bool = False

    def unknown(self) -> list[Found]:
        """The files whose content is not known: the ones to read."""
        return [item for item in self.items if not item.payload and item.is_file]

    def resolved(self, links: Links) -> list[Found]:
        """The items with the links of what was read filled in."""
        return [item.with_link(links[item.path]) if item.is_unknown else item for item in self.items]

    def entries(self, links: Links) -> Iterator[Entry]:
        """The snapshot's entries, given the links of what was unknown."""
        return (item.entry() for item in self.resolved(links))

    def remember(self, cache: StatCache, links: Links, root: Root) -> None:
        """Saves what is known now, so that the next scan finds it unchanged."""
        cache.save(self.root, settled(self.resolved(links), self.started_ns), root, self.boot)


def scan(root: bytes, cache: StatCache, *, patient: bool = False) -> Scan:
    """Looks at the directory, or the one file, at `root`. `patient`: what cannot be looked at below it, goes away
    meanwhile or has a name that no snapshot may have is skipped.

    Raises `UsageError` if there is neither, or a name that no snapshot may have; `DiskError` naming what cannot be
    looked at; `SourceChanged` if something vanishes under the scan's feet.
    """
    started_ns = time.time_ns()
    root, status = resolve(root)
    seen = cache.load(root)
    if stat.S_ISDIR(status.st_mode):
        found = walk(root, seen.items, patient=patient)
        return scanned(root, found.items, found.skipped, seen, started_ns, changed=found.changed, patient=patient)
    known = seen.items.get(b"")
    item = known if known and known.matches(status) else found_file(b"", status)
    return scanned(root, [item], [], seen, started_ns, changed=item is not known, kind=Kind.BLOB, patient=patient)


def resolve(root: bytes) -> tuple[bytes, os.stat_result]:
    """Where `root` really is, and what is there: a directory or a file. Raises `UsageError`, `DiskError`."""
    root = os.path.realpath(root)
    try:
        status = os.stat(root)
    except FileNotFoundError:
        raise UsageError(f"there is nothing at {path_text(root)}") from None
    except OSError as error:
        raise disk_error("looked at", root, error) from error
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path_text(root)} is neither a directory nor a file")
    return root, status


def scanned(
    root: bytes,
    items: list[Found],
    skipped: list[Skipped],
    seen: Seen,
    started_ns: int,
    *,
    changed: bool,
    patient: bool,
    kind: Kind = Kind.TREE,
) -> Scan:
    """A scan's result. `seen` is what was known before, `changed` whether any of the items was not among that."""
    changed = changed or len(items) != len(seen.items) or any(item.is_unknown for item in items if not item.payload)
    return Scan(root, kind, items, skipped, None if changed else seen.root, seen.boot, started_ns, patient)


class Look(Protocol):
    """How a directory is looked at: `scan`, or what watches it."""

    def __call__(self, root: bytes, cache: StatCache, *, patient: bool = False) -> Scan:
        """As `scan`."""
        ...


def find_restored(destination: bytes, root: Root, cache: StatCache, look: Look = scan) -> Scan | None:
    """What is at `destination`, if that is exactly `root` as far as the stat cache can tell; never a reason to fail.
    Asked first, it spares an unchanged destination the listing and the plan."""
    try:
        found = look(destination, cache)
    except ForgeError:
        return None
    return found if found.known_root == root else None


def rescan_changes(before: Scan) -> list[bytes]:
    """Paths that were added, removed or changed since `before`: none means that it shows one moment of the root."""
    known = {item.path: item for item in before.items}
    if before.kind is Kind.BLOB:
        try:
            return [] if before.items[0].matches(os.stat(before.root)) else [b""]
        except OSError:
            return [b""]
    now = {item.path: item for item in walk(before.root, known, patient=before.patient).items}
    return sorted(path for path in known.keys() | now.keys() if known.get(path) is not now.get(path))
