"""What the tests of the workspace share: snapshots made from directories, restored without a store."""

import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root, hash_bytes
from forge_p2p.content.snapshot import Entry, EntryKind, ListingDecoder, encode_pages, sort_key
from forge_p2p.workspace.ledger import Outcome
from forge_p2p.workspace.plan import RestorePlan, plan_restore
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.scan import Scan, scan
from forge_p2p.workspace.source import SourceReader
from forge_p2p.workspace.statcache import StatCache
from forge_p2p.workspace.verify import link_of

Row = tuple[bytes, str, int, int, bytes]
"""Path, kind, mode, mtime in ns (files only), content or target."""


def no_cache(tmp_path: Path) -> StatCache:
    """A cache that never has anything."""
    return StatCache(tmp_path / "no" / "such" / os.urandom(4).hex())


@contextmanager
def mounted(path: Path) -> Iterator[None]:
    """Has an empty tmpfs at `path`."""
    mount("-t", "tmpfs", "-o", "size=1m", "none", str(path))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def mount(*arguments: str) -> None:
    """Runs mount(8)."""
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"mount: {done.stderr.strip()}; run the tests as root, in a container perhaps")


@dataclass(frozen=True)
class Snapshot:
    """A listing, and the content of its files by path."""

    root: Root
    entries: list[Entry]
    contents: Mapping[bytes, bytes]


def snapshot_of(directory: Path | bytes, cache: StatCache) -> Snapshot:
    """What is at `directory`, read through scan and reader; remembered in `cache`."""
    found = scan(os.fsencode(directory), cache)
    contents = contents_of(found)
    links = {path: link_of_bytes(content) for path, content in contents.items()}
    made = snapshot(found.entries(links), contents)
    found.remember(cache, links, made.root)
    return made


def contents_of(found: Scan) -> dict[bytes, bytes]:
    """Every file, read."""
    with SourceReader(found) as reader:
        return {item.path: reader.read(item) for item in found.items if item.is_file}


def snapshot(entries: Iterable[Entry], contents: Mapping[bytes, bytes]) -> Snapshot:
    """Entries as a `ListingDecoder` gives them, under the root that names them."""
    listing = b"".join(encode_pages(entries))
    decoder = ListingDecoder()
    decoded = decoder.feed(listing)
    decoder.finish()
    return Snapshot(Root(Kind.TREE, link_of_bytes(listing)), decoded, contents)


def link_of_bytes(content: bytes) -> Link:
    """By way of a file, as a destination is verified."""
    if len(content) <= CHUNK_MAX:
        return Link(hash_bytes(content), len(content), 0)
    descriptor = os.memfd_create("content")
    try:
        os.writev(descriptor, [content])
        return link_of(descriptor, len(content))
    finally:
        os.close(descriptor)


def small_snapshot(
    files: Mapping[bytes, bytes], *others: Entry, mode: int = 0o644, mtime_ns: int = 10**18 + 1
) -> Snapshot:
    """A snapshot of files and of directories above them, and `others`."""
    entries = {entry.path: entry for entry in others}
    for path, content in files.items():
        link = link_of_bytes(content)
        entries[path] = Entry(path, EntryKind.FILE, mode, mtime_ns, link.size, link.level, link.hash)
    for path in list(entries):
        while path := path.rpartition(b"/")[0]:
            entries.setdefault(path, directory(path))
    return snapshot(sorted(entries.values(), key=lambda entry: sort_key(entry.path)), files)


def directory(path: bytes, mode: int = 0o755) -> Entry:
    return Entry(path, EntryKind.DIRECTORY, mode, 0, 0, 0, b"")


def symlink(path: bytes, target: bytes) -> Entry:
    return Entry(path, EntryKind.SYMLINK, 0o777, 0, 0, 0, target)


def restore(made: Snapshot, destination: Path | bytes, cache: StatCache, **options: bool) -> Outcome:
    """Plan, write and finish."""
    return carry_out(plan_restore(os.fsencode(destination), made.root, made.entries, cache, **options), made, cache)  # type: ignore[arg-type]


def carry_out(plan: RestorePlan, made: Snapshot, cache: StatCache) -> Outcome:
    with RestoreWriter(plan, cache) as writer:
        for entry in plan.write:
            write(writer, entry, made.contents[entry.path])
        return writer.finish()


def write(writer: RestoreWriter, entry: Entry, content: bytes) -> None:
    """As content arrives: whole if it is small, else in pieces of a chunk's size, the last one first."""
    if entry.level == 0:
        writer.write_small(entry, content)
        return
    file = writer.open_large(entry)
    for offset in reversed(range(0, entry.size, CHUNK_MAX)):
        file.write_at(offset, [content[offset : offset + CHUNK_MAX]])
    file.finish()


def rows(top: Path | bytes) -> list[Row]:
    """All that is below `top`, looked at without the code under test."""
    found: list[Row] = []
    root = os.fsencode(top)
    for folder, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, root)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found.append((relative, "symlink", 0o777, 0, os.readlink(path)))
            elif stat.S_ISDIR(status.st_mode):
                found.append((relative, "directory", mode, 0, b""))
            else:
                found.append((relative, "file", mode, status.st_mtime_ns, read(path)))
    return sorted(found)


def rows_of(made: Snapshot) -> list[Row]:
    """The same for a snapshot."""
    kinds = {EntryKind.FILE: "file", EntryKind.DIRECTORY: "directory", EntryKind.SYMLINK: "symlink"}
    return sorted(
        (
            entry.path,
            kinds[EntryKind(entry.kind)],
            entry.mode,
            entry.mtime_ns,
            made.contents[entry.path] if entry.kind == EntryKind.FILE else entry.payload,
        )
        for entry in made.entries
    )


def read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
