"""Several packs made one without resolving a delta.

An offset delta names its base by the distance back to it, which stays the same when a whole pack moves. So the joined
pack is a new header, the entries of each pack as they are, and a new hash at the end; its index has the old ones'
names, merged, with offsets shifted. git would inflate and hash every object again: 10 s where this takes half a second.

Conditions, checked before anything is written: no delta that names its base by hash (the base may be anywhere, and git
resolves it more slowly), and no object twice (git refuses such a pack when it is verified).

Copying and hashing share the work: the kernel copies (`copy_file_range`, no byte passes through this process) while
another thread reads the same pages, hashes them and looks at the entries' types. hashlib gives the interpreter free.
"""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from forge_p2p.errors import ForgeError, Malformed, UsageError
from forge_p2p.git.packs.formats import HEADER_SIZE, MAX_OBJECTS, ObjectFormat, pack_header, read_pack_header
from forge_p2p.git.packs.index import (
    PackIndex,
    order_of_names,
    read_index,
    repeated,
    write_index,
    write_reverse,
)

_BLOCK = 1 << 20
_COPY = 32 << 20
_REF_DELTA = 7
_KINDS = np.zeros(8, np.bool_)
_KINDS[[1, 2, 3, 4, 6]] = True
"""Types of entries that can be moved: commit, tree, blob, tag, offset delta."""

