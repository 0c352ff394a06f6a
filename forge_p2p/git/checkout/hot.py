"""The contents of the last tree that was written here, whole and uncompressed: what makes the next checkout cheap.

Half of what `git checkout` costs is inflating blobs and resolving deltas. An agent that checks the same repository out
again and again pays it once: the blobs of a tree are kept in one file, found by their names, and written from there.
Trees that differ in a few files share it. It is a cache: nothing is lost with it, and each read is checked by XXH3.

    contents, one after the other
    for each, sorted by name: name, offset (u64), length (u64), XXH3-64 (u64), all big-endian
    b"forgehot", size of a name (u64), number of them (u64), XXH3-64 of the table (u64)
"""

import os
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import xxhash

LARGEST: Final = 4 << 30
"""Bytes of contents that are kept at most."""

SPARED: Final = 2 << 30
"""Bytes that have to be free besides; a nearly full disk is better used otherwise."""

_END = struct.Struct(">8sQQQ")
_MAGIC = b"forgehot"
_PLACE = struct.Struct(">QQQ")


def hot_path(repository: bytes) -> bytes:
    """Where the cache of a bare repository is."""
    return os.path.join(repository, b"forge-hot")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a content is, and what it hashes to."""

    offset: int
    length: int
    check: int


class Hot:
    """The open cache; a context manager. May be read from several threads."""

    def __init__(self, path: bytes) -> None:
        """Opens what is there; what is not there, or damaged, is empty."""
        self._places: dict[bytes, Place] = {}
        self._descriptor = -1
        with suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._places = _read_table(self._descriptor)

    def __contains__(self, oid: bytes) -> bool:
        return oid in self._places

    def read(self, oid: bytes) -> bytes | None:
        """A content by its name in hexadecimal; `None` if it is not here any more as it was."""
        place = self._places.get(oid)
        if place is None:
            return None
        content = os.pread(self._descriptor, place.length, place.offset)
        return content if xxhash.xxh3_64_intdigest(content) == place.check else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _read_table(descriptor: int) -> dict[bytes, Place]:
    """The places by name; none when anything about the file is not as it was written."""
    size = os.fstat(descriptor).st_size
    end = os.pread(descriptor, _END.size, max(size - _END.size, 0))
    if len(end) < _END.size:
        return {}
    magic, width, count, check = _END.unpack(end)
    row = width + _PLACE.size
    start = size - _END.size - count * row
    if magic != _MAGIC or width not in (20, 32) or start < 0:
        return {}
    table = os.pread(descriptor, count * row, start)
    if xxhash.xxh3_64_intdigest(table) != check:
        return {}
    places = (table[at : at + row] for at in range(0, len(table), row))
    return {place[:width].hex().encode(): Place(*_PLACE.unpack_from(place, width)) for place in places}


class HotWriter:
    """Makes the cache anew beside the old one, which stays readable; `commit` replaces it. Used from several threads.

    An error of the disk ends the caching and nothing else.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._temporary = path + b".%d.part" % os.getpid()
        self._places: dict[bytes, Place] = {}
        self._end = 0
        self._lock = threading.Lock()
        self._descriptor = -1
        with suppress(OSError):
            free = os.statvfs(os.path.dirname(path))
            if free.f_bavail * free.f_frsize > SPARED:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._temporary, flags, 0o600)

    def add(self, oid: bytes, content: bytes) -> None:
        """Keeps one more content."""
        with self._lock:
            if self._descriptor < 0 or oid in self._places:
                return
            offset = self._end
            if offset + len(content) > LARGEST:
                self._drop()
                return
            self._end += len(content)
            self._places[oid] = Place(offset, len(content), xxhash.xxh3_64_intdigest(content))
            try:  # within the lock: the descriptor must not become another file's meanwhile
                _write_at(self._descriptor, content, offset)
            except OSError:
                self._drop()

    def commit(self) -> None:
        """What was added is the cache from now on."""
        if self._descriptor < 0 or not self._places:
            self.discard()
            return
        rows = sorted((bytes.fromhex(oid.decode()), place) for oid, place in self._places.items())
        width = len(rows[0][0])
        table = b"".join(oid + _PLACE.pack(place.offset, place.length, place.check) for oid, place in rows)
        end = _END.pack(_MAGIC, width, len(rows), xxhash.xxh3_64_intdigest(table))
        try:
            _write_at(self._descriptor, table + end, self._end)
            os.rename(self._temporary, self._path)
        except OSError:
            self._drop()
        self.discard()

    def discard(self) -> None:
        """Ends without a result; after `commit`, does nothing."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done


def kept(hot: Hot, oids: Mapping[bytes, object]) -> float:
    """The share of these contents that the cache has, 0 to 1."""
    return sum(oid in hot for oid in oids) / len(oids) if oids else 1.0
