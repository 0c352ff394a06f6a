"""How this node stands in its networks, for `forge status`: what the disk says, and what the running node knows."""

import time
from typing import TYPE_CHECKING

from forge_p2p.errors import ForgeError
from forge_p2p.ids import NetworkId
from forge_p2p.node.local import LocalNode
from forge_p2p.node.network_results import NetworkStatus

if TYPE_CHECKING:
    from forge_p2p.node.membership.networks import Joined, Networks
    from forge_p2p.node.network import Network


def standing(node: LocalNode) -> list[NetworkStatus]:
    """Every network as the disk has it. Blocks. What is wrong with one is said in its place."""
    if not node.config.token and not node.home.networks.exists():
        return []  # a node without networks need not load what they take

    from forge_p2p.node.membership.networks import Networks

    try:
        networks = Networks(node.home, node.node_id, node.config.token)
        return [_standing(networks, each) for each in networks.all()]
    except ForgeError as error:
        return [NetworkStatus(name="", id="", role="", expires=0.0, problem=error.message)]


def with_counts(found: list[NetworkStatus], network: "Network") -> list[NetworkStatus]:
    """The same with what the running node knows."""
    import msgspec

    members = network.member_side
    if members is None:
        return found
    counted = []
    for each in found:
        network_id = NetworkId(bytes.fromhex(each.id))
        lookups = members.lookups.get(network_id)
        live = msgspec.structs.replace(
            each,
            known=len(members.peering.known(network_id)),
            connected=len(members.peering.sessions(network_id)),
            dht_nodes=lookups.size if lookups else 0,
            announced=lookups.announced if lookups else 0,
            behind=lookups.behind if lookups else 0,
        )
        counted.append(live)
    return counted


def _standing(networks: "Networks", joined: "Joined") -> NetworkStatus:
    from forge_p2p.content.membership import require_current

    problem = ""
    try:
        require_current(joined.chain, time.time(), networks.revocation_set(joined.network))
    except ForgeError as error:
        problem = error.message
    own = joined.membership
    return NetworkStatus(joined.name, joined.network.hex(), own.role.name.lower(), float(own.expires), problem)
