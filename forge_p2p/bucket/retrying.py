"""Asks again what may be asked again: full jitter, as AWS's "Exponential backoff and jitter" (2015) found best.

A conditional write whose outcome is unknown is not written again blindly: if it had come through, the second would be
told that somebody else was first. So the object is read; only if it is not there is it written again.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from forge_p2p.bucket.base import Bucket, Data, Meta
from forge_p2p.bucket.faults import Passing
from forge_p2p.errors import NoSuchObject

T = TypeVar("T")

TRIES: Final = 6
FIRST, MOST = 0.2, 10.0
"""Seconds: the bound of the first pause, doubled for each after it, and the largest bound. A pause is anything up to
its bound; all six together take 6 s on average."""


class RetryingBucket:
    """`pause` and `chance` are the clock's and the dice's; tests have their own."""

    def __init__(
        self,
        inner: Bucket,
        *,
        pause: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
        tries: int = TRIES,
    ) -> None:
        self._inner = inner
        self._pause = pause
        self._chance = chance
        self._tries = tries
        self.retries = 0
        """How often something was asked again."""

    @property
    def where(self) -> str:
        return self._inner.where

    def put_if_absent(self, key: str, data: Data) -> bool:
        doubtful = False
        for attempt in range(self._tries):
            try:
                if doubtful and (settled := self._settled(key, data)) is not None:
                    return settled
                stored = self._inner.put_if_absent(key, data)
            except Passing as error:
                doubtful = doubtful or not error.sure
                self._wait(attempt, error)
            else:
                # Also behind this layer a request may have come through twice, so what was found may be ours.
                return stored or self._is_ours(key, data)
        raise AssertionError("the last attempt returns or raises")

    def _settled(self, key: str, data: Data) -> bool | None:
        """What became of a write: done, lost to another, or (`None`) nothing."""
        try:
            return self._inner.get(key) == data
        except NoSuchObject:
            return None

    def _is_ours(self, key: str, data: Data) -> bool:
        """Whether what is there is what was to be written."""
        return len(data) <= _COMPARED and self._again(lambda: self._settled(key, data)) is True

    def get(self, key: str) -> bytes:
        return self._again(lambda: self._inner.get(key))

    def get_range(self, key: str, start: int, length: int) -> Data:
        return self._again(lambda: self._inner.get_range(key, start, length))

    def head(self, key: str) -> Meta | None:
        return self._again(lambda: self._inner.head(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Meta]:
        attempt = 0
        while True:
            try:
                for meta in self._inner.list(prefix, after):
                    yield meta
                    after, attempt = meta.key, 0
            except Passing as error:
                self._wait(attempt, error)
                attempt += 1
            else:
                return

    def delete(self, keys: Sequence[str]) -> None:
        self._again(lambda: self._inner.delete(keys))

    def close(self) -> None:
        self._inner.close()

    def _again(self, call: Callable[[], T]) -> T:
        for attempt in range(self._tries):
            try:
                return call()
            except Passing as error:
                self._wait(attempt, error)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, attempt: int, error: Passing) -> None:
        """Pauses before the next attempt; raises `error` if there is none."""
        if attempt + 1 >= self._tries:
            raise error
        self.retries += 1
        self._pause(self._chance() * min(MOST, FIRST * 2**attempt))


_COMPARED: Final = 1 << 20
"""Bytes of the largest object that is compared when it was there before: those whose key is not their hash are
smaller."""
