"""Lines that several commands print."""

import time
from collections.abc import Sequence

from forge_p2p.cli.output import table
from forge_p2p.cli.units import format_duration, format_size
from forge_p2p.node.results import ShareEntry


def share_lines(shares: Sequence[ShareEntry]) -> list[str]:
    """One line a share: id, size, expiry, path."""
    return table([[share.id, format_size(share.bytes), _until(share), share.path] for share in shares])


def _until(share: ShareEntry) -> str:
    return f"network {share.network}" if share.network else format_expiry(share.expires)


def format_expiry(expires: float) -> str:
    """When a share or pin ends, seen from now."""
    if not expires:
        return "never expires"
    left = expires - time.time()
    return f"expires in {format_duration(left)}" if left > 0 else "expired"
