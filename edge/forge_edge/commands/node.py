"""`forge-edge node`: what `forge seed run` starts; not for people."""

from pathlib import Path

import click

from forge_p2p.cli.settings import ForgeCommand


@click.command("node", cls=ForgeCommand, hidden=True)
@click.argument("file", type=click.Path(dir_okay=False))
def command(file: str) -> None:
    """Run the node of a seed's file."""
    from forge_edge.seeds.file import load_file
    from forge_edge.seeds.node import run_node

    run_node(load_file(Path(file)))
