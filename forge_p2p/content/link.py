"""Links: the one name for any byte string.

A link is `(hash, size, level)`. At level 0 the bytes are one chunk and `hash` is their BLAKE3-256. At level n the bytes
are cut into chunks, and `hash` names the encoded list of level n-1 links (see `tree`). The constants below are part of
the protocol: two nodes that cut differently share nothing.
"""

from dataclasses import dataclass
from enum import Enum

from blake3 import blake3

from forge_p2p.ids import Hash

CHUNK_MIN = 16 * 1024
CHUNK_AVG = 64 * 1024
CHUNK_MAX = 256 * 1024
"""Bytes. Content of at most `CHUNK_MAX` is one chunk and is never cut."""

MAX_SIZE = 1 << 50
"""Bytes one link may name: a petabyte. What claims more is malformed."""

MAX_LEVEL = 6
"""Enough for `MAX_SIZE` at the smallest list fan-out; deeper claims are malformed."""


@dataclass(frozen=True, slots=True)
class Link:
    """Name of a byte string of `size` bytes, `level` lists above its chunks."""

    hash: Hash
    size: int
    level: int


class Kind(Enum):
    """What the bytes under a root link mean."""

    BLOB = "blob"
    TREE = "tree"
    GIT = "git"
    """A listing as a tree's, of a repository's files (see `gitmanifest`)."""

    @property
    def is_listing(self) -> bool:
        """Whether the bytes are a listing, whose files belong to the root."""
        return self is not Kind.BLOB


@dataclass(frozen=True, slots=True)
class Root:
    """A link that a person can hold: what it names and what that means."""

    kind: Kind
    link: Link


def hash_bytes(data: bytes | bytearray | memoryview) -> Hash:
    """BLAKE3-256 of `data` on the calling thread; releases the GIL."""
    return Hash(blake3(data).digest())
