"""Writing chunks into a file that is being restored."""

import os
from collections.abc import Iterable

from forge_p2p.store.faults import disk_error
from forge_p2p.writeback import write_all

Raw = bytes | memoryview


def write_chunks(fd: int, chunks: Iterable[tuple[int, Raw]]) -> None:
    """Writes each content at its offset, those that follow each other in one call. Raises `DiskError`."""
    start = end = 0
    buffers: list[Raw] = []
    for offset, raw in chunks:
        if buffers and offset != end:
            _write(fd, buffers, start, end)
            buffers = []
        if not buffers:
            start = end = offset
        buffers.append(raw)
        end += len(raw)
    if buffers:
        _write(fd, buffers, start, end)


def _write(fd: int, buffers: list[Raw], start: int, end: int) -> None:
    try:
        write_all(fd, buffers, start)
    except OSError as error:
        raise disk_error(error, _name(fd), end - start) from error


def _name(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"file descriptor {fd}"
