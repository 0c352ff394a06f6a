"""What names keep in the store: the content of their newest records, where this node has it.

A pin is set before the record that it is for, and only when all of the content is here. So nothing that is published is
collected, and nothing is pinned that is not there. A pin whose record never came to be, because somebody else was first
or the machine went down, is removed later. Who is first is not known yet when pins are set: so those for records of one
number have names of their own, one for each content.
"""

import time
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from forge_p2p.content.link import Kind, Root
from forge_p2p.content.ref import RefRecord, written_seq
from forge_p2p.ids import NetworkId
from forge_p2p.node.local import LocalNode
from forge_p2p.store.base import Keep, Pin

if TYPE_CHECKING:
    from forge_p2p.node.membership.holdings import Holdings

RETAINED: Final = 4
"""Newest records of a name whose content stays, unless something else is said for it: enough to roll back a bad
publication after one or two good ones."""

IN_FLIGHT: Final = 3600.0
"""Seconds that a repository's content stays after the next record: a clone takes a while, in which many may push."""

IN_FLIGHT_MOST: Final = 64
"""Records that stay for that."""

STRAY: Final = 3600.0
"""Seconds after which a pin without a record is one that will get none."""

_OF: Final = "~"
"""In a pin's name: between the number of a record and the hash of its content."""


def pin_target(node: LocalNode, network: NetworkId, name: str, seq: int, target: Root) -> None:
    """Keeps the content of a record, all of which is here. Blocks."""
    node.store.pin(f"{_folder(network, name)}{seq}{_OF}{target.link.hash.hex()[:16]}", target, Keep.KEPT)


def retained(node: LocalNode, network: NetworkId, name: str) -> int:
    """How many of a name's newest records keep their content here. Blocks."""
    return node.refs.keeps(network, name) or RETAINED


def unpin_all(node: LocalNode, network: NetworkId, name: str) -> None:
    """Keeps nothing for a name any more. Blocks."""
    for pin, _ in _pins(node, network, name):
        node.store.unpin(pin.name)


def sweep(node: LocalNode, holdings: "Holdings | None", network: NetworkId, name: str) -> None:
    """Lets go what the newest records of a name do not need. Blocks. `holdings`: those of the node, if it is up as a
    member; what is let go is no more the network's either, unless it was shared into it as well."""
    head = node.refs.head(network, name)
    now = time.time()
    kept = _retained(node, head, now)
    targets = {record.target for record in kept.values()}
    for pin, seq in _pins(node, network, name):
        record = kept.get(seq)
        if record is not None and record.target == pin.root:
            continue
        if (head is None or seq > head.seq) and pin.used > now - STRAY:
            continue  # its record is being put just now
        node.store.unpin(pin.name)
        if holdings is not None and pin.root not in targets:
            _give_up(node, holdings, network, pin.root)


def sweep_all(node: LocalNode, holdings: "Holdings", networks: Iterable[NetworkId]) -> None:
    """As `sweep`, for all names that keep anything: some have expired, some pins were left by a crash. Blocks."""
    for network in networks:
        prefix = f"ref/{network.hex()[:16]}/"
        pins = [pin.name.removeprefix(prefix) for pin in node.store.pins() if pin.name.startswith(prefix)]
        for name in {pin.rpartition("/")[0] for pin in pins}:
            sweep(node, holdings, network, name)


def _retained(node: LocalNode, head: RefRecord | None, now: float) -> dict[int, RefRecord]:
    """The newest records, by number; none of a name that has expired. Of a repository also those that were replaced
    only lately: most of their packs are in the newer ones as well."""
    if head is None or head.has_expired(now):
        return {}
    count = retained(node, head.network, head.name)
    number = max(count, IN_FLIGHT_MOST) if head.target.kind is Kind.GIT else count
    records = list(node.refs.range(head.network, head.name, max(1, head.seq - number + 1), number))
    lately = [old for old, new in pairwise(records) if new.time > now - IN_FLIGHT]
    return {record.seq: record for record in [*records[-count:], *lately]}


def _give_up(node: LocalNode, holdings: "Holdings", network: NetworkId, root: Root) -> None:
    """Content that no name stands for any more is no longer offered, unless something else says so."""
    holding = holdings.find(network, root.link.hash)
    if holding is None or not holding.origin:
        return
    prefix = f"{network.hex()[:16]}/"
    others = (pin.name for pin in node.store.pins() if pin.root == root)
    if not any(name.startswith((f"network/{prefix}", f"ref/{prefix}")) for name in others):
        holdings.forget(holding)


def _folder(network: NetworkId, name: str) -> str:
    return f"ref/{network.hex()[:16]}/{name}/"


def _pins(node: LocalNode, network: NetworkId, name: str) -> list[tuple[Pin, int]]:
    """The pins of a name, with the numbers of their records."""
    folder = _folder(network, name)
    pins = [pin for pin in node.store.pins() if pin.name.startswith(folder)]
    return [(pin, seq) for pin in pins if (seq := _seq_of(pin.name.removeprefix(folder)))]


def _seq_of(ending: str) -> int:
    """The number at the end of a pin's name; 0 for the end of one of a longer name, such as `7~x/1~…`."""
    return 0 if "/" in ending else written_seq(ending.partition(_OF)[0])


def pinned_numbers(node: LocalNode, network: NetworkId, name: str) -> set[int]:
    """The records whose content is kept here for the name's sake. Blocks."""
    return {number for _, number in _pins(node, network, name)}


def forget_names(node: LocalNode, network: NetworkId) -> None:
    """Forgets the names of a network that was left, and keeps nothing for them. Blocks."""
    folder = f"ref/{network.hex()[:16]}/"
    for pin in node.store.pins():
        if pin.name.startswith(folder):
            node.store.unpin(pin.name)
    node.refs.drop(network)
