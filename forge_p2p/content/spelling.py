"""One spelling for directories whose names differ only as some file systems do not see: `Docs/a` and `docs/b`."""

from collections.abc import Collection, Iterable, Mapping

from forge_p2p.content.folding import fold
from forge_p2p.content.snapshot import Entry


class Spelling:
    """`preferred` has the paths whose spelling is kept where there is a choice; else the first by its bytes is."""

    def __init__(self, directories: Iterable[bytes], preferred: Collection[bytes]) -> None:
        self._chosen: dict[str, bytes] = {}
        """Folded path -> path."""
        for path in sorted(directories, key=lambda path: (path.count(b"/"), path not in preferred, path)):
            self._chosen.setdefault(fold(path), self._respell(path))

    def directories(self, directories: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
        """Each once. Of two the one that keeps its spelling keeps its mode."""
        found: dict[bytes, Entry] = {}
        for path in sorted(directories, key=lambda path: (self._chosen[fold(path)] != path, path)):
            chosen = self._chosen[fold(path)]
            found.setdefault(chosen, _at(directories[path], chosen))
        return found

    def respelled(self, entry: Entry) -> Entry:
        """A leaf below the directories as they are spelled."""
        path = self._respell(entry.path)
        return entry if path == entry.path else _at(entry, path)

    def _respell(self, path: bytes) -> bytes:
        parent, slash, name = path.rpartition(b"/")
        return self._chosen[fold(parent)] + slash + name if slash else path


def _at(entry: Entry, path: bytes) -> Entry:
    return Entry(path, entry.kind, entry.mode, entry.mtime_ns, entry.size, entry.level, entry.payload)
