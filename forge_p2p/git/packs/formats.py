"""The two hashes that git names objects by, and what a pack begins and ends with."""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forge_p2p.errors import Malformed

if TYPE_CHECKING:
    from hashlib import _Hash

HEADER_SIZE = 12
"""`PACK`, version, number of objects."""

_HEADER = struct.Struct(">4sII")
_VERSIONS = (2, 3)
MAX_OBJECTS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class ObjectFormat:
    """A repository's hash: `name` as `extensions.objectFormat` has it, `size` in bytes, `number` as in `.rev` files."""

    name: str
    size: int
    number: int

    def hasher(self) -> "_Hash":
        import hashlib  # and OpenSSL, which takes 2 ms: who only looks at indexes does without

        return hashlib.new(self.name, usedforsecurity=False)


SHA1 = ObjectFormat("sha1", 20, 1)
SHA256 = ObjectFormat("sha256", 32, 2)
OBJECT_FORMATS = {each.name: each for each in (SHA1, SHA256)}


def pack_header(objects: int) -> bytes:
    """The first bytes of a pack of so many objects."""
    return _HEADER.pack(b"PACK", 2, objects)


def read_pack_header(header: bytes) -> int:
    """How many objects a pack says to hold, from its first 12 bytes. Raises `Malformed`."""
    if len(header) < HEADER_SIZE:
        raise Malformed(f"a pack begins with {HEADER_SIZE} bytes, here are {len(header)}")
    magic, version, objects = _HEADER.unpack_from(header)
    if magic != b"PACK" or version not in _VERSIONS:
        raise Malformed(f"not a pack of version 2 or 3: it begins with {header[:8].hex()}")
    return int(objects)
