"""What of a file that stands at the destination is also in the version that is to replace it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Self

from forge_p2p.content.chunking import BATCH, Chunker
from forge_p2p.content.link import hash_bytes
from forge_p2p.errors import DiskError, SourceChanged
from forge_p2p.ids import Hash

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PresentFile:
    """A file's chunks, found by cutting it, and read again when they are needed. A context manager; everything blocks.
    What cannot be read, or has changed since it was cut, is not there: nothing is raised for it."""

    def __init__(self, path: bytes) -> None:
        self._descriptor = -1
        self._places: dict[Hash, tuple[int, int]] = {}
        with suppress(OSError, DiskError, SourceChanged):
            self._descriptor = os.open(path, _FLAGS)
            size = os.fstat(self._descriptor).st_size
            for batch in Chunker().cut_file(self._descriptor, size):
                self._places.update((chunk.hash, (chunk.offset, chunk.length)) for chunk in batch)

    def among(self, chunks: Sequence[Hash]) -> list[Hash]:
        """Those of `chunks` that were in it."""
        return [chunk for chunk in chunks if chunk in self._places]

    def read(self, chunks: Sequence[Hash]) -> Iterator[list[tuple[Hash, bytes]]]:
        """Those of `chunks` that are still in it, verified, about `BATCH` bytes at a time."""
        found: list[tuple[Hash, bytes]] = []
        size = 0
        for chunk in self.among(chunks):
            offset, length = self._places[chunk]
            with suppress(OSError):
                raw = os.pread(self._descriptor, length, offset)
                if hash_bytes(raw) == chunk:
                    found.append((chunk, raw))
                    size += length
            if size >= BATCH:
                yield found
                found, size = [], 0
        if found:
            yield found

    def close(self) -> None:
        """Lets the file go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
