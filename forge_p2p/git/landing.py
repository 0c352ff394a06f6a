"""Packs into a repository's `objects/pack`, in the order that keeps it sound at any moment, and nothing left behind.

Files arrive under names that begin with `tmp_`, which git itself takes for somebody's leavings and prunes. What is
whole is renamed: `.pack`, `.rev`, and at last `.idx`, which is what makes it a pack. While git has not yet set the refs
that need it, a `.keep` beside it says so to `git gc`.

Every landing has a word of its own, in the names of its files and in its `.keep`, and a lock file that it holds as long
as it lives. A landing whose lock nobody holds was killed: the next one removes what it left.
"""

import os
import re
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from forge_p2p.content.gitmanifest import SUFFIXES, pack_name
from forge_p2p.errors import DiskError, Malformed
from forge_p2p.git.claims import claim, is_dead

_PREFIX: Final = b"tmp_forge_"
_OURS = re.compile(rb"tmp_forge_([0-9a-f]{16})")
_KEEP: Final = b"forge fetch "
_HEADER: Final = 12


class Landing:
    """A context manager on the folder `packs`. Leaving it removes what has not landed, and lets the kept packs go."""

    def __init__(self, packs: bytes) -> None:
        self.folder = packs
        self._kept: list[bytes] = []

    def temporary(self, name: str) -> bytes:
        """What a file is to be called until it lands."""
        return _PREFIX + self._claimed.word + b"_" + name.encode()

    def has(self, pack: bytes) -> bool:
        """Whether the folder has this pack."""
        return os.path.exists(self._path(pack_name(pack).encode() + b".idx"))

    def land(self, pack: bytes, *, keep: bool) -> bytes:
        """Makes a pack, whose three files have arrived, one of the repository's. Returns the path of its `.keep`, empty
        without `keep`. Raises `Malformed` for what is no such pack."""
        name = pack_name(pack)
        if self.has(pack):
            return b""
        self._check(pack)
        kept = self._keep(name) if keep else b""
        for suffix in SUFFIXES:
            file = name + suffix.decode()
            os.rename(self._path(self.temporary(file)), self._path(file.encode()))
        _sync(self.folder)
        return kept

    def keep(self, pack: bytes) -> bytes:
        """Holds a pack that is here already; the path of its `.keep`, empty if somebody else holds it."""
        return self._keep(pack_name(pack))

    def _check(self, pack: bytes) -> None:
        """A pack and an index are about each other, and are what they are called. The rest is for `git verify-pack`."""
        size = len(pack)
        with open(self._path(self.temporary(f"{pack_name(pack)}.pack")), "rb") as file:
            head = file.read(_HEADER)
            file.seek(-size, os.SEEK_END)
            if head[:4] != b"PACK" or file.read() != pack:
                raise Malformed(f"{pack_name(pack)} is no such pack", hint="whoever published it is at fault")
        with open(self._path(self.temporary(f"{pack_name(pack)}.idx")), "rb") as file:
            file.seek(-2 * size, os.SEEK_END)
            if file.read(size) != pack:
                raise Malformed(f"{pack_name(pack)} has another pack's index", hint="whoever published it is at fault")

    def _keep(self, name: str) -> bytes:
        path = self._path(name.encode() + b".keep")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return b""
        with os.fdopen(descriptor, "wb") as file:
            file.write(_KEEP + self._claimed.word + b"\n")
        self._kept.append(path)
        return path

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self.folder, name)

    def _clean(self) -> None:
        """Removes what killed landings have left."""
        names = os.listdir(self.folder)
        dead = {match[1] for match in map(_OURS.match, names) if match} - {self._claimed.word}
        dead = {word for word in dead if self._is_dead(word)}
        for name in names:
            match = _OURS.match(name)
            if (match and match[1] in dead) or (name.endswith(b".keep") and self._is_left(name)):
                with suppress(FileNotFoundError):
                    os.unlink(self._path(name))

    def _is_left(self, name: bytes) -> bool:
        try:
            with open(self._path(name), "rb") as file:
                content = file.read(64)
        except OSError:
            return False
        word = content.removeprefix(_KEEP).strip()
        return content.startswith(_KEEP) and word != self._claimed.word and self._is_dead(word)

    def _is_dead(self, word: bytes) -> bool:
        return is_dead(self.folder, _PREFIX, word)

    def __enter__(self) -> Self:
        try:
            os.makedirs(self.folder, exist_ok=True)
            self._claimed = claim(self.folder, _PREFIX)
            self._clean()
        except OSError as error:
            raise DiskError(f"cannot write in {os.fsdecode(self.folder)}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in self._kept:
            with suppress(OSError):
                os.unlink(path)
        for name in os.listdir(self.folder):
            if name.startswith(_PREFIX + self._claimed.word):
                with suppress(OSError):
                    os.unlink(self._path(name))
        self._claimed.release()


def _sync(folder: bytes) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
