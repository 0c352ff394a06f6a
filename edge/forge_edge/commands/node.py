"""`forge-edge node`: what `forge seed run` starts; not for people."""

from pathlib import Path

import click

from forge_p2p.cli.settings import ForgeCommand, with_bucket_secrets


@click.command("node", cls=ForgeCommand, hidden=True)
@click.argument("file", type=click.Path(dir_okay=False))
def command(file: str) -> None:
    """Run the node of a seed's file."""
    from dataclasses import replace

    from forge_edge.seeds.file import load_file
    from forge_edge.seeds.node import run_node

    seed = load_file(Path(file))
    run_node(replace(seed, node=with_bucket_secrets(seed.node)))
