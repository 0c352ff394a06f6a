"""What is run in the lab: Forge and its peers, each behind the same few verbs."""

from simulations.labs.systems.base import System
from simulations.labs.systems.bittorrent import BitTorrent
from simulations.labs.systems.edge import ForgeEdge
from simulations.labs.systems.forge import ForgeNetwork, ForgeTicket
from simulations.labs.systems.forge_git import ForgeGit
from simulations.labs.systems.git import Git
from simulations.labs.systems.http import Http

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        ForgeNetwork(),
        ForgeTicket(),
        ForgeGit(),
        ForgeEdge(),
        Http(),
        Git(),
        BitTorrent(),
        BitTorrent(super_seeding=True),
    )
}
