"""One item on its way, and the pools where those wait that nobody has been asked for."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forge_p2p.proto.swarm.base import Item

if TYPE_CHECKING:
    from forge_p2p.proto.swarm.sources import Open

NOT_NAMED = -1
ASKED_MAX = 3


@dataclass(slots=True, eq=False)
class Want:
    """An item not received yet. Sets of peers are bit masks.

    It is in one of these places: in a pool; `named` to an origin that may or may not send it; `asked` of so many peers;
    or `waiting` for a neighbour to announce it. Named and waiting ones are asked of a neighbour as soon as it has them.
    """

    item: Item
    urgent: bool
    prefix: int
    holders: int = 0
    lacks: int = 0
    by: int = 0
    """Who was asked for exactly this, and has not answered."""
    asked: int = 0
    named: int = NOT_NAMED
    """The number of the request that names it to an origin, among more than that is to send."""
    waiting: bool = False
    done: bool = False
    rounds: int = 0
    """How often the origin has said that others were just sent it, and they had passed nothing on since."""
    passed_on: int = 0
    """Bytes that neighbours had brought when it last said so."""
    outright: bool = False
    """To be asked of whoever has it, sparing nobody."""
    pool: "Pool | None" = None
    requests: "list[Open]" = field(default_factory=list)
    """Open requests that name it."""

    @property
    def crowded(self) -> bool:
        """Whether as many peers were asked for it as may be, late ones included."""
        return bool(self.by) and self.by.bit_count() >= ASKED_MAX


class Pool:
    """Wants in order, with their bytes."""

    __slots__ = ("bytes", "wants")

    def __init__(self) -> None:
        self.wants: OrderedDict[Want, None] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.wants)

    def add(self, want: Want, *, front: bool = False) -> None:
        """Puts a want at an end."""
        self.wants[want] = None
        if front:
            self.wants.move_to_end(want, last=False)
        self.bytes += want.item.size
        want.pool = self

    def discard(self, want: Want) -> None:
        """Takes a want out."""
        del self.wants[want]
        self.bytes -= want.item.size
        want.pool = None

    def take(self, bit: int, most: int, count: int) -> list[Want]:
        """Takes out wants from the front that the peer of `bit` neither lacks nor was asked for: up to `count` of them
        and `most` bytes, but one at least if there is one."""
        taken: list[Want] = []
        size = 0
        for want in self.wants:
            if (want.lacks | want.by) & bit or want.crowded:
                continue
            size += want.item.size
            if taken and size > most:
                break
            taken.append(want)
            if len(taken) == count:
                break
        for want in taken:
            self.discard(want)
        return taken

    def rotate(self, by: int) -> None:
        """Puts the first `by` wants behind the others."""
        for _ in range(by):
            self.wants.move_to_end(next(iter(self.wants)))
