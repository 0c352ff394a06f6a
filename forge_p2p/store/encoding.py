"""Encoding a batch of chunks on more than one core: the compressors release the GIL."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from forge_p2p.content.codec import EncodedChunk, encode
from forge_p2p.ids import Hash

Item = tuple[Hash, bytes | memoryview]

_SPLIT_FROM: Final = 256 << 10
"""Bytes of a batch from which a second thread pays; the hand-over costs about 50 µs."""

_WORKERS_MAX: Final = 4


class Encoders:
    """A small pool of threads, started when first needed."""

    def __init__(self) -> None:
        self._workers = min(os.cpu_count() or 1, _WORKERS_MAX) - 1
        self._pool: ThreadPoolExecutor | None = None

    def encode(self, items: Sequence[Item]) -> list[EncodedChunk]:
        """The stored forms, in order."""
        total = sum(len(raw) for _, raw in items)
        if total < _SPLIT_FROM or len(items) < 2 or not self._workers:
            return _encode_all(items)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="forge-encode")
        first, *rest = _split(items, total, self._workers + 1)
        futures = [self._pool.submit(_encode_all, part) for part in rest]
        encoded = _encode_all(first)
        for future in futures:
            encoded += future.result()
        return encoded

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def _encode_all(items: Sequence[Item]) -> list[EncodedChunk]:
    return [encode(chunk, raw) for chunk, raw in items]


def _split(items: Sequence[Item], total: int, parts: int) -> list[Sequence[Item]]:
    """Consecutive parts of about the same bytes."""
    split: list[Sequence[Item]] = []
    start = size = 0
    for at, (_, raw) in enumerate(items):
        size += len(raw)
        if size * parts >= total * (len(split) + 1) and len(split) < parts - 1:
            split.append(items[start : at + 1])
            start = at + 1
    split.append(items[start:])
    return split
