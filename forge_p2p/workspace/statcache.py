"""What a directory looked like the last time, so that only what changed is read again.

One file a root under `<home>/cache/scan/`, named by the hash of the root's absolute path. Columns, not records: 30,000
entries load in a few joins and array casts. A cache that is damaged, foreign or of another version is no cache.

A file counts as unchanged while its size, times, inode, device and mode are those that were seen. What could have been
written again within the same tick of the clock after it was seen is remembered without its link and read again the next
time (git's "racy" entries). What a restore wrote was not forced to the disk, so it is trusted until the machine
restarts and read again after that.
"""

import os
import time
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

import msgspec
from xxhash import xxh3_64_digest

from forge_p2p.content.link import Kind, Link, Root, hash_bytes
from forge_p2p.ids import Hash
from forge_p2p.workspace.found import Found

_MAGIC = b"forge scan 1\n"
_DIGEST = 8
_KEPT = 64
"""Roots remembered; past it the ones not used for longest go."""

_COARSE_NS = 2_000_000_000
"""FAT's clock, the coarsest in use."""

_FINE_NS = 50_000_000
"""Well above the kernel's tick, by which file systems that keep nanoseconds set times (at most 10 ms)."""


class _Columns(msgspec.Struct, array_like=True):
    """The cache file's body: `root` is the path it is of, the rest a column each, in the order of `Found`'s fields."""

    root: bytes
    boot: str
    known_root: tuple[str, bytes, int, int] | None
    paths: bytes
    st_modes: bytes
    sizes: bytes
    mtimes: bytes
    ctimes: bytes
    inodes: bytes
    devices: bytes
    levels: bytes
    payload_lengths: bytes
    payloads: bytes


class Seen(msgspec.Struct, frozen=True, gc=False):
    """The last look at a root. `root` names the snapshot it was, where all of it was known; `boot` is the machine's run
    that it is to be trusted in, or empty for any."""

    items: dict[bytes, Found] = {}
    root: Root | None = None
    boot: str = ""


class StatCache:
    """The folder of cache files; made when first written to. Never raises for what is in it, nor for a disk that cannot
    take it: a cache saves work and decides nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, root: bytes) -> Seen:
        """What was last seen at the absolute path `root`; nothing if there is no usable record."""
        try:
            data = self._file(root).read_bytes()
        except OSError:
            return Seen()
        body = memoryview(data)[len(_MAGIC) + _DIGEST :]
        if not data.startswith(_MAGIC) or data[len(_MAGIC) : len(_MAGIC) + _DIGEST] != xxh3_64_digest(body):
            return Seen()
        try:
            seen = _unpack(msgspec.msgpack.decode(body, type=_Columns), root)
        except (msgspec.DecodeError, ValueError):
            return Seen()
        if seen.boot and seen.boot != boot_id():
            return _distrusted(seen)
        return seen

    def save(self, root: bytes, items: Iterable[Found], known_root: Root | None, boot: str = "") -> None:
        """Remembers `items`, whose links are all right as of now, as the whole of what is at `root`."""
        body = msgspec.msgpack.encode(_pack(root, list(items), known_root, boot))
        target = self._file(root)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                temporary.write_bytes(b"".join((_MAGIC, xxh3_64_digest(body), body)))
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            self._prune()
        except OSError:
            return

    def version(self, root: bytes) -> tuple[int, int, int] | None:
        """What is another after every `save`; `None` without a record."""
        try:
            status = os.stat(self._file(root))
        except OSError:
            return None
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def forget(self, root: bytes) -> None:
        """Removes what is remembered of `root`."""
        self._file(root).unlink(missing_ok=True)

    def _file(self, root: bytes) -> Path:
        return self._folder / hash_bytes(root)[:16].hex()

    def _prune(self) -> None:
        names = list(self._folder.iterdir())
        if len(names) > _KEPT:
            for path in sorted(names, key=lambda path: path.stat().st_mtime_ns)[: len(names) - _KEPT]:
                path.unlink(missing_ok=True)


def settled(items: Iterable[Found], seen_from_ns: int) -> list[Found]:
    """`items` as they may be remembered, if the first look at any of them was at `seen_from_ns` (Unix time): those so
    young then that a later write could have left the same ctime behind lose their link. A ctime cannot be set, so one
    with more than milliseconds in it shows that the file system's clock is fine."""
    fine, coarse = seen_from_ns - _FINE_NS, seen_from_ns - _COARSE_NS
    return [
        item.without_link() if item.ctime_ns >= (fine if item.ctime_ns % 1_000_000 else coarse) else item
        for item in items
    ]


def settled_after_restore(item: Found) -> Found:
    """A file as it may be remembered once a restore has given it its time. Whoever writes to it later leaves the time
    of that moment, which is another, unless both are near and the file system keeps but whole seconds."""
    is_near = abs(item.mtime_ns - item.ctime_ns) < _COARSE_NS and item.mtime_ns % 1_000_000_000 == 0
    return item.without_link() if is_near and item.is_file else item


@cache
def boot_id() -> str:
    """Names this run of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip().decode()
    except OSError:
        return str(round(time.time() - time.monotonic(), -1))


def _pack(root: bytes, items: Sequence[Found], known_root: Root | None, boot: str) -> _Columns:
    named = (
        (known_root.kind.value, known_root.link.hash, known_root.link.size, known_root.link.level)
        if known_root
        else None
    )
    return _Columns(
        root,
        boot,
        named,
        b"\0".join([item.path for item in items]),
        array("I", [item.st_mode for item in items]).tobytes(),
        array("Q", [item.size for item in items]).tobytes(),
        array("q", [item.mtime_ns for item in items]).tobytes(),
        array("q", [item.ctime_ns for item in items]).tobytes(),
        array("Q", [item.inode for item in items]).tobytes(),
        array("Q", [item.device for item in items]).tobytes(),
        array("B", [item.level for item in items]).tobytes(),
        array("H", [len(item.payload) for item in items]).tobytes(),
        b"".join([item.payload for item in items]),
    )


def _unpack(columns: _Columns, root: bytes) -> Seen:
    if columns.root != root:
        return Seen()
    lengths = _column("H", columns.payload_lengths)
    paths = columns.paths.split(b"\0") if lengths else []
    ends = accumulate(lengths, initial=0)
    payloads = [columns.payloads[start:end] for start, end in pairwise(ends)]
    fields = (
        paths,
        _column("I", columns.st_modes),
        _column("Q", columns.sizes),
        _column("q", columns.mtimes),
        _column("q", columns.ctimes),
        _column("Q", columns.inodes),
        _column("Q", columns.devices),
        list(columns.levels),
        payloads,
    )
    if len({len(field) for field in fields}) != 1:
        return Seen()
    named = columns.known_root
    known_root = Root(Kind(named[0]), Link(Hash(named[1]), named[2], named[3])) if named else None
    return Seen(dict(zip(paths, map(Found, *fields), strict=True)), known_root, columns.boot)


def _column(code: str, data: bytes) -> list[int]:
    column = array(code)
    column.frombytes(data)
    return column.tolist()


def _distrusted(seen: Seen) -> Seen:
    return Seen({path: item.without_link() if item.is_file else item for path, item in seen.items.items()})
