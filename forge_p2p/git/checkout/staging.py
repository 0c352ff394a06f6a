"""git's index of a work tree that was just written, so that git takes it from there: `.git/index`, version 2.

Bytes as gitformat-index(5) has them. The stat data are what lets git believe that a file is unchanged without reading
it; wrong ones cost it time, never truth.
"""

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forge_p2p.git.checkout.listing import LINK, MODULE, Item
from forge_p2p.git.packs.formats import ObjectFormat

_HEADER = struct.Struct(">4sII")
_STAT = struct.Struct(">10I")
_LONGEST = 0xFFF
_LOW = 0xFFFFFFFF
_NS = 10**9


@dataclass(frozen=True, slots=True)
class Written:
    """One entry that is in the work tree now, and what `lstat` says of it; for a submodule, of its directory."""

    item: Item
    stat: os.stat_result


def index_bytes(written: Sequence[Written], form: ObjectFormat) -> bytes:
    """The whole index. `written` in git's order."""
    body = b"".join([_HEADER.pack(b"DIRC", 2, len(written)), *_entries(written, form)])
    hasher = form.hasher()
    hasher.update(body)
    return body + hasher.digest()


def _entries(written: Iterable[Written], form: ObjectFormat) -> Iterable[bytes]:
    for each in written:
        item, stat = each.item, each.stat
        path = item.path
        head = _STAT.pack(
            stat.st_ctime_ns // _NS & _LOW,
            stat.st_ctime_ns % _NS,
            stat.st_mtime_ns // _NS & _LOW,
            stat.st_mtime_ns % _NS,
            stat.st_dev & _LOW,
            stat.st_ino & _LOW,
            _mode(item),
            stat.st_uid & _LOW,
            stat.st_gid & _LOW,
            0 if item.kind == MODULE else stat.st_size & _LOW,
        )
        flags = min(len(path), _LONGEST).to_bytes(2, "big")
        used = _STAT.size + form.size + 2 + len(path)
        yield b"%b%b%b%b%b" % (head, bytes.fromhex(item.oid.decode()), flags, path, bytes(8 - used % 8))


def _mode(item: Item) -> int:
    """The few modes that git keeps: links and submodules as they are, files by whether they can be executed."""
    if item.kind in (LINK, MODULE):
        return item.kind
    return 0o100755 if item.executable else 0o100644
