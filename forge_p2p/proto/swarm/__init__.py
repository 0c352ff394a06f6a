"""Who fetches what from whom; see `swarm.Swarm`."""

from forge_p2p.proto.swarm.base import Distance, Item, Peer, Request, SwarmLimits
from forge_p2p.proto.swarm.sources import PeerStatistics
from forge_p2p.proto.swarm.swarm import Swarm

__all__ = ["Distance", "Item", "Peer", "PeerStatistics", "Request", "Swarm", "SwarmLimits"]
