"""Whether a commit-graph is one that git can read without going astray: everything that git follows leads somewhere.

The format is gitformat-commit-graph(5)'s, version 1, as `git commit-graph write` makes it without changed paths: git
2.39 does not look at all bounds itself, and the file may be a stranger's. Whether it tells the truth about commits only
reading them shows: `git commit-graph verify`, in the background.
"""

import os
import struct
from array import array
from bisect import bisect_left
from itertools import pairwise
from typing import Final

from forge_p2p.errors import Malformed

MAX_BYTES: Final = 2 << 30
_HEAD: Final = struct.Struct(">4sBBBB")
_ENTRY: Final = struct.Struct(">4sQ")
_HASHES: Final = {20: 1, 32: 2}
_NEEDED: Final = (b"OIDF", b"OIDL", b"CDAT")
_KNOWN: Final = (*_NEEDED, b"GDA2", b"GDO2", b"EDGE")
_NONE: Final = 0x70000000
"""In the place of a parent."""

_HIGH: Final = 0x80000000
"""With a second parent: the others are in the table of edges. With an edge: the last one of a commit."""

_FANOUT: Final = 1024


def checked_commits(path: bytes, trailer: bytes) -> int:
    """How many commits the commit-graph at `path` has, which ends with `trailer`. Raises `Malformed`, `OSError`."""
    if os.path.getsize(path) > MAX_BYTES:
        raise _fault("is too large")
    with open(path, "rb") as file:
        data = file.read()
    size = len(trailer)
    chunks = _chunks(data, size)
    if data[-size:] != trailer:
        raise _fault("is another one")
    count = int.from_bytes(chunks[b"OIDF"][-4:])
    edges = _numbers(chunks.get(b"EDGE", b""))
    _check_fan_out(chunks[b"OIDF"], count)
    if len(chunks[b"OIDL"]) != count * size or len(chunks[b"CDAT"]) != count * (size + 16):
        raise _fault("does not fit its number of commits")
    rows, row, first = _numbers(chunks[b"CDAT"]), (size + 16) // 4, size // 4
    _check_parents(rows[first::row], count, 0)
    _check_parents(rows[first + 1 :: row], count, len(edges))
    _check_edges(edges, count)
    _check_generations(chunks, count)
    return count


def _chunks(data: bytes, size: int) -> dict[bytes, bytes]:
    """Chunks by their names. All lie one behind the other between the table and the hash."""
    if len(data) < _HEAD.size + size:
        raise _fault("is cut short")
    magic, version, hash_version, number, bases = _HEAD.unpack_from(data)
    if (magic, version, hash_version, bases) != (b"CGPH", 1, _HASHES[size], 0):
        raise _fault("is none of version 1 that stands alone")
    end = _HEAD.size + (number + 1) * _ENTRY.size
    if len(data) < end + size:
        raise _fault("is cut short")
    entries = [_ENTRY.unpack_from(data, _HEAD.size + at * _ENTRY.size) for at in range(number + 1)]
    names, offsets = [name for name, _ in entries], [offset for _, offset in entries]
    if len(set(names)) != len(names) or not set(_NEEDED) <= set(names) or not set(names[:-1]) <= set(_KNOWN):
        raise _fault("has other chunks than git writes")
    if offsets != sorted(offsets) or offsets[0] != end or offsets[-1] != len(data) - size or names[-1] != bytes(4):
        raise _fault("has a table that leads astray")
    return {name: data[offsets[at] : offsets[at + 1]] for at, name in enumerate(names[:-1])}


def _check_fan_out(raw: bytes, count: int) -> None:
    table = _numbers(raw)
    if len(raw) != _FANOUT or any(one > other for one, other in pairwise(table)) or count >= _NONE:
        raise _fault("has a fan-out table that leads astray")


def _check_parents(parents: "array[int]", count: int, edges: int) -> None:
    """Each is a commit's place, or none, or with the high bit set one in the table of edges."""
    ordered = array("I", sorted(parents))
    inside, high = bisect_left(ordered, count), bisect_left(ordered, _HIGH)
    if ordered[inside:high].count(_NONE) != high - inside or (high < len(ordered) and ordered[-1] - _HIGH >= edges):
        raise _fault("has parents that are not there")


def _check_edges(edges: "array[int]", count: int) -> None:
    if not edges:
        return
    low = array("I", [edge for edge in edges if edge < _HIGH])
    last = [edge - _HIGH for edge in edges if edge >= _HIGH]
    if edges[-1] < _HIGH or max(last) >= count or (low and max(low) >= count):
        raise _fault("has edges that lead astray")


def _check_generations(chunks: dict[bytes, bytes], count: int) -> None:
    dates, large = _numbers(chunks.get(b"GDA2", b"")), len(chunks.get(b"GDO2", b"")) // 8
    if not dates:
        return
    if len(dates) != count or (max(dates) >= _HIGH and max(dates) - _HIGH >= large):
        raise _fault("has dates that are not there")


def _numbers(raw: bytes) -> "array[int]":
    if len(raw) % 4:
        raise _fault("has half a number")
    numbers = array("I", raw)
    numbers.byteswap()
    return numbers


def _fault(what: str) -> Malformed:
    return Malformed(f"a commit-graph {what}", hint="whoever published it is at fault")
