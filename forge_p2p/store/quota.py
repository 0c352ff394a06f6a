"""How much the store may take: the quota with its watermarks, and the room that is left to the file system.

What an ingest is about to write is asked for here. When it does not fit, garbage goes first, then cached pins from the
longest unused on, until the low watermark is reached. What is pinned for good is never touched: then it is `DiskFull`,
and the message says what holds the room.
"""

from collections.abc import Iterable
from dataclasses import dataclass
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
        self._granted = 0
        self._taken = 0

    def take(self, size: int) -> None:
        """Before `size` bytes are written. Raises `DiskFull` when there is no room and none can be made."""
        if size > self._granted:
            wanted = max(size, _STEP)
            _make_room(self._context, size, self._taken)
            self._granted = wanted
        self._granted -= size
        self._taken += size

    def landed(self) -> None:
        """What was taken so far is now counted by the store itself."""
        self._taken = 0


@dataclass(frozen=True, slots=True)
class _Shortage:
    """`over`: bytes to be given back so that the request fits; `reason`: what it does not fit into."""

    over: int
    aim: int
    reason: str


def _make_room(context: Context, size: int, arriving: int) -> None:
    shortage = _shortage(context, size, arriving, context.config.high_watermark)
    if shortage is None:
        return
    collect(context, grace=0.0)
    if _shortage(context, size, arriving, context.config.high_watermark) is not None:
        sizes = _evict(context, used_bytes(context) - shortage.aim)
        shortage = _shortage(context, size, arriving, 1.0)
        if shortage is not None:
            raise _full(context, size, shortage, sizes)


def _shortage(context: Context, size: int, arriving: int, share: float) -> _Shortage | None:
    """Whether `size` bytes more fit into this share of the quota and leave the file system its reserve."""
    config = context.config
    used = used_bytes(context) + arriving
    if config.quota and used + size > share * config.quota:
        aim = used + size - int(config.low_watermark * config.quota)
        return _Shortage(used + size - config.quota, aim, f"the store's quota of {config.quota} bytes is used up")
    free = free_bytes(context)
    if free - size < config.reserve:
        over = size + config.reserve - free
        return _Shortage(over, over, f"{free} bytes are free and {config.reserve} are left to the file system")
    return None


def _evict(context: Context, most: int) -> dict[str, int]:
    """Drops cached pins until what the others reach takes at most `most` bytes, then collects. Returns bytes by pin."""
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
            continue
        total += size
        sizes[pin.name] = size
    if dropped:
        remove_pins(context.claims, dropped)
        collect(context, grace=0.0)
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


def _full(context: Context, size: int, shortage: _Shortage, sizes: dict[str, int]) -> DiskFull:
    largest: Iterable[str] = sorted(sizes, key=lambda name: -sizes[name])[:_NAMED]
    held = ", ".join(f"{name} ({sizes[name]} bytes)" for name in largest) or "nothing"
    return DiskFull(
        f"{context.layout.root}: {shortage.reason}; {size} bytes are to be written, {shortage.over} too many; "
        f"pinned: {held}",
        hint="remove pins, raise the quota or free some space",
    )
