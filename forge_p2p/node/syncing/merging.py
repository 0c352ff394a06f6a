"""One merge of a directory with what its name stands for, begun as soon as the name's listing is known."""

from collections.abc import Sequence

from forge_p2p.content.link import Root
from forge_p2p.content.snapshot import Entry
from forge_p2p.node.syncing.folder import Folder, Found, Merged, Mine
from forge_p2p.workspace.restore import RestoreWriter


class Merging:
    """The merge, made once. If it gives what the name stands for, so that nothing has to be published before, new
    directories are written out of sight while their content is fetched. Everything but `close` blocks."""

    def __init__(self, folder: Folder, mine: Mine, owner: str, theirs: Root | None, their_owner: str) -> None:
        self._folder = folder
        self._mine = mine
        self._owner = owner
        self._theirs = theirs
        self._their_owner = their_owner
        self._found: Found | None = None
        self._writer: RestoreWriter | None = None

    def stage(self, listing: Sequence[Entry]) -> RestoreWriter | None:
        """Merges with the name's listing; where files are to be written as they arrive. See `prefetching.Stage`."""
        self._found = self._folder.merge(self._mine, self._owner, listing, self._their_owner)
        if self._found.is_theirs:
            merged = self._folder.settle(self._mine, self._found, self._theirs)
            self._writer = self._folder.stage(self._mine, merged)
        return self._writer

    def merged(self) -> Merged:
        """The merge; what the name stands for is in the store by now."""
        if self._found is None:
            listing = self._folder.listing(self._theirs)
            self._found = self._folder.merge(self._mine, self._owner, listing, self._their_owner)
        return self._folder.settle(self._mine, self._found, self._theirs)

    def close(self) -> None:
        """All has arrived that will: what was written out of sight is left to `Folder.apply`, now or by another try."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
