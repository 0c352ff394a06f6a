"""The node of a seed: as `forge up`, with the settings of the seed's file instead of `config.toml`."""

import sys

import msgspec

from forge_edge.seeds.file import SeedFile
from forge_p2p.node.home import Home
from forge_p2p.node.results import UpResult


def run_node(seed: SeedFile) -> None:
    """Runs the node until SIGINT, SIGTERM or `forge down`. Raises as `daemon.run`."""
    from forge_p2p.node import daemon

    daemon.run(Home(seed.home), seed.node, _say)


def _say(up: UpResult) -> None:
    sys.stdout.write(msgspec.json.encode(up).decode() + "\n")
    sys.stdout.flush()
