"""Pins of names in the bucket: `NETWORK/NAME/SEQ`, the network's id in hex."""

from typing import TYPE_CHECKING, Final

from forge_p2p.content.catalogue import State
from forge_p2p.node.local import LocalNode
from forge_p2p.node.networks import Networks
from forge_p2p.node.refs.naming import Named, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterable

SEQ_DIGITS: Final = 19
"""Of the largest number of a record. A pin's name is whatever somebody wrote into the bucket."""


def named_here(node: LocalNode, what: str, in_network: str) -> Named:
    """A name as a person writes it, without a word with anybody. Blocks. Raises `UsageError`."""
    return parse_name(Networks(node.home, node.node_id, node.config.token).all(), what, in_network)


def folder_of(named: Named) -> str:
    """What the pins of a name begin with."""
    return f"{named.network.hex()}/{named.name}/"


def pinned_seqs(folder: str, state: State) -> list[int]:
    """The records of a name whose content is in the bucket."""
    return _numbers(pin.removeprefix(folder) for pin in state.pins if pin.startswith(folder))


def _numbers(texts: "Iterable[str]") -> list[int]:
    return sorted(int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) <= SEQ_DIGITS)
