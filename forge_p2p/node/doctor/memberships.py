"""Whether this node's memberships are good, and for how long."""

from typing import Final

from forge_p2p.content.membership import NotAMember, verify_chain
from forge_p2p.ids import NODE_ID_SIZE, NodeId
from forge_p2p.node.doctor.findings import fail, ok, warn
from forge_p2p.node.doctor.wording import duration
from forge_p2p.node.local import LocalNode
from forge_p2p.node.membership.networks import Joined, Networks
from forge_p2p.node.results import Finding
from forge_p2p.proto.revocations import RevocationSet

SOON: Final = 7 * 86400.0
"""Seconds before the end of a membership from which on it is worth a word."""


def check_memberships(node: LocalNode, now: float) -> Finding:
    """Verifies the node's own certificates, at `now` in Unix seconds. Raises `StoreError` for records that cannot be
    read, and what FORGE_TOKEN deserves."""
    node_id = node.node_id if node.home.key_file.exists() else NodeId(bytes(NODE_ID_SIZE))
    networks = Networks(node.home, node_id, node.config.token)
    joined = networks.all()
    if not joined:
        return ok("networks", "in none; forge network create or forge network join changes that")
    bad, ending = [], []
    for each in joined:
        if problem := _problem(networks, each, node_id, now):
            bad.append(f"{each.name}: {problem}")
        elif (left := _left(each, now)) < SOON:
            ending.append(f"{each.name} ends in {duration(left)}")
    if bad:
        hint = "join again with a new token; if the clock is wrong, set it first"
        return fail("networks", "; ".join(bad), hint)
    if ending:
        return warn(
            "networks", f"membership of {', '.join(ending)}", "ask an admin for a new token: forge network join"
        )
    return ok("networks", f"a member of {', '.join(each.name for each in joined)}")


def _problem(networks: Networks, joined: Joined, node_id: NodeId, now: float) -> str:
    revoked = RevocationSet(joined.network)
    for revocation in networks.revocations(joined.network):
        revoked.merge(revocation)
    try:
        verify_chain(joined.chain, joined.network, node_id, now, revoked)
    except NotAMember as error:
        return error.message
    return ""


def _left(joined: Joined, now: float) -> float:
    """Seconds until the first of the certificates expires."""
    ends = [certificate.expires for certificate in joined.chain if certificate.expires]
    return min(ends) - now if ends else float("inf")
