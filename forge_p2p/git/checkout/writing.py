"""Writes a plain tree into an empty directory, on several threads.

Most of the time goes into the kernel, which creates files for several threads at once. Contents come from the hot
cache, and what it lacks from `git cat-file`, one for each slice of the tree. Nothing is written through a symlink:
directories are reached by descriptors, files are created where nothing is, and symlinks are made when all files are
there.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final

from forge_p2p.errors import Malformed
from forge_p2p.git.checkout.hot import Hot, HotWriter
from forge_p2p.git.checkout.listing import FILE, LINK, Item, Listing
from forge_p2p.git.checkout.staging import Written
from forge_p2p.git.running import Git, GitFailed
from forge_p2p.workspace.directories import Directories
from forge_p2p.workspace.faults import disk_error

_SLICE: Final = 1024
"""Files that one thread writes in a row: enough to be worth a process that reads blobs."""

_PIECE: Final = 1 << 20
"""Bytes of a content that are in memory at once, for each thread."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_LINK: Final = 4096


@dataclass(frozen=True, slots=True)
class Task:
    """Where to, and from what. `root`: descriptor of the empty directory. `time`: what all files' times are set to, in
    nanoseconds: before the second in which git's index is written, or git would compare their contents once more.
    `keep` takes contents for the next time."""

    git: Git
    root: int
    hot: Hot
    time: int
    workers: int
    keep: HotWriter | None = None


def write_tree(listing: Listing, task: Task) -> list[Written]:
    """Writes everything. What is there afterwards, in git's order. Raises `DiskError`, `GitFailed`, `Malformed`."""
    with Directories(task.root, {}) as directories:
        for path in listing.folders():
            parent, _, name = path.rpartition(b"/")
            with _explained(path):
                os.mkdir(name, 0o777, dir_fd=directories.descriptor(parent))
    files = [item for item in listing.items if item.kind == FILE]
    slices = [files[at : at + _SLICE] for at in range(0, len(files), _SLICE)]
    found: dict[bytes, os.stat_result] = {}
    with ThreadPoolExecutor(task.workers, "checkout") as pool:
        for part in pool.map(lambda each: _write_slice(each, task), slices):
            found.update(part)
    found.update(_write_others([item for item in listing.items if item.kind != FILE], task))
    return [Written(item, found[item.path]) for item in listing.items]


def _write_slice(items: Sequence[Item], task: Task) -> dict[bytes, os.stat_result]:
    found: dict[bytes, os.stat_result] = {}
    missing = []
    with Directories(task.root, {}) as directories:
        for item in items:
            content = task.hot.read(item.oid)
            if content is None:
                missing.append(item)
                continue
            found[item.path] = _write_file(item, [content], directories, task)
            if task.keep is not None:
                task.keep.add(item.oid, content)
        for item, pieces in contents(task.git, missing):
            found[item.path] = _write_file(item, _kept(item, pieces, task.keep), directories, task)
    return found


def _kept(item: Item, pieces: Iterator[bytes], keep: HotWriter | None) -> Iterator[bytes]:
    """The pieces as they are. What comes in one is kept; what is larger is not worth the room."""
    first = next(pieces, b"")
    if keep is not None and len(first) < _PIECE:
        keep.add(item.oid, first)
    yield first
    yield from pieces


def _write_file(item: Item, pieces: Iterable[bytes], directories: Directories, task: Task) -> os.stat_result:
    parent, _, name = item.path.rpartition(b"/")
    with _explained(item.path):
        folder = directories.descriptor(parent)
        descriptor = os.open(name, _CREATE, 0o777 if item.executable else 0o666, dir_fd=folder)
        try:
            for piece in pieces:
                _write(descriptor, piece)
            os.utime(descriptor, ns=(task.time, task.time))
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)


def _write(descriptor: int, piece: bytes) -> None:
    done = os.write(descriptor, piece) if piece else 0
    while done < len(piece):
        done += os.write(descriptor, memoryview(piece)[done:])


def _write_others(items: Sequence[Item], task: Task) -> dict[bytes, os.stat_result]:
    """Symlinks, and the empty directories in which submodules will be."""
    found = {}
    targets = {
        item.oid: b"".join(pieces) for item, pieces in contents(task.git, [each for each in items if each.kind == LINK])
    }
    with Directories(task.root, {}) as directories:
        for item in items:
            parent, _, name = item.path.rpartition(b"/")
            with _explained(item.path):
                folder = directories.descriptor(parent)
                if item.kind == LINK:
                    os.symlink(_target(item, targets[item.oid]), name, dir_fd=folder)
                found[item.path] = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return found


def _target(item: Item, target: bytes) -> bytes:
    if not target or b"\0" in target or len(target) > _LONGEST_LINK:
        raise Malformed(f"the symlink {item.path!r} leads to what can be no path")
    return target


class _explained:  # noqa: N801 - reads as a clause
    """Refusals of the system, in words that name the path."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileExistsError):
            raise Malformed(
                f"the tree has two entries that are {os.fsdecode(self._path)}, or one inside another"
            ) from error
        if isinstance(error, OSError):
            raise disk_error("written", self._path, error) from error


def contents(git: Git, items: Sequence[Item]) -> Iterator[tuple[Item, Iterator[bytes]]]:
    """Blobs in pieces, in the order of `items`. Each is to be read before the next. Raises `GitFailed`."""
    if not items:
        return
    with tempfile.TemporaryFile() as wanted:
        wanted.writelines(item.oid + b"\n" for item in items)
        wanted.seek(0)
        process = git.start("cat-file", "--batch", "--buffer", stdin=wanted, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            for item in items:
                yield item, _blob(process.stdout, item)
                process.stdout.read(1)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.stdout.close()
            process.wait()


def _blob(stream: IO[bytes], item: Item) -> Iterator[bytes]:
    """`OID blob SIZE`, and the content."""
    head = stream.readline().split()
    if len(head) != 3 or head[:2] != [item.oid, b"blob"]:
        raise GitFailed(
            f"git has no blob {item.oid.decode()} for {os.fsdecode(item.path)}", hint="git fsck says what is missing"
        )
    left = int(head[2])
    while left:
        piece = stream.read(min(left, _PIECE))
        if not piece:
            raise GitFailed("git cat-file ended early", hint="git fsck says what is damaged")
        left -= len(piece)
        yield piece
