"""Counts what is asked of a bucket, since requests are what it costs."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forge_p2p.bucket.base import Bucket, Data, Meta


@dataclass(slots=True)
class Traffic:
    """Requests (a list of thousands counts once a page), objects written, and bytes of content each way."""

    requests: int = 0
    written: int = 0
    sent: int = 0
    received: int = 0


class CountingBucket:
    """Stands right above a backend, so that what is asked again counts again."""

    def __init__(self, inner: Bucket) -> None:
        self.traffic = Traffic()
        self._inner = inner
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        return self._inner.where

    def put_if_absent(self, key: str, data: Data) -> bool:
        self._count(sent=len(data))
        stored = self._inner.put_if_absent(key, data)
        if stored:
            with self._lock:
                self.traffic.written += 1
        return stored

    def get(self, key: str) -> bytes:
        self._count()
        found = self._inner.get(key)
        self._count(requests=0, received=len(found))
        return found

    def get_range(self, key: str, start: int, length: int) -> Data:
        self._count()
        found = self._inner.get_range(key, start, length)
        self._count(requests=0, received=len(found))
        return found

    def head(self, key: str) -> Meta | None:
        self._count()
        return self._inner.head(key)

    def list(self, prefix: str, after: str = "") -> Iterator[Meta]:
        self._count()
        for number, meta in enumerate(self._inner.list(prefix, after), 1):
            if number % 1000 == 1 and number > 1:
                self._count()
            yield meta

    def delete(self, keys: Sequence[str]) -> None:
        self._count()
        self._inner.delete(keys)

    def close(self) -> None:
        self._inner.close()

    def _count(self, requests: int = 1, sent: int = 0, received: int = 0) -> None:
        with self._lock:
            self.traffic.requests += requests
            self.traffic.sent += sent
            self.traffic.received += received
