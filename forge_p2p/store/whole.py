"""Whole contents as files: a large content whose chunks lie raw and in order in a data file of their own *is* that data
file, and need not be copied to be had outside; and the other way round.

Going out, the data file gets a second name (or, where the file system can, a copy that shares its blocks). Coming in, a
file that was just written becomes a data file, and the one that its chunks arrived in, in whatever order, is let go.
Both names are of one file then. Nobody but its owner can write to it, and what its owner does to it is found by the
checksums that every read compares, and before it gets another name: it is a damaged data file, like one that the disk
has damaged.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from forge_p2p.content.codec import Codec
from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import Hash
from forge_p2p.store.appender import Appender
from forge_p2p.store.compaction import remove_files, switch
from forge_p2p.store.context import Context
from forge_p2p.store.index import Entry
from forge_p2p.store.landing import prepare
from forge_p2p.store.layout import data_name
from forge_p2p.store.records import CODECS, Slice, checksum
from forge_p2p.store.staging import Staging
from forge_p2p.writeback import share_blocks

Sized = tuple[Hash, int]
"""A chunk and its raw size."""

Placed = tuple[Hash, int, int]
"""A chunk, its raw size and its offset in a content."""

MODE: Final = 0o444
"""Of files that have a name outside: readable for whoever may enter the folder, as git's own packs are."""

_RAW: Final = CODECS.index(Codec.RAW)
_READ: Final = 4 << 20


def link_into(context: Context, path: bytes, chunks: Sequence[Sized]) -> bool:
    """As `Store.link_into`."""
    first: dict[Hash, Placed] = {}
    again = [placed for placed in _placed(chunks) if first.setdefault(placed[0], placed) is not placed]
    found = context.index.find(list(first))
    if not found or found[0] is None:
        return False
    file_id = found[0].file_id
    if any(not _lies(where, file_id, placed) for where, placed in zip(found, first.values(), strict=True)):
        return False
    try:
        if not _is_sound(context, file_id, chunks, again):
            return False
        return _same_file(os.fsencode(context.layout.data_file(file_id)), path)
    except OSError:
        return False  # it is copied instead, and what is wrong is told then


def adopt(context: Context, path: bytes, chunks: Sequence[Sized]) -> bool:
    """As `Store.adopt_file`."""
    staging = Staging(context.layout, None)
    try:
        file_id = staging.new_id()
        if not _same_file(path, os.fsencode(staging.path / data_name(file_id))):
            return False
        entries = _verified(staging.path, file_id, chunks)
        if entries is None:
            return False
        now = context.index.find([chunk for chunk, _ in entries])
        moved = [((new[0], old), new) for new, old in zip(entries, now, strict=True) if old is not None]
        if not moved:
            return False
        appender = Appender.adopt(staging.path, file_id, entries)
        prepare(context.layout, [appender])
        switch(context, appender, moved, cold=True)
    except OSError:
        return False
    finally:
        staging.close(keep=False)
    remove_files(context)
    return True


def _placed(chunks: Sequence[Sized]) -> Iterator[Placed]:
    offset = 0
    for chunk, size in chunks:
        yield chunk, size, offset
        offset += size


def _lies(where: Slice | None, file_id: int, placed: Placed) -> bool:
    _, size, offset = placed
    return where is not None and (where.file_id, where.offset, where.size, where.codec) == (file_id, offset, size, _RAW)


def _is_sound(context: Context, file_id: int, chunks: Sequence[Sized], again: Sequence[Placed]) -> bool:
    """Whether a data file, in which each chunk lies where it comes first, is the content. It is read where that is not
    known: the index knows one place of each chunk, and there may be nothing in the others; and it may have been written
    to by another name of it, after its journal was."""
    source, journal = context.layout.data_file(file_id), context.layout.journal(file_id)
    state = os.stat(source)
    if state.st_size != sum(size for _, size in chunks):
        return False
    is_touched = state.st_mtime_ns > os.stat(journal).st_mtime_ns
    if not _holds(source, list(_placed(chunks)) if is_touched else again):
        return False
    if is_touched:
        os.utime(journal, ns=(state.st_mtime_ns, state.st_mtime_ns))  # git touches packs, too: read it once
    return True


def _holds(source: Path, places: Sequence[Placed]) -> bool:
    """Whether a file has chunks in these places."""
    if not places:
        return True
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return all(hash_bytes(raw) == chunk for (chunk, _, _), raw in _contents(descriptor, places))
    finally:
        os.close(descriptor)


def _same_file(source: bytes, path: bytes) -> bool:
    """Makes `path`, which does not exist, a clone of `source`, or else another name of it."""
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            share_blocks(descriptor, copy)
            os.fchmod(copy, MODE)
            os.fsync(copy)
        except OSError:
            os.unlink(path)
        else:
            return True
        finally:
            os.close(copy)
        os.fchmod(descriptor, MODE)
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Given a folder, `os.link` calls linkat(2), which alone follows the symlink that this is.
            os.link(f"/proc/self/fd/{descriptor}", os.path.basename(path), src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)
    finally:
        os.close(descriptor)
    return True


def _verified(folder: Path, file_id: int, chunks: Sequence[Sized]) -> list[Entry] | None:
    """Where each chunk lies in a file that is to hold all of them, one after the other, each once; `None` if it does
    not."""
    entries: dict[Hash, Slice] = {}
    descriptor = os.open(folder / data_name(file_id), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size != sum(size for _, size in chunks):
            return None
        for (chunk, size, offset), raw in _contents(descriptor, _placed(chunks)):
            if hash_bytes(raw) != chunk:
                return None
            entries.setdefault(chunk, Slice(file_id, offset, size, size, _RAW, checksum(chunk, _RAW, size, raw)))
    finally:
        with suppress(OSError):
            os.close(descriptor)
    return list(entries.items())


def _contents(descriptor: int, places: Iterable[Placed]) -> Iterator[tuple[Placed, memoryview]]:
    """What lies in places of an open file, which are given in order; short where the file ends."""
    start, data = 0, memoryview(b"")
    for placed in places:
        _, size, offset = placed
        if offset + size > start + len(data):
            start, data = offset, memoryview(os.pread(descriptor, _READ, offset))
        yield placed, data[offset - start : offset - start + size]
