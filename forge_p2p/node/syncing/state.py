"""What a directory and a name last had in common: the base of the next merge.

One file for each network, name and directory under `<home>/sync/`, replaced as a whole: magic, XXH3-64, length of the
header, header (msgpack), listing (zstd over its pages). The listing is kept here and not in the store, for it has to be
there as long as the directory is, and needs none of the content. One that is damaged or missing is no base: then
everything on either side is new, nothing is deleted, and equal files are no conflict.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import zstandard
from xxhash import xxh3_64_digest

from forge_p2p.content.link import Root, hash_bytes
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.content.snapshot import Entry, ListingDecoder, encode_pages
from forge_p2p.errors import ForgeError, UsageError
from forge_p2p.ids import NetworkId
from forge_p2p.node.home import Home, unwritable
from forge_p2p.node.records import write_record

_MAGIC: Final = b"forge sync 1\n"
_DIGEST: Final = 8
_LENGTH: Final = struct.Struct("<I")
_LISTING_MAX: Final = 1 << 32
"""Bytes of a listing: a damaged file may claim any."""


class _Header(msgspec.Struct, frozen=True):
    """`identity`: device and inode of the directory. `agreed` and `target`: see `Common`, as links or empty."""

    network: bytes
    name: str
    directory: bytes
    identity: tuple[int, int]
    agreed: str
    target: str


class Common(msgspec.Struct, frozen=True):
    """`entries` are what both sides had. `agreed`: the name's snapshot that the directory was exactly. `target`: what
    the directory was being brought to; how far that went is to be seen there."""

    entries: list[Entry] = []
    agreed: Root | None = None
    target: Root | None = None


class State:
    """The record of one directory and one name. Everything here blocks."""

    def __init__(self, home: Home, network: NetworkId, name: str, directory: bytes) -> None:
        """`directory`: absolute, without symlinks."""
        self._network = network
        self._name = name
        self._directory = directory
        key = b"\0".join((bytes(network), name.encode(), directory))
        self._file = home.path / "sync" / hash_bytes(key)[:16].hex()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process syncs the directory with the name meanwhile. Raises `UsageError`, `DiskError`."""
        path = self._file.with_suffix(".lock")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unwritable(str(path), error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another forge sync of this directory with {self._name!r} is running",
                    hint="wait for it, or end it",
                ) from error
            yield
        finally:
            os.close(descriptor)

    def load(self) -> Common:
        """What is known; nothing if the directory is not the one that it was: made anew, or another file system is
        mounted there. What is missing in it was not deleted."""
        try:
            header, listing = _parse(self._file)
            if (header.network, header.name, header.directory) != (self._network, self._name, self._directory):
                return Common()
            if header.identity != self._identity():
                return Common()
            agreed = parse_link(header.agreed) if header.agreed else None
            return Common(listing, agreed, parse_link(header.target) if header.target else None)
        except (OSError, ForgeError, ValueError, msgspec.DecodeError, zstandard.ZstdError, struct.error):
            return Common()

    def save(self, common: Common) -> None:
        """Durable when it returns. Raises `DiskError`."""
        try:
            header = msgspec.msgpack.encode(
                _Header(
                    bytes(self._network),
                    self._name,
                    self._directory,
                    self._identity(),
                    format_link(common.agreed) if common.agreed else "",
                    format_link(common.target) if common.target else "",
                )
            )
            listing = zstandard.compress(b"".join(encode_pages(common.entries)), 1)
            body = _LENGTH.pack(len(header)) + header + listing
            write_record(self._file, _MAGIC + xxh3_64_digest(body) + body)
        except OSError as error:
            raise unwritable(str(self._file), error) from error

    def _identity(self) -> tuple[int, int]:
        status = os.stat(self._directory)
        return (status.st_dev, status.st_ino)


def _parse(file: Path) -> tuple[_Header, list[Entry]]:
    data = file.read_bytes()
    body = data[len(_MAGIC) + _DIGEST :]
    if not data.startswith(_MAGIC) or data[len(_MAGIC) : len(_MAGIC) + _DIGEST] != xxh3_64_digest(body):
        raise ValueError("damaged")
    (length,) = _LENGTH.unpack_from(body)
    header = msgspec.msgpack.decode(body[_LENGTH.size : _LENGTH.size + length], type=_Header)
    decoder = ListingDecoder()
    pages = zstandard.ZstdDecompressor().decompress(body[_LENGTH.size + length :], max_output_size=_LISTING_MAX)
    entries = decoder.feed(pages)
    decoder.finish()
    return header, entries
