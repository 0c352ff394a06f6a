"""What Forge remembers in a repository, in `.git/forge`: which published packs' objects have come here.

A hint that saves work, and no more: what git needs and does not find is fetched, whatever this says. So a file that
cannot be read counts as empty, and a line that is no pack as none.
"""

import os
from collections.abc import Iterable
from contextlib import suppress

from forge_p2p.git.running import Places


class State:
    """Of one repository; shared by its worktrees."""

    def __init__(self, places: Places) -> None:
        self.folder = places.state
        self._file = os.path.join(self.folder, b"packs")
        self._digits = 2 * places.oid_size

    def known_packs(self) -> set[bytes]:
        """Hashes of packs whose objects are here, as packs of that name or otherwise."""
        try:
            with open(self._file, "rb") as file:
                words = file.read().split()
        except OSError:
            return set()
        found = set()
        for word in words:
            with suppress(ValueError):
                found.add(bytes.fromhex(word.decode("ascii", "replace")))
        return {pack for pack in found if 2 * len(pack) == self._digits}

    def remember(self, packs: Iterable[bytes]) -> None:
        """These packs' objects are here now. One line each, appended, so that two at once lose nothing."""
        lines = b"".join(pack.hex().encode() + b"\n" for pack in packs)
        if lines:
            os.makedirs(self.folder, exist_ok=True)
            with open(self._file, "ab") as file:
                file.write(lines)

    def forget(self) -> None:
        """Nothing is known any more: something that had come has gone."""
        with suppress(FileNotFoundError):
            os.unlink(self._file)
