"""A pack's index, `.idx` version 2: the names of its objects in order, and where each begins.

In memory an index is three arrays, 32 bytes an object, so that every check and every merge is a few passes of numpy
over them. An honest index of 850,000 objects is read and checked in some 50 ms.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from forge_p2p.errors import Malformed
from forge_p2p.git.packs.formats import HEADER_SIZE, MAX_OBJECTS, ObjectFormat

Names = npt.NDArray[np.uint8]
"""Shape (objects, size of a name)."""

Offsets = npt.NDArray[np.int64]

_MAGIC = b"\xfftOc\x00\x00\x00\x02"
_FANOUT = 1024
_LARGE = 0x80000000
SMALL_LIMIT = 0x7FFFFFFF
"""The highest offset that is kept in 31 bits; what lies beyond has 64 bits in a table of its own."""


@dataclass(frozen=True, slots=True)
class PackIndex:
    """Objects in the order of their names: `names`, CRC-32 of each entry, offset of each entry in the pack.

    `pack_hash` is what the pack ends with. Arrays of a frozen index are not to be written to.
    """

    format: ObjectFormat
    names: Names
    crcs: npt.NDArray[np.uint32]
    offsets: Offsets
    pack_hash: bytes

    def __len__(self) -> int:
        return len(self.offsets)


def as_keys(names: Names) -> npt.NDArray[np.bytes_]:
    """Names as strings of bytes, which compare as the names do: zeros at the end are no difference among equals."""
    return np.ascontiguousarray(names).view(f"S{names.shape[1]}").reshape(-1)


def read_index(path: Path, form: ObjectFormat, pack_size: int) -> PackIndex:
    """The index at `path` of a pack of `pack_size` bytes. Raises `Malformed`, naming the file, and `OSError`."""
    try:
        return parse_index(path.read_bytes(), form, pack_size)
    except Malformed as error:
        raise Malformed(f"{path}: {error.message}") from None


def parse_index(raw: bytes, form: ObjectFormat, pack_size: int) -> PackIndex:
    """An index from its bytes, everything in it checked that can be without reading the pack. Raises `Malformed`."""
    count = _count(raw, form)
    at = len(_MAGIC) + _FANOUT
    names = np.frombuffer(raw, np.uint8, count * form.size, at).reshape(count, form.size)
    at += count * form.size
    crcs = np.frombuffer(raw, ">u4", count, at).astype(np.uint32)
    small = np.frombuffer(raw, ">u4", count, at + 4 * count)
    offsets = _offsets(raw, small, at + 8 * count, form)
    index = PackIndex(form, names, crcs, offsets, bytes(raw[-2 * form.size : -form.size]))
    hasher = form.hasher()
    hasher.update(memoryview(raw)[: -form.size])
    if hasher.digest() != raw[-form.size :]:
        raise Malformed("the index does not end with its own hash")
    _check_names(index, np.frombuffer(raw, ">u4", 256, len(_MAGIC)))
    _check_offsets(index, pack_size)
    return index


def _count(raw: bytes, form: ObjectFormat) -> int:
    """The number of objects, which fits the size of the file."""
    least = len(_MAGIC) + _FANOUT + 2 * form.size
    if len(raw) < least or raw[: len(_MAGIC)] != _MAGIC:
        raise Malformed("not a pack index of version 2")
    count = int.from_bytes(raw[least - 2 * form.size - 4 : least - 2 * form.size], "big")
    each = form.size + 8
    if not least + count * each <= len(raw) <= least + count * (each + 8):
        raise Malformed(f"an index of {count} objects does not have {len(raw)} bytes")
    return count


def _offsets(raw: bytes, small: npt.NDArray[np.uint32], at: int, form: ObjectFormat) -> Offsets:
    """31-bit offsets, with those that refer to the 64-bit table at `at` looked up there."""
    large = np.flatnonzero(small & _LARGE)
    if at + 8 * len(large) + 2 * form.size != len(raw):
        raise Malformed(f"{len(large)} offsets refer to a table of {(len(raw) - at - 2 * form.size) // 8}")
    offsets = small.astype(np.int64)
    if len(large):
        table = np.frombuffer(raw, ">u8", len(large), at)
        places = (small[large] & SMALL_LIMIT).astype(np.int64)
        if int(places.max()) >= len(large):
            raise Malformed("an offset refers to what is behind the table of large offsets")
        wide = table[places]
        if int(wide.max()) >> 63:
            raise Malformed("a large offset is above 2^63")
        offsets[large] = wide.astype(np.int64)
    return offsets


def _check_names(index: PackIndex, fanout: npt.NDArray[np.uint32]) -> None:
    if not np.array_equal(fanout.astype(np.int64), fan_out(index.names)):
        raise Malformed("the fan-out table does not fit the names")
    keys = as_keys(index.names)
    if not bool(np.all(keys[:-1] < keys[1:])):
        raise Malformed("the names are not in order, or one is there twice")


def _check_offsets(index: PackIndex, pack_size: int) -> None:
    """Every entry begins in the pack, no two at one place, the first right behind the header."""
    if not len(index):
        return
    ordered = np.sort(index.offsets)
    if int(ordered[0]) != HEADER_SIZE or int(ordered[-1]) >= pack_size - index.format.size:
        raise Malformed(f"offsets from {ordered[0]} to {ordered[-1]} do not fit a pack of {pack_size} bytes")
    if not bool(np.all(ordered[:-1] < ordered[1:])):
        raise Malformed("two objects begin at one place")


def fan_out(names: Names) -> Offsets:
    """For each first byte, how many names begin with it or a lower one: shape (256,)."""
    first = names[:, 0] if len(names) else np.empty(0, np.uint8)
    return np.cumsum(np.bincount(first, minlength=256)).astype(np.int64)


def write_index(index: PackIndex, file: BinaryIO, *, small_limit: int = SMALL_LIMIT) -> None:
    """Writes what `git index-pack` would. Offsets above `small_limit` go to the 64-bit table. Raises `OSError`."""
    if len(index) > MAX_OBJECTS:
        raise Malformed(f"{len(index)} objects do not fit one pack")
    large = np.flatnonzero(index.offsets > small_limit)
    small = index.offsets.astype(">u4")
    small[large] = np.arange(len(large), dtype=np.uint32) | np.uint32(_LARGE)
    parts = (
        _MAGIC,
        fan_out(index.names).astype(">u4").tobytes(),
        np.ascontiguousarray(index.names).reshape(-1).data,
        index.crcs.astype(">u4").tobytes(),
        small.tobytes(),
        index.offsets[large].astype(">u8").tobytes(),
        index.pack_hash,
    )
    _write_hashed(parts, index.format, file)


def write_reverse(index: PackIndex, file: BinaryIO) -> None:
    """Writes a pack's `.rev`: its objects' places in the index, in the order of the pack. Raises `OSError`."""
    order = np.argsort(index.offsets, kind="stable")
    head = b"RIDX" + (1).to_bytes(4, "big") + index.format.number.to_bytes(4, "big")
    _write_hashed((head, order.astype(">u4").tobytes(), index.pack_hash), index.format, file)


def _write_hashed(parts: tuple[bytes | memoryview, ...], form: ObjectFormat, file: BinaryIO) -> None:
    """Parts, and the hash of them all."""
    hasher = form.hasher()
    for part in parts:
        hasher.update(part)
        file.write(part)
    file.write(hasher.digest())


def order_of_names(names: Names) -> npt.NDArray[np.intp]:
    """The permutation that sorts names of several sorted runs.

    Eight bytes decide between almost any two honest names, and numpy sorts integers many times faster than strings;
    runs that are sorted already cost it one merge each. Where two begin alike, whole names are compared.
    """
    if not len(names):
        return np.empty(0, np.intp)
    heads = np.ascontiguousarray(names[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
    order = np.argsort(heads, kind="stable")
    ordered = heads[order]
    if bool(np.any(ordered[:-1] == ordered[1:])):
        return np.argsort(as_keys(names), kind="stable")
    return order


def repeated(names: Names) -> int:
    """How many of sorted `names` equal the one before."""
    keys = as_keys(names)
    return int(np.count_nonzero(keys[:-1] == keys[1:]))
