"""What Forge remembers in a repository, in `.git/forge`.

`packs`: which published packs' objects have come here, and which pack here they became part of. A hint that saves work,
and no more: what git needs and does not find is fetched, whatever this says. `unverified`: packs that were taken as
they came, and from whom; `damaged`: what was found wrong with one; `graph`: there is a commit-graph to be checked or
made. `name`: what it was cloned as; `hot`: a pack that is here for its first checkout only. A file that cannot be read
counts as empty, and a line that is no pack as none.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from forge_p2p.git.running import Places

_PACKS: Final = b"packs"
_UNVERIFIED: Final = b"unverified"
_DAMAGED: Final = b"damaged"
_GRAPH: Final = b"graph"
_NAME: Final = b"name"
_HOT: Final = b"hot"

_HEX: Final = frozenset("0123456789abcdef")


class State:
    """Of one repository; shared by its worktrees."""

    def __init__(self, places: Places) -> None:
        self.folder = places.state
        self._digits = 2 * places.oid_size

    def known_packs(self) -> dict[bytes, bytes]:
        """Hashes of packs whose objects came here, each with that of the pack that had them here then; their own where
        nothing else is known."""
        pairs = [line[:2] for line in self._lines(_PACKS) if all(map(self._is_hash, line[:2]))]
        return {bytes.fromhex(pair[0]): bytes.fromhex(pair[-1]) for pair in pairs}

    def remember(self, packs: Mapping[bytes, bytes]) -> None:
        """These packs' objects are here now, in the packs that they are mapped to. One line each, appended, so that two
        at once lose nothing."""
        lines = b"".join(f"{pack.hex()} {within.hex()}\n".encode() for pack, within in packs.items())
        if lines:
            self._make()
            with open(self._path(_PACKS), "ab") as file:
                file.write(lines)

    def forget(self) -> None:
        """Nothing is known any more: something that had come has gone."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(_PACKS))

    @contextmanager
    def unverified_landing(self, packs: Iterable[bytes], author: str) -> Iterator[None]:
        """For as long as these packs, by their names here, land: they are to be checked, whatever happens to the rest.
        Nobody who checks looks for them before that ends. `author`: who published them."""
        lines = "".join(f"{pack.hex()} {author}\n" for pack in packs)
        if not lines:
            yield
            return
        with self._locked():
            with open(self._path(_UNVERIFIED), "a", encoding="ascii") as file:
                file.write(lines)
            yield

    def unverified(self) -> dict[bytes, str]:
        """Packs that are still to be checked, and who published them."""
        if not os.path.exists(self._path(_UNVERIFIED)):
            return {}
        with self._locked():
            lines = self._lines(_UNVERIFIED)
        return {bytes.fromhex(line[0]): line[1] for line in lines if self._is_unverified(line)}

    def damaged(self) -> list[str]:
        """What was found wrong, one line each."""
        return [" ".join(line) for line in self._lines(_DAMAGED)]

    def settle(self, found: Mapping[bytes, str]) -> None:
        """These packs were checked; what is wrong with each, empty for nothing."""
        wrong = [fault for fault in found.values() if fault]
        with self._locked():
            lines = [line for line in self._lines(_UNVERIFIED) if self._is_unverified(line)]
            rest = [" ".join(line) for line in lines if bytes.fromhex(line[0]) not in found]
            _replace(self._path(_UNVERIFIED), rest)
            if wrong:
                _replace(self._path(_DAMAGED), list(dict.fromkeys([*self.damaged(), *wrong])))

    def mark_graph(self) -> None:
        """The commit-graph is to be checked, or made."""
        self._make()
        with open(self._path(_GRAPH), "wb"):
            pass

    def has_marked_graph(self) -> bool:
        """Whether it still is to be."""
        return os.path.exists(self._path(_GRAPH))

    def unmark_graph(self) -> None:
        """It was."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(_GRAPH))

    def name(self) -> str:
        """What it was cloned as: network and name; empty if it was not, or by a ticket."""
        return " ".join((self._lines(_NAME) or [[]])[0])

    def set_name(self, name: str) -> None:
        """It is being cloned as this."""
        self._make()
        _replace(self._path(_NAME), [name])

    def lent(self) -> bytes:
        """The hash of the pack that is here for the checkout only; empty if none is."""
        words = (self._lines(_HOT) or [[""]])[0]
        return bytes.fromhex(words[0]) if self._is_hash(words[0]) else b""

    def set_lent(self, pack: bytes) -> None:
        """This pack is about to come for the checkout only; empty: it is gone."""
        self._make()
        _replace(self._path(_HOT), [pack.hex()] if pack else [])

    def _make(self) -> None:
        """Not what it is in, too: a repository that somebody removes while it is checked does not come back."""
        with suppress(FileExistsError):
            os.mkdir(self.folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time: a fetch adds while a check of the one before takes away."""
        self._make()
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _lines(self, name: bytes) -> list[list[str]]:
        try:
            with open(self._path(name), encoding="utf-8", errors="replace") as file:
                return [line.split(" ") for line in file.read().splitlines() if line]
        except OSError:
            return []

    def _is_unverified(self, line: list[str]) -> bool:
        return len(line) == 2 and self._is_hash(line[0])

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self.folder, name)

    def _is_hash(self, word: str) -> bool:
        return len(word) == self._digits and set(word) <= _HEX


def _replace(path: bytes, lines: Iterable[str]) -> None:
    """Writes a file anew, or removes it if nothing is left to say."""
    content = "".join(f"{line}\n" for line in lines)
    if not content:
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    temporary = path + b".new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(content)
    os.replace(temporary, path)
