"""Snapshots: a directory tree as one sorted, paged listing.

Flat, not one object a directory: any tree is two round trips away, however deep. Entries are sorted by their names,
component by component, which is bytewise order with `/` before every other byte (`sort_key`): a directory comes
directly before what it holds, and a subtree is contiguous.

A page is a 32-bit little-endian length and a msgpack array of entries. Pages are what lets both directions run at
compiled speed, an array at a time. Where a page ends depends on the path of its last entry, so a changed entry changes
its own page and no other, and the listing is cut into the same chunks everywhere else.
"""

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Annotated, Final
from zlib import crc32

import msgspec
from msgspec import Meta

from forge_p2p.content.link import CHUNK_MAX, MAX_LEVEL, MAX_SIZE, Kind, Link, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.paths import MAX_NAME, MAX_PATH, check_name, check_path, hostile
from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import Malformed
from forge_p2p.ids import HASH_SIZE, Hash

MAX_PAGE: Final = 1 << 20
"""Bytes of one page, without its length."""

MAX_PAGE_ENTRIES: Final = 1024

MAX_ENTRIES: Final = 1 << 26
"""Entries of one listing."""

_PAGE_END_MASK: Final = 0xFF
"""A page ends after an entry with these bits of its path's CRC-32 all set: one in 256."""

_INT64_MIN: Final = -(1 << 63)
_INT64_MAX: Final = (1 << 63) - 1


class EntryKind(IntEnum):
    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2


KINDS: Final = {EntryKind.FILE: "file", EntryKind.DIRECTORY: "directory", EntryKind.SYMLINK: "symlink"}
"""As listings call them."""

_FILE: Final = 0
_DIRECTORY: Final = 1


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One file, directory or symlink. `path` is relative, in the file system's own bytes, `/` between names."""

    path: Annotated[bytes, Meta(min_length=1, max_length=MAX_PATH)]
    kind: Annotated[int, Meta(ge=0, le=2)]
    """An `EntryKind`."""
    mode: Annotated[int, Meta(ge=0, le=0o777)]
    """Permission bits only."""
    mtime_ns: Annotated[int, Meta(ge=_INT64_MIN, le=_INT64_MAX)]
    """Nanoseconds since 1970; 0 for directories and symlinks."""
    size: Annotated[int, Meta(ge=0, le=MAX_SIZE)]
    """Bytes of a file; 0 otherwise."""
    level: Annotated[int, Meta(ge=0, le=MAX_LEVEL)]
    """Of a file's link; 0 otherwise."""
    payload: Annotated[bytes, Meta(max_length=MAX_PATH)]
    """A file's content hash, a symlink's target, nothing for a directory."""

    @property
    def link(self) -> Link:
        """The content of a file."""
        return Link(Hash(self.payload), self.size, self.level)


def leads_to(entry: Entry) -> str:
    """What a listing shows beside an entry: a file's link, a symlink's target, nothing of a directory."""
    if entry.kind == EntryKind.FILE:
        return format_link(Root(Kind.BLOB, entry.link))
    return path_text(entry.payload)


_LENGTH = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Entry])


def sort_key(path: bytes) -> bytes:
    """What the entries of a listing are sorted by."""
    return path.replace(b"/", b"\0")


