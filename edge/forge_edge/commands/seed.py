"""`forge seed`: node, gateway and bucket from one file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.errors import BucketError

if TYPE_CHECKING:
    from forge_p2p.node.edge.results import EdgeRestore


@click.group("seed")
def command() -> None:
    """Run or restore a seed: node, gateway and bucket from one file."""


@command.command("run", cls=ForgeCommand)
@click.argument("file", type=click.Path(dir_okay=False))
def run(file: str) -> None:
    """Run a seed until it is interrupted.

    Starts the node and the gateway that FILE describes, keeps them running, joins the networks, follows the names,
    mirrors them to the bucket and keeps repositories in few packs. Says what it does on standard error; standard output
    has the gateway's access log.
    """
    import asyncio
    import logging
    import sys

    from forge_edge.seeds.file import load_file
    from forge_edge.seeds.running import run_seed

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="forge seed: %(message)s")
    path = Path(file).absolute()
    asyncio.run(run_seed(load_file(path), path))


@command.command("restore", cls=ForgeCommand)
@click.argument("file", type=click.Path(dir_okay=False))
@pass_settings
def restore(settings: Settings, file: str) -> None:
    """Make a seed again from its bucket, on a machine that has lost it.

    Joins the networks that FILE describes, reads the records of names and what is kept in the bucket, verifies all of
    it, and brings it to an empty home, to which node.key and what else is backed up may have been put back before. The
    same command goes on with what was cut. No member has to be up.
    """
    from forge_edge.seeds.file import load_file
    from forge_edge.seeds.restoring import restore_seed

    path = Path(file).absolute()
    result = restore_seed(settings, load_file(path), path)
    remark(settings, f"this node is {result.node_id}")
    if result.skipped:
        remark(settings, f"note: {format_count(result.skipped, 'pin')} of networks that are not in {file}: left alone")
    emit(settings, result, _about(result))
    if result.problems:
        raise BucketError(
            f"{format_count(len(result.problems), 'problem')}: not all that is kept in {result.url} could be restored",
            hint="forge edge check --repair where it is, then this again; or forge seed run, which asks members",
        )
    remark(settings, f"forge seed run {file} goes on from here")


def _about(result: "EdgeRestore") -> list[str]:
    records = sum(each.new for each in result.names)
    names = [f"name     {each.network}/{each.name}@{each.seq}, {each.new:,} new" for each in result.names]
    content = f"{format_count(result.pins, 'pin')}, {format_size(result.fetched_bytes)} fetched"
    return [
        *names,
        *(f"refused  {each}" for each in result.refused),
        *(f"problem  {each}" for each in result.problems),
        f"{format_count(records, 'record')}, {content}, {format_duration(result.seconds)}",
    ]
