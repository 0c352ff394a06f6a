"""How much the store may take: the quota with its watermarks, and the room that is left to the file system.

What an ingest is about to write is asked for here. When it does not fit, garbage goes first, then cached pins from the
longest unused on, until the low watermark is reached. What is pinned for good is never touched: then it is `DiskFull`,
and the message says what holds the room.
"""

import threading
from typing import Final

from forge_p2p.content.walk import reach
from forge_p2p.errors import CorruptChunk, DiskFull, HostileSnapshot, Malformed, NotFound
from forge_p2p.ids import Hash
from forge_p2p.store.base import Keep, Pin
from forge_p2p.store.context import Context
from forge_p2p.store.gc import collect
from forge_p2p.store.pins import list_pins, remove_pins
from forge_p2p.store.reading import read
from forge_p2p.store.records import JOURNAL_ROW, Inline
from forge_p2p.store.usage import INDEX_ROW, free_bytes, used_bytes

_STEP: Final = 16 << 20
"""Bytes between two looks at the file system."""

_NAMED: Final = 3
"""Pins that an error names."""


class Room:
    """What one ingest still may write before it has to ask again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._granted = 0
        self._taken = 0

    def take(self, size: int) -> None:
        """Before `size` bytes are written. Raises `DiskFull` when there is no room and none can be made."""
        with self._lock:
            if size > self._granted:
                self._granted = _grant(self._context, size, self._taken)
            self._granted -= size
            self._taken += size

    def landed(self) -> None:
        """What was taken so far is now counted by the store itself."""
        self._taken = 0


def _grant(context: Context, size: int, arriving: int) -> int:
    """At least `size` bytes, making room if need be; `arriving` bytes more are written and not counted yet."""
    config = context.config
    room, _ = _room(context, arriving, config.high_watermark)
    if room < size:
        collect(context)
        room, _ = _room(context, arriving, config.high_watermark)
    if room < size:
        wanted = size - _room(context, arriving, config.low_watermark)[0]
        sizes = _evict(context, used_bytes(context) - wanted)
        room, reason = _room(context, arriving, 1.0)
        if room < size:
            raise _full(context, size, room, reason, sizes)
    return min(room, max(size, _STEP))


def _room(context: Context, arriving: int, share: float) -> tuple[int, str]:
    """Bytes left of this share of the quota and before the file system's reserve, and which of both is the limit."""
    config = context.config
    free = free_bytes(context)
    room, reason = free - config.reserve, f"{free} bytes are free and {config.reserve} are left to the file system"
    if config.quota:
        left = int(share * config.quota) - used_bytes(context) - arriving
        if left < room:
            room, reason = left, f"the store's quota of {config.quota} bytes is used up"
    return room, reason


def _evict(context: Context, most: int) -> dict[str, int]:
    """Drops cached pins until what the others reach takes at most `most` bytes, then collects what these held, however
    young. Returns bytes by pin."""
    loosened: set[Hash] = set()
    reached: set[Hash] = set()
    sizes: dict[str, int] = {}
    dropped: list[str] = []
    total = 0
    for pin in sorted(list_pins(context.claims), key=_worth):
        before = len(reached)
        new = _reach(context, pin, reached)
        size = _stored_bytes(context, new) if len(reached) > before else 0
        if pin.keep is Keep.CACHED and (dropped or total + size > most):
            dropped.append(pin.name)
            loosened.update(new)
            continue
        total += size
        sizes[pin.name] = size
    if dropped:
        remove_pins(context.claims, dropped)
        collect(context, regardless=loosened)
    return sizes


def _worth(pin: Pin) -> tuple[bool, float]:
    """What is kept comes first, then what was used last."""
    return pin.keep is Keep.CACHED, -pin.used


def _reach(context: Context, pin: Pin, reached: set[Hash]) -> list[Hash]:
    """What `pin` reaches and nothing before it did, as far as it can be walked; added to `reached`."""
    new: list[Hash] = []
    try:
        for chunk in reach(pin.root, lambda chunk: read(context, chunk)):
            if chunk not in reached:
                reached.add(chunk)
                new.append(chunk)
    except (NotFound, CorruptChunk, Malformed, HostileSnapshot):
        return new
    return new


def _stored_bytes(context: Context, chunks: list[Hash]) -> int:
    total = 0
    for where in context.locate(chunks):
        if where is not None:
            total += len(where.data) if isinstance(where, Inline) else getattr(where, "stored", 0)
            total += JOURNAL_ROW + INDEX_ROW
    return total


def _full(context: Context, size: int, room: int, reason: str, sizes: dict[str, int]) -> DiskFull:
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_NAMED]
    held = ", ".join(f"{name} ({sizes[name]} bytes)" for name in largest) or "nothing"
    return DiskFull(
        f"{context.layout.root}: {reason}; {size} bytes are to be written, {size - room} too many; pinned: {held}",
        hint="remove pins, raise the quota or free some space",
    )
