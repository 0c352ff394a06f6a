"""What pins reach: the first half of collecting, the same for every store."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from forge_p2p.content.link import Root
from forge_p2p.content.walk import reach
from forge_p2p.errors import CorruptChunk, HostileSnapshot, Malformed, NotFound
from forge_p2p.ids import Hash
from forge_p2p.store.base import Pin


@dataclass(slots=True)
class Marks:
    """`reached` chunks, and by pin's name why a walk could not be finished."""

    reached: set[Hash] = field(default_factory=set)
    incomplete: dict[str, str] = field(default_factory=dict)
    roots: set[Root] = field(default_factory=set)
    """Walked to the end."""


def mark(marks: Marks, pins: Iterable[Pin], read: Callable[[Hash], bytes | memoryview]) -> None:
    """Adds to `marks` what `pins` reach. A walk stops at a node or listing that is absent, rotten or malformed."""
    for pin in pins:
        if pin.root in marks.roots:
            continue
        try:
            marks.reached.update(reach(pin.root, read))
        except (NotFound, CorruptChunk, Malformed, HostileSnapshot) as error:
            marks.incomplete[pin.name] = error.message
        else:
            marks.roots.add(pin.root)
