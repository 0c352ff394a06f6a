"""`forge seed`: node, gateway and bucket from one file."""

from pathlib import Path

import click

from forge_p2p.cli.settings import ForgeCommand


@click.group("seed")
def command() -> None:
    """Run a seed: node, gateway and bucket from one file."""


@command.command("run", cls=ForgeCommand)
@click.argument("file", type=click.Path(dir_okay=False))
def run(file: str) -> None:
    """Run a seed until it is interrupted.

    Starts the node and the gateway that FILE describes, keeps them running, joins the networks, follows the names and
    mirrors them to the bucket. Says what it does on standard error; standard output has the gateway's access log.
    """
    import asyncio
    import logging
    import sys

    from forge_edge.seeds.file import load_file
    from forge_edge.seeds.running import run_seed

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="forge seed: %(message)s")
    path = Path(file).absolute()
    asyncio.run(run_seed(load_file(path), path))
