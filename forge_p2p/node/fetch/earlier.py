"""What of an earlier version is here: the listing that the destination was restored from, and the files it named."""

from collections.abc import Mapping, Sequence

from forge_p2p.content import walk
from forge_p2p.content.align import Pair, Version
from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.errors import CorruptChunk, HostileSnapshot, Malformed, NotFound
from forge_p2p.store.base import Store

_NOT_USABLE = (NotFound, CorruptChunk, Malformed, HostileSnapshot)
"""An earlier version saves work and decides nothing: what of it is not here, whole and right, is done without."""


def version_here(store: Store, link: Link) -> Version | None:
    """What `link` names, cut as it was, if all of its lists are in the store."""
    try:
        return Version.read(link, store.read)
    except _NOT_USABLE:
        return None


class Earlier:
    """The version that `root` names, as far as the store has it. Everything here blocks and raises only `DiskError`
    and `StoreError`."""

    def __init__(self, store: Store, root: Root) -> None:
        self._store = store
        self._root = root
        self._files: Mapping[bytes, Link] | None = None

    def root(self) -> Version | None:
        """The listing, or the blob, itself."""
        return version_here(self._store, self._root.link)

    def file(self, path: bytes) -> Link | None:
        """What was at `path`. For a blob: the blob, whatever the path."""
        if self._root.kind is Kind.BLOB:
            return self._root.link
        if self._files is None:
            self._files = self._read_listing()
        return self._files.get(path)

    def version_of(self, entry: Entry) -> Version | None:
        """The earlier version of a file, if it was another."""
        link = self.file(entry.path)
        return None if link is None or link == entry.link else version_here(self._store, link)

    def pairs(self, entries: Sequence[Entry]) -> list[Pair]:
        """The first chunk of each file, all of a small one and the list of a large one, with what was there before."""
        links = [(entry.link, self.file(entry.path)) for entry in entries]
        return [(new.hash, old.hash) for new, old in links if old is not None and old != new and old.level == new.level]

    def _read_listing(self) -> Mapping[bytes, Link]:
        try:
            pages = list(walk.entries(self._root.link, self._store.read))
        except _NOT_USABLE:
            return {}
        return {entry.path: entry.link for page in pages for entry in page if entry.kind == EntryKind.FILE}
