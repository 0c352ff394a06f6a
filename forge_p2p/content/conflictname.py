"""What the second version of something is called when two sides changed it.

`plan.txt` becomes `plan (conflict of ada 2027-01-16 14.05).txt`. The name follows from what it names alone: who wrote
that version and when. So whoever merges the same two versions gives the same name, and merging them again, after a
crash for example, makes no second copy. It is legal wherever a snapshot is.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from forge_p2p.content.paths import MAX_NAME, MAX_PATH
from forge_p2p.content.snapshot import Entry

_EXTENSION_MAX: Final = 24
"""Bytes: what follows the last dot of a longer name is not what says how to open it."""

_OWNER_MAX: Final = 48
"""Bytes of the name of who wrote a version."""

_ROOM: Final = 160
"""Bytes that such a name may need. Where a path has no room for it the copy lies in a directory further up."""

_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*()]+')
"""What no name may have on some system; and parentheses, which are ours."""


def conflict_paths(entry: Entry, owner: str) -> Iterator[bytes]:
    """Paths beside `entry`'s for a version by `owner`, the best first, without end. `entry` has a file's time."""
    parent, slash, name = entry.path.rpartition(b"/")
    while len(parent) > MAX_PATH - _ROOM:
        parent, slash, _ = parent.rpartition(b"/")
    stem, extension = _split(name)
    room = min(MAX_NAME, MAX_PATH - len(parent) - len(slash))
    words = f"conflict of {_printable(owner)}{_moment(entry)}"
    number = 1
    while True:
        mark = f" ({words}{f' {number}' if number > 1 else ''})".encode()
        yield parent + slash + _cut(stem, room - len(mark) - len(extension)) + mark + extension
        number += 1


def _split(name: bytes) -> tuple[bytes, bytes]:
    stem, dot, extension = name.rpartition(b".")
    if not stem or len(extension) > _EXTENSION_MAX:
        return name, b""
    return stem, dot + extension


def _printable(owner: str) -> str:
    plain = _NOT_IN_NAMES.sub("-", owner).strip()
    plain = "".join(character if character.isprintable() else "-" for character in plain)
    return _cut(plain.encode("utf-8", "replace"), _OWNER_MAX).decode("utf-8", "ignore") or "another"


def _moment(entry: Entry) -> str:
    """When a file was written, to the minute, UTC; nothing for what has no time."""
    if not entry.mtime_ns:
        return ""
    try:
        return datetime.fromtimestamp(entry.mtime_ns // 10**9, UTC).strftime(" %Y-%m-%d %H.%M")
    except (OverflowError, ValueError, OSError):
        return ""


def _cut(text: bytes, size: int) -> bytes:
    """At most `size` bytes of `text`, no UTF-8 character in halves."""
    if len(text) <= size:
        return text
    while size > 0 and text[size] & 0xC0 == 0x80:
        size -= 1
    return text[: max(size, 0)]
