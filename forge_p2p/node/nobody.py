"""What a look at the node's folder tells: whether there is anybody to ask about a name. Imports next to nothing."""

import os

NETWORKS = "networks"
"""In the node's folder; not there before the first one is joined."""

SOCKET = "control.sock"
"""In the node's folder, while a node is up."""

IN_NONE = "names belong to a network, and this node is in none"


def is_nobody_there(folder: str, token: str) -> bool:
    """Whether who runs on this folder with this `token` (FORGE_TOKEN's text) is in no network, and no node is up that
    might be."""
    return not token and not any(os.path.lexists(os.path.join(folder, name)) for name in (NETWORKS, SOCKET))
