"""What connected peers cost that ask for nothing: `python -m simulations.idle [--peers 1000] [--seconds 60]`.

A node in a process of its own, and as many members in others, each with a session over a real QUIC connection on
loopback. Prints the node's memory and processor time as JSON, without peers and with them.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from simulations.crowd import Node, crowd, node_up

CROWD = 250
"""Sessions in one process."""
SETTLING = 15.0
"""Seconds after the last handshake."""


def main() -> int:
    """Exit code 1 if a session broke."""
    parser = argparse.ArgumentParser(description="What connected peers cost that ask for nothing.")
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forge-idle-") as folder, ExitStack() as crowds:
        node = crowds.enter_context(node_up(Path(folder), arguments.peers + 64))
        time.sleep(3.0)
        empty = measured(node, min(arguments.seconds, 10.0))
        begin = time.monotonic()
        left = arguments.peers
        while left:
            crowds.enter_context(crowd(node, min(CROWD, left)))
            left -= min(CROWD, left)
        connecting = time.monotonic() - begin
        time.sleep(SETTLING)
        full = measured(node, arguments.seconds)
        connected = connections(node)
    print(
        json.dumps(
            {
                "peers": arguments.peers,
                "sessions_at_the_end": connected,
                "connect_seconds": round(connecting, 1),
                "seconds": arguments.seconds,
                "memory_mb": {"without": empty[0], "with": full[0], "a_peer_kb": _each(empty, full, arguments.peers)},
                "cpu_percent": {"without": empty[1], "with": full[1]},
            },
            indent=2,
        )
    )
    return 0 if connected == arguments.peers else 1


def measured(node: Node, seconds: float) -> tuple[float, float]:
    """Resident megabytes at the end, and the share of one core in percent."""
    begin, cpu = time.monotonic(), node.cpu()
    time.sleep(seconds)
    share = (node.cpu() - cpu) / (time.monotonic() - begin)
    return round(node.memory() / 1e6, 1), round(100 * share, 2)


def connections(node: Node) -> int:
    """Sessions as the node counts them."""
    return len(node.ask("status")["peers"])


def _each(empty: tuple[float, float], full: tuple[float, float], peers: int) -> float:
    return round(1000 * (full[0] - empty[0]) / max(peers, 1), 1)


if __name__ == "__main__":
    sys.exit(main())
