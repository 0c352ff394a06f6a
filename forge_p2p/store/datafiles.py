"""Open data files: handles that live as long as somebody reads from them, and reads of whole runs of slices.

A slice is read with its neighbours: slices that lie together in a file are one `pread`. Files are read, not mapped: a
truncated or failing file is then an error and not a signal.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from forge_p2p.store.faults import disk_error
from forge_p2p.store.layout import Layout
from forge_p2p.store.records import Slice

RUN_MAX: Final = 4 << 20
"""Bytes read at once."""

_GAP_MAX: Final = 16 << 10
"""Bytes between two slices that are read along rather than costing a call of their own."""

_OPEN_MAX: Final = 128
"""Data files kept open."""


class DataFile:
    """A descriptor that closes with its last user, so the cache may forget a file that a thread still reads."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.fd)


class DataFiles:
    """The store's data files, opened on demand; those being written are lent by their ingest under the same id."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._open: OrderedDict[int, DataFile] = OrderedDict()
        self._lent: dict[int, DataFile] = {}

    def get(self, file_id: int) -> DataFile | None:
        """`None` if there is no such file (any more). Raises `DiskError`."""
        with self._lock:
            file = self._lent.get(file_id) or self._open.get(file_id)
            if file is not None:
                if file_id in self._open:
                    self._open.move_to_end(file_id)
                return file
        path = self._layout.data_file(file_id)
        try:
            file = DataFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, path) from error
        with self._lock:
            self._open[file_id] = file
            while len(self._open) > _OPEN_MAX:
                self._open.popitem(last=False)
        return file

    def lend(self, file_id: int, file: DataFile) -> None:
        with self._lock:
            self._lent[file_id] = file

    def take_back(self, file_id: int) -> None:
        with self._lock:
            self._lent.pop(file_id, None)

    def forget(self, file_id: int) -> None:
        """Closes a file that was deleted, so that its blocks are freed."""
        with self._lock:
            self._open.pop(file_id, None)

    def close(self) -> None:
        with self._lock:
            self._open.clear()
            self._lent.clear()

    def read_run(self, run: Sequence[Slice]) -> list[memoryview] | None:
        """The stored bytes of each slice of a run, short where the file ends early; `None` if the file is gone."""
        file_id, start = run[0].file_id, run[0].offset
        file = self.get(file_id)
        if file is None:
            return None
        end = max(where.offset + where.stored for where in run)
        try:
            data = memoryview(os.pread(file.fd, end - start, start))
        except OSError as error:
            raise disk_error(error, self._layout.data_file(file_id)) from error
        return [data[where.offset - start : where.offset - start + where.stored] for where in run]


def runs(slices: Sequence[tuple[int, Slice]]) -> Iterator[list[tuple[int, Slice]]]:
    """Groups `(position, slice)` into runs to be read at once, sorted by place."""
    run: list[tuple[int, Slice]] = []
    start = end = 0
    for item in sorted(slices, key=_place):
        where = item[1]
        if run and (
            where.file_id != run[0][1].file_id
            or where.offset > end + _GAP_MAX
            or where.offset + where.stored - start > RUN_MAX
        ):
            yield run
            run = []
        if not run:
            start = end = where.offset
        run.append(item)
        end = max(end, where.offset + where.stored)
    if run:
        yield run


def _place(item: tuple[int, Slice]) -> tuple[int, int]:
    return item[1].file_id, item[1].offset
