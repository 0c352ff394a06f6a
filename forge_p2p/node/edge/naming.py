"""Pins of names in the bucket: `NETWORK/NAME/SEQ`, the network's id in hex."""

from forge_p2p.content.catalogue import State
from forge_p2p.content.ref import written_seq
from forge_p2p.node.local import LocalNode
from forge_p2p.node.membership.networks import Networks
from forge_p2p.node.refs.naming import Named, parse_name


def named_here(node: LocalNode, what: str, in_network: str) -> Named:
    """A name as a person writes it, without a word with anybody. Blocks. Raises `UsageError`."""
    return parse_name(Networks(node.home, node.node_id, node.config.token).all(), what, in_network)


def folder_of(named: Named) -> str:
    """What the pins of a name begin with."""
    return f"{named.network.hex()}/{named.name}/"


def pinned_seqs(folder: str, state: State) -> list[int]:
    """The records of a name whose content is in the bucket. A pin's name is whatever somebody wrote there."""
    found = (written_seq(pin.removeprefix(folder)) for pin in state.pins if pin.startswith(folder))
    return sorted(seq for seq in found if seq and f"{folder}{seq}" in state.pins)
