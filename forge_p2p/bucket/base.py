"""What a bucket is: the interface that every backend and every wrapper has.

All calls block and are safe from any thread. Nothing is ever overwritten: an object is written once, if it is absent,
and later perhaps deleted. Errors: `BucketError` and its kinds, `DiskFull` for a quota; each names the bucket, the key,
the reason and what to do."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from forge_p2p.ids import Hash

Data = bytes | memoryview

_BLOB = re.compile(r"blobs/([0-9a-f]{2})/([0-9a-f]{62})")


@dataclass(frozen=True, slots=True)
class Meta:
    """An object: its key, its bytes, and when it was written by the bucket's clock (Unix seconds)."""

    key: str
    size: int
    written: float


class Bucket(Protocol):
    """A bucket, or a prefix of one."""

    @property
    def where(self) -> str:
        """Its address, for people; never with a secret in it."""

    def put_if_absent(self, key: str, data: Data) -> bool:
        """Writes an object. `False`: there is one of this key, which may be the same. When this returns, the object is
        as durable as the place makes it."""

    def get(self, key: str) -> bytes:
        """A whole object. Raises `NoSuchObject`; `TooLarge` for one of more than `OBJECT_MAX`, unread."""

    def get_range(self, key: str, start: int, length: int) -> Data:
        """Exactly `length` bytes of an object. Raises `NoSuchObject`; `BucketError` when it is shorter."""

    def head(self, key: str) -> Meta | None:
        """What there is under a key."""

    def list(self, prefix: str, after: str = "") -> Iterator[Meta]:
        """The objects of a folder (`prefix` ends in a slash), and of those in it, whose keys are above `after`; in the
        order of their keys."""

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects; those that are not there are no error."""

    def close(self) -> None: ...


def blob_key(name: Hash | str) -> str:
    """Where the object is whose bytes hash to `name`."""
    text = name if isinstance(name, str) else name.hex()
    return f"blobs/{text[:2]}/{text[2:]}"


def blob_of(key: str) -> str:
    """The hash in hex that a key of `blobs/` says; empty if it says none."""
    found = _BLOB.fullmatch(key)
    return found[1] + found[2] if found else ""


INDEX = "index/"
CHECKPOINTS = "checkpoints/"
BLOBS = "blobs/"
REFS = "refs/"
MARKER = "forge.json"

OBJECT_MAX = 64 << 20
"""Bytes of the largest object that is read as a whole: no bundle, index or record has more. Whoever may write into a
bucket could put anything there; it is not read into memory to find that out."""


def step_key(folder: str, seq: int) -> str:
    """Record `seq` of a log that lies in `folder`: numbers have 16 digits, so that keys sort as they do."""
    return f"{folder}{seq:016d}"


def seq_of(key: str) -> int:
    """The number that a key of a log ends in; 0 if it ends in none."""
    number = key.rpartition("/")[2]
    return int(number) if len(number) == 16 and number.isascii() and number.isdigit() else 0
