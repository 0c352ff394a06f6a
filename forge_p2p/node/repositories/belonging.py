"""What the node's folder alone tells of a repository's name: whether it is in a network where that could be published.

Looked at before a process becomes a node to ask others. That takes 0.3 s of processor time, which who falls back to a
git server would pay for nothing (docs/git.md).
"""

from forge_p2p.config import NodeConfig
from forge_p2p.content.ticketname import is_ticket
from forge_p2p.node.home import Home
from forge_p2p.node.refs.naming import parse_name


def require_network(home: Home, config: NodeConfig, *, name: str, in_network: str = "") -> None:
    """Raises what `reading.read` would if the node is in no such network. Blocks."""
    if is_ticket(name) or config.token:
        return
    if not home.networks.exists():
        parse_name((), name, in_network)
        return
    from forge_p2p.node.membership.networks import Networks

    parse_name(Networks.on_disk(home).all(), name, in_network)