def encode_pages(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The listing, page by page. `entries` are sorted by `sort_key`; raises `HostileSnapshot` or `Malformed` for what
    a `ListingDecoder` would refuse, so that nothing is shared that nobody can restore."""
    checker = _Checker()
    page: list[Entry] = []
    for entry in entries:
        page.append(entry)
        if crc32(entry.path) & _PAGE_END_MASK == _PAGE_END_MASK or len(page) == MAX_PAGE_ENTRIES:
            checker.check(page)
            yield from _encode_page(page)
            page = []
    if page:
        checker.check(page)
        yield from _encode_page(page)


def _encode_page(page: list[Entry]) -> Iterator[bytes]:
    data = _encoder.encode(page)
    if len(data) <= MAX_PAGE:
        yield _LENGTH.pack(len(data)) + data
        return
    middle = len(page) // 2
    yield from _encode_page(page[:middle])
    yield from _encode_page(page[middle:])


class ListingDecoder:
    """Turns the bytes of a listing, in pieces of any size, into entries that are safe to write in their order.

    Guarantees of what it returns: sorted and unique; every path passes `check_path`; the parent of every entry came
    before it as a directory, so that no path leads through a symlink or a file; sizes, levels and payloads fit their
    kind. Raises `HostileSnapshot` for a path, `Malformed` for anything else. Memory: one page.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._checker = _Checker()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Entry]:
        """The entries that `data` completes."""
        self._buffer += data
        entries: list[Entry] = []
        position = 0
        with memoryview(self._buffer) as view:
            while len(view) - position >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, position)
                if not 0 < length <= MAX_PAGE:
                    raise Malformed(f"listing has a page of {length} bytes, the most is {MAX_PAGE}")
                end = position + _LENGTH.size + length
                if end > len(view):
                    break
                entries += self._decode_page(view[position + _LENGTH.size : end])
                position = end
        del self._buffer[:position]
        return entries

    def finish(self) -> None:
        """Raises `Malformed` if the listing ended within a page."""
        if self._buffer:
            raise Malformed(f"listing ends within a page, {len(self._buffer)} bytes are left over")

    def _decode_page(self, data: memoryview) -> list[Entry]:
        try:
            page = _decoder.decode(data)
        except msgspec.DecodeError as error:
            raise Malformed(f"listing has a page that cannot be decoded: {error}") from error
        if not 0 < len(page) <= MAX_PAGE_ENTRIES:
            raise Malformed(f"listing has a page of {len(page)} entries, the most is {MAX_PAGE_ENTRIES}")
        self._checker.check(page)
        return page


class _Checker:
    """What holds between the entries of a listing, in constant memory: the order makes a stack of parents enough."""

    def __init__(self) -> None:
        self._count = 0
        self._last_key = b""
        self._parents: list[bytes] = [b""]

    def check(self, page: list[Entry]) -> None:
        self._count += len(page)
        if self._count > MAX_ENTRIES:
            raise Malformed(f"listing has more than {MAX_ENTRIES} entries")
        last_key, parents = self._last_key, self._parents
        for entry in page:
            path = entry.path
            key = path.replace(b"/", b"\0")
            if key <= last_key:
                check_path(path)
                raise Malformed(f"listing is not sorted or names something twice: '{path_text(path)}'")
            last_key = key
            parent, slash, name = path.rpartition(b"/")
            if parent != parents[-1]:
                self._leave_until(parent, path)
            if len(path) > MAX_NAME or (slash and not parent):
                check_path(path)  # may be too deep, or absolute; else the parents' names were checked as entries
            else:
                check_name(name, path)
            if entry.kind == _FILE:
                if len(entry.payload) != HASH_SIZE or (entry.level == 0) != (entry.size <= CHUNK_MAX):
                    raise Malformed(f"listing has an impossible link for file '{path_text(path)}'")
            else:
                _check_without_content(entry)
                if entry.kind == _DIRECTORY:
                    parents.append(path)
        self._last_key = last_key

    def _leave_until(self, parent: bytes, path: bytes) -> None:
        """Drops the directories that are complete, down to `parent`."""
        parents = self._parents
        while parents[-1] != parent:
            if len(parents) == 1:
                check_path(path)
                raise hostile(path, "the snapshot has no directory to put it in")
            parents.pop()


def _check_without_content(entry: Entry) -> None:
    if entry.size or entry.level or entry.mtime_ns:
        raise Malformed(f"listing gives content or a time to '{path_text(entry.path)}', which is no file")
    if entry.kind == _DIRECTORY:
        if entry.payload:
            raise Malformed(f"listing gives a payload to directory '{path_text(entry.path)}'")
    elif not entry.payload or b"\0" in entry.payload:
        raise Malformed(f"listing has no usable target for symlink '{path_text(entry.path)}'")
