"""Who is neighbour to whom in the Internet, and choosing contacts that are not all neighbours.

A member can have as many node ids as it likes, and try until they fall where it wants them. Addresses are dearer: so
among those who are near a key, few may be of one network. IPv4 is counted by /24 (`site`) and by /16 (`block`), IPv6 by
/48 and /32, which is about what one customer and one small provider have.

The limits are preferences, not prohibitions: places that nobody else wants go to whoever there is. A company whose
nodes all share one /48 has a whole DHT; somebody who fills a /16 with nodes gets the places that are left over.
Addresses that are not global (private, loopback, link-local, carrier-grade NAT) are not counted: nobody can claim many
of them from afar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from operator import itemgetter
from typing import TypeVar

Place = tuple[int, int]
"""(site, block), as numbers that do not collide."""


Someone = TypeVar("Someone")
Entry = tuple[int, Place | None, Someone]
"""Somebody at a distance, and where."""


@dataclass(frozen=True, slots=True)
class Caps:
    """How many of one subnet are preferred to others."""

    site: int = 2
    """In a bucket, and among the nearest to a key."""
    block: int = 4
    site_in_table: int = 10
    block_in_table: int = 20


@lru_cache(maxsize=1 << 14)
def place_of(host: str) -> Place | None:
    """The subnets of a numeric address; `None` for one that is not global."""
    address = ip_address(host)
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None:
            number = int(address)
            return (1 << 62 | number >> 80, 1 << 61 | number >> 96) if address.is_global else None
        address = inner
    number = int(address)
    return (1 << 60 | number >> 8, 1 << 59 | number >> 16) if address.is_global else None


def spread(nearest: Sequence[Entry[Someone]], count: int, caps: Caps) -> tuple[list[Entry[Someone]], bool]:
    """The first `count` of `nearest` (ascending) of whom at most `caps.site` share a site and `caps.block` a block, in
    their order; and whether there were so many. If there were not, the nearest of those left out fill up."""
    first = list(nearest[:count])
    blocks = [entry[1][1] for entry in first if entry[1] is not None]
    if len(set(blocks)) == len(blocks):
        return first, len(first) == count  # nobody shares anything, as usual
    chosen: list[Entry[Someone]] = []
    crowded: list[Entry[Someone]] = []
    in_blocks: dict[int, int] = {}
    for entry in nearest:
        place = entry[1]
        if place is not None:
            block = place[1]
            in_block = in_blocks.get(block, 0)
            # Sites are parts of blocks, so only where a block repeats can a site.
            if in_block and (in_block >= caps.block or _in_site(chosen, place[0]) >= caps.site):
                crowded.append(entry)
                continue
            in_blocks[block] = in_block + 1
        chosen.append(entry)
        if len(chosen) == count:
            return chosen, True
    if crowded:
        chosen += crowded[: count - len(chosen)]
        chosen.sort(key=itemgetter(0))
    return chosen, False


def _in_site(chosen: list[Entry[Someone]], site: int) -> int:
    return sum(place is not None and place[0] == site for _, place, _ in chosen)
