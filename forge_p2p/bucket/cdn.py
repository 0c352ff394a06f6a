"""A CDN in front of a bucket: blobs are read through it, everything else straight from the bucket.

A blob's name is its hash and never comes twice, so a stale copy is a right one. A missing one may be a remembered 404
from before the blob was written, and an error is the CDN's own affair: both are asked of the bucket."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from forge_p2p.bucket.base import BLOBS, Bucket, Data, Meta
from forge_p2p.errors import BucketError, NoSuchObject

T = TypeVar("T")

LOG = logging.getLogger("forge")

LEFT_ALONE: Final = 30.0
"""Seconds for which a CDN that failed is not asked."""


class CdnBucket:
    """`cdn` reads what `origin` holds."""

    def __init__(self, origin: Bucket, cdn: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self.origin = origin
        self._cdn = cdn
        self._clock = clock
        self._again_at = 0.0

    @property
    def where(self) -> str:
        return self.origin.where

    def put_if_absent(self, key: str, data: Data) -> bool:
        return self.origin.put_if_absent(key, data)

    def get(self, key: str) -> bytes:
        return self._read(key, lambda bucket: bucket.get(key))

    def get_range(self, key: str, start: int, length: int) -> Data:
        return self._read(key, lambda bucket: bucket.get_range(key, start, length))

    def _read(self, key: str, ask: Callable[[Bucket], T]) -> T:
        if key.startswith(BLOBS) and self._clock() >= self._again_at:
            try:
                return ask(self._cdn)
            except NoSuchObject:
                pass
            except BucketError as error:
                LOG.warning("the CDN is left alone for %.0f s: %s", LEFT_ALONE, error)
                self._again_at = self._clock() + LEFT_ALONE
        return ask(self.origin)

    def head(self, key: str) -> Meta | None:
        return self.origin.head(key)

    def list(self, prefix: str, after: str = "") -> Iterator[Meta]:
        return self.origin.list(prefix, after)

    def delete(self, keys: Sequence[str]) -> None:
        self.origin.delete(keys)

    def close(self) -> None:
        self._cdn.close()
        self.origin.close()
