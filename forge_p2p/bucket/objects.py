"""A bucket behind an HTTP API, or in memory, through `obstore`.

The library's own retries are off: `retrying` decides what is asked again, because only it knows that a conditional
write of unknown outcome has to be looked at first."""

import builtins
from collections.abc import Iterator, Sequence
from typing import Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore

from forge_p2p.bucket.base import Data, Meta
from forge_p2p.bucket.faults import require_readable, translated
from forge_p2p.errors import BucketError, NoSuchObject

_PAGE: Final = 1000
_DELETED: Final = 1000
"""Keys of one request to delete, the most that S3 takes."""

_ERRORS = (BaseError, FileNotFoundError, OSError, ValueError)
"""What the library raises."""


class ObjectBucket:
    """`store` is the library's; `where` is for messages."""

    def __init__(self, store: ObjectStore, where: str) -> None:
        self._store = store
        self._where = where

    @property
    def where(self) -> str:
        return self._where

    def put_if_absent(self, key: str, data: Data) -> bool:
        try:
            obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except _ERRORS as error:
            raise translated(error, f"write {key}", self._where) from None
        return True

    def get(self, key: str) -> bytes:
        try:
            found = obstore.get(self._store, key)
            require_readable(key, found.meta["size"], self._where)
            return bytes(found.bytes())
        except _ERRORS as error:
            raise translated(error, f"read {key}", self._where) from None

    def get_range(self, key: str, start: int, length: int) -> Data:
        try:
            found = obstore.get_range(self._store, key, start=start, length=length)
        except _ERRORS as error:
            raise translated(error, f"read {key}", self._where) from None
        if len(found) != length:
            raise BucketError(f"{key} in {self._where} ends at {start + len(found)}, not after {start + length} bytes")
        return memoryview(found)

    def head(self, key: str) -> Meta | None:
        try:
            found = obstore.head(self._store, key)
        except _ERRORS as error:
            problem = translated(error, f"look at {key}", self._where)
            if isinstance(problem, NoSuchObject):
                return None
            raise problem from None
        return Meta(key, found["size"], found["last_modified"].timestamp())

    def list(self, prefix: str, after: str = "") -> Iterator[Meta]:
        try:
            for page in obstore.list(self._store, prefix, offset=after or None, chunk_size=_PAGE):
                later = [each for each in page if each["path"] > after]  # not every server knows where to begin
                for each in sorted(later, key=lambda each: each["path"]):
                    yield Meta(each["path"], each["size"], each["last_modified"].timestamp())
        except _ERRORS as error:
            raise translated(error, f"list {prefix}", self._where) from None

    def delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _DELETED):
            part = builtins.list(keys[start : start + _DELETED])
            try:
                obstore.delete(self._store, part)
            except FileNotFoundError:
                self._delete_each(part)
            except _ERRORS as error:
                raise translated(error, f"delete {part[0]} and others", self._where) from None

    def _delete_each(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                obstore.delete(self._store, [key])
            except FileNotFoundError:
                continue
            except _ERRORS as error:
                raise translated(error, f"delete {key}", self._where) from None

    def close(self) -> None:
        """Its connections end with the process."""