_NO_COPYING = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Other file systems, old kernels, files that cannot do it."""

Update = Callable[[memoryview], None]


class NotJoinable(ForgeError):
    """Packs that are sound but cannot be joined as they are: an object twice, or a base named by hash."""


@dataclass(frozen=True, slots=True)
class Source:
    """One pack to be joined: its file and its checked index."""

    path: Path
    index: PackIndex
    size: int

    @property
    def body(self) -> int:
        """Bytes of its entries."""
        return self.size - HEADER_SIZE - self.index.format.size


def open_source(pack: Path, index: Path, form: ObjectFormat) -> Source:
    """A pack and its index that agree on count, size and hash. Raises `Malformed`, naming the file, and `OSError`."""
    with pack.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEADER_SIZE)
        trailer = os.pread(file.fileno(), form.size, max(size - form.size, 0))
    try:
        objects = read_pack_header(head)
        found = read_index(index, form, size)
    except Malformed as error:
        raise Malformed(f"{pack}: {error.message}") from None
    if objects != len(found) or trailer != found.pack_hash or size < HEADER_SIZE + form.size:
        raise Malformed(f"{pack}: its index {index.name} is of another pack")
    return Source(pack, found, size)


def merge_indexes(sources: Sequence[Source], pack_hash: bytes) -> PackIndex:
    """The index of the pack that holds the entries of `sources` one after the other. Raises `NotJoinable`."""
    form = sources[0].index.format
    if any(source.index.format is not form for source in sources):
        raise UsageError("packs of SHA-1 and SHA-256 repositories cannot be joined")
    shifts = np.cumsum([0, *(source.body for source in sources[:-1])])
    names = np.concatenate([source.index.names for source in sources])
    if len(names) > MAX_OBJECTS:
        raise NotJoinable(f"{len(names)} objects do not fit one pack")
    offsets = np.concatenate([source.index.offsets + shift for source, shift in zip(sources, shifts, strict=True)])
    order = order_of_names(names)
    names = names[order]
    if twice := repeated(names):
        raise NotJoinable(f"{twice} objects are in more than one of the packs", hint="repack them")
    crcs = np.concatenate([source.index.crcs for source in sources])[order]
    return PackIndex(form, names, crcs, offsets[order], pack_hash)


def join_packs(sources: Sequence[Source], folder: Path, *, durable: bool = True) -> Path:
    """Joins `sources` into `folder` as `pack-HASH.pack`, `.rev` and `.idx`, in the order in which git may find them.

    Needs 50 bytes of memory an object, whatever the packs' size. What is left of an interrupted join is called
    `tmp_…`, which `git gc` removes. Returns the pack's path. Raises `NotJoinable`, `Malformed` and `OSError`.
    """
    index = merge_indexes(sources, b"")  # before the copying: what cannot be joined costs nothing
    temporary = folder / f"tmp_join_{os.getpid()}_{os.urandom(4).hex()}"
    names = {suffix: temporary.with_suffix(suffix) for suffix in (".pack", ".rev", ".idx")}
    try:
        with names[".pack"].open("xb") as file:
            pack_hash = _write_pack(sources, file)
            _sync(file, durable)
        index = PackIndex(index.format, index.names, index.crcs, index.offsets, pack_hash)
        for suffix, write in ((".rev", write_reverse), (".idx", write_index)):
            with names[suffix].open("xb") as file:
                write(index, file)
                _sync(file, durable)
        final = folder / f"pack-{pack_hash.hex()}"
        for suffix, path in names.items():
            path.chmod(0o444)
            path.replace(final.with_suffix(suffix))
    finally:
        for path in names.values():
            path.unlink(missing_ok=True)
    return final.with_suffix(".pack")


def _sync(file: BinaryIO, durable: bool) -> None:
    file.flush()
    if durable:
        os.fsync(file.fileno())


def _write_pack(sources: Sequence[Source], file: BinaryIO) -> bytes:
    """Header, entries and trailer. Returns the trailer."""
    header = pack_header(sum(len(source.index) for source in sources))
    file.write(header)
    file.flush()
    copier = _Copier(sources, file.fileno())
    copier.start()
    try:
        hasher = sources[0].index.format.hasher()
        hasher.update(header)
        buffer = bytearray(_BLOCK)
        for source in sources:
            _hash_entries(source, hasher.update, buffer)
    except BaseException:
        copier.stop.set()
        raise
    finally:
        copier.join()
    if copier.error:
        raise copier.error
    file.seek(0, os.SEEK_END)
    file.write(hasher.digest())
    return hasher.digest()


class _Copier(threading.Thread):
    """Copies the entries of all packs to the end of a file."""

    def __init__(self, sources: Sequence[Source], target: int) -> None:
        super().__init__(name="pack copier", daemon=True)
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._sources = sources
        self._target = target

    def run(self) -> None:
        try:
            for source in self._sources:
                with source.path.open("rb") as file:
                    self._copy(file.fileno(), source)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self.error = error

    def _copy(self, descriptor: int, source: Source) -> None:
        at, end = HEADER_SIZE, HEADER_SIZE + source.body
        while at < end and not self.stop.is_set():
            copied = _copy_some(descriptor, self._target, at, min(end - at, _COPY))
            if not copied:
                raise Malformed(f"{source.path} was cut short while it was read")
            at += copied


def _copy_some(source: int, target: int, at: int, size: int) -> int:
    """Copies up to `size` bytes from `at` to where `target` stands; by hand where the kernel cannot."""
    try:
        return os.copy_file_range(source, target, size, offset_src=at)
    except OSError as error:
        if error.errno not in _NO_COPYING:
            raise
    block = os.pread(source, min(size, _BLOCK), at)
    done = 0
    while done < len(block):
        done += os.write(target, block[done:])
    return len(block)


def _hash_entries(source: Source, update: Update, buffer: bytearray) -> None:
    """Hashes the entries of one pack, and looks at the type of each as it passes."""
    starts = np.sort(source.index.offsets)
    heads = np.frombuffer(buffer, np.uint8)
    at, end = HEADER_SIZE, HEADER_SIZE + source.body
    with source.path.open("rb", buffering=0) as file:
        file.seek(at)
        while at < end:
            size = file.readinto(memoryview(buffer)[: end - at])
            if not size:
                raise Malformed(f"{source.path} was cut short while it was read")
            update(memoryview(buffer)[:size])
            first, last = np.searchsorted(starts, (at, at + size))
            _check_kinds(source, heads[starts[first:last] - at])
            at += size


def _check_kinds(source: Source, heads: npt.NDArray[np.uint8]) -> None:
    """Each entry's first byte has its type in bits 4 to 6. Raises `NotJoinable` or `Malformed`."""
    kinds = (heads >> 4) & 7
    if bool(np.all(_KINDS[kinds])):
        return
    if bool(np.any(kinds == _REF_DELTA)):
        raise NotJoinable(f"{source.path} has deltas that name their base by hash", hint="repack it with offset deltas")
    raise Malformed(f"{source.path}: its index points to what is no entry")
