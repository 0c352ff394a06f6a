"""Whether a pack's index names an object: a few dozen page reads, without reading the index as a whole.

The format is gitformat-pack(5)'s, version 2. For merging and checking indexes whole there is `packs.index`.
"""

import mmap
import os
import struct
from array import array
from collections.abc import Iterable
from typing import Final

from forge_p2p.errors import Malformed

_MAGIC: Final = b"\xfftOc\x00\x00\x00\x02"
_NAMES: Final = 8 + 4 * 256
_LARGE: Final = 1 << 31
"""From here on an offset is a place in the table of 64-bit offsets."""

_COUNT = struct.Struct(">I")


class IndexFile:
    """The `.idx` at `path`, of object names of `size` bytes. Raises `Malformed`, `OSError`."""

    def __init__(self, path: bytes, size: int) -> None:
        self._size = size
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            length = os.fstat(descriptor).st_size
            if length < _NAMES + 2 * size:
                raise Malformed(f"{os.fsdecode(path)} is too short for an index")
            self._map = mmap.mmap(descriptor, length, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self.objects = self._fanout(255)
        if self._map[:8] != _MAGIC or length < _NAMES + self.objects * (size + 8) + 2 * size:
            raise Malformed(f"{os.fsdecode(path)} is no index of version 2")
        self.pack_hash: bytes = self._map[length - 2 * size : length - size]

    def _fanout(self, first: int) -> int:
        return int(_COUNT.unpack_from(self._map, 8 + 4 * first)[0]) if first >= 0 else 0

    def __contains__(self, oid: bytes) -> bool:
        low, high = self._fanout(oid[0] - 1), min(self._fanout(oid[0]), self.objects)
        data, size = self._map, self._size
        while low < high:
            middle = (low + high) // 2
            at = _NAMES + middle * size
            found = data[at : at + size]
            if found == oid:
                return True
            if found < oid:
                low = middle + 1
            else:
                high = middle
        return False

    def lies_within(self, size: int) -> bool:
        """Whether every object begins within a pack of `size` bytes."""
        at = _NAMES + self.objects * (self._size + 4)
        small = array("I", self._map[at : at + 4 * self.objects])
        small.byteswap()
        if not small or max(small) < _LARGE:
            return not small or max(small) < size
        at += 4 * self.objects
        count = (len(self._map) - at - 2 * self._size) // 8
        large = array("Q", self._map[at : at + 8 * count])
        large.byteswap()
        beyond = [offset - _LARGE for offset in small if offset >= _LARGE]
        return max(beyond) < count and max(large) < size

    def names(self) -> list[bytes]:
        """All that it names, in order."""
        ends = range(_NAMES + self._size, _NAMES + (self.objects + 1) * self._size, self._size)
        return [self._map[end - self._size : end] for end in ends]

    def has_all(self, oids: Iterable[bytes]) -> bool:
        """Whether it names every one of these."""
        return all(oid in self for oid in oids)
