"""Packs into a repository's `objects/pack`, in the order that keeps it sound at any moment, and nothing left behind.

Files arrive in a folder of the landing's own in there, so that they are on the right file system. What is whole is
renamed: `.pack`, `.rev`, and at last `.idx`, which is what makes it a pack. While git has not yet set the refs that
need it, a `.keep` beside it says so to `git gc`.

Every landing has a word of its own, in the name of its folder and in its `.keep`, and a lock file that it holds as long
as it lives. A landing whose lock nobody holds was killed: the next one removes what it left.
"""

import os
import re
import shutil
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from forge_p2p.content.gitmanifest import SUFFIXES, pack_name
from forge_p2p.errors import DiskError, Malformed
from forge_p2p.git.claims import claim, is_dead
from forge_p2p.git.lookup import IndexFile
from forge_p2p.writeback import sync_folder

_PREFIX: Final = b"tmp_forge_"
_FOLDER: Final = b"tmp_forged_"
_OURS = re.compile(rb"tmp_forged?_([0-9a-f]{16})")
_KEEP: Final = b"forge fetch "
_HEADER: Final = 12


class Landing:
    """A context manager on the folder `packs`. Files arrive in `folder`, under their own names. Leaving it removes what
    has not landed, and lets the kept packs go."""

    def __init__(self, packs: bytes) -> None:
        self.packs = packs
        self.folder = b""
        self._kept: list[bytes] = []

    def has(self, pack: bytes) -> bool:
        """Whether the repository has this pack."""
        return os.path.exists(self._path(pack_name(pack).encode() + b".idx"))

    def path_of(self, pack: bytes, suffix: bytes) -> bytes:
        """Where a file of a pack is to arrive."""
        return os.path.join(self.folder, pack_name(pack).encode() + suffix)

    def land(self, pack: bytes, *, keep: bool) -> bytes:
        """Makes a pack, whose three files have arrived, one of the repository's. Returns the path of its `.keep`, empty
        without `keep` or when somebody else holds it. Raises `Malformed` for what is no such pack, or an index that
        cannot be its."""
        if self.has(pack):
            return self.hold(pack) if keep else b""
        self._check(pack)
        kept = self.hold(pack) if keep else b""
        for suffix in SUFFIXES:
            os.rename(self.path_of(pack, suffix), self._path(pack_name(pack).encode() + suffix))
        sync_folder(self.packs)
        return kept

    def hold(self, pack: bytes) -> bytes:
        """Keeps a pack from `git gc` until this landing ends; the path of its `.keep`, empty if it has one already."""
        path = self._path(pack_name(pack).encode() + b".keep")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return b""
        with os.fdopen(descriptor, "wb") as file:
            file.write(_KEEP + self._claimed.word + b"\n")
        self._kept.append(path)
        return path

    def _check(self, pack: bytes) -> None:
        """A pack and an index are about each other, and are what they are called. The rest is for `verifying`."""
        path = self.path_of(pack, b".pack")
        with open(path, "rb") as file:
            head = file.read(_HEADER)
            length = file.seek(0, os.SEEK_END)
            file.seek(max(length - len(pack), 0))
            if head[:4] != b"PACK" or length < _HEADER + len(pack) or file.read() != pack:
                raise Malformed(f"{pack_name(pack)} is no such pack", hint="whoever published it is at fault")
        index = IndexFile(self.path_of(pack, b".idx"), len(pack))
        if index.pack_hash != pack or index.objects != int.from_bytes(head[8:]) or not index.lies_within(length):
            raise Malformed(f"{pack_name(pack)} has another pack's index", hint="whoever published it is at fault")

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self.packs, name)

    def _clean(self) -> None:
        """Removes what killed landings have left."""
        for name in os.listdir(self.packs):
            match = _OURS.match(name)
            of_dead = match and match[1] != self._claimed.word and is_dead(self.packs, _PREFIX, match[1])
            if of_dead or (name.endswith(b".keep") and self._is_left(name)):
                _remove(self._path(name))

    def _is_left(self, name: bytes) -> bool:
        try:
            with open(self._path(name), "rb") as file:
                content = file.read(64)
        except OSError:
            return False
        word = content.removeprefix(_KEEP).strip()
        return content.startswith(_KEEP) and word != self._claimed.word and is_dead(self.packs, _PREFIX, word)

    def __enter__(self) -> Self:
        try:
            with suppress(FileExistsError):
                os.mkdir(self.packs)
            self._claimed = claim(self.packs, _PREFIX)
            self._clean()
            self.folder = self._path(_FOLDER + self._claimed.word)
            os.mkdir(self.folder, 0o700)
        except OSError as error:
            raise DiskError(f"cannot write in {os.fsdecode(self.packs)}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in (*self._kept, self.folder, self._path(_PREFIX + self._claimed.word)):
            _remove(path)
        self._claimed.release()


def _remove(path: bytes) -> None:
    with suppress(OSError):
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
