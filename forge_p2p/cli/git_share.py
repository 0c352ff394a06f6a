"""`forge git share` and `forge git list`."""

import os
import time
from pathlib import Path

import click

from forge_p2p.cli.environment import git_environment
from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark, table
from forge_p2p.cli.run import run_operation, runner
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_size, parse_duration
from forge_p2p.content.moment import since
from forge_p2p.node.repositories.results import RepositoriesResult


@click.command("share", cls=ForgeCommand)
@click.argument("repository", type=click.Path(path_type=Path))
@click.option("--expires", default="", metavar="TIME", help='How long the ticket is good, like "1d".')
@pass_settings
def share(settings: Settings, repository: Path, expires: str) -> None:
    """Print a ticket for REPOSITORY as it is now: git clone forge::TICKET.

    For somebody who is in no network of yours. The node has to be up as long as the ticket is to be of use; forge
    unshare ends it.
    """
    from forge_p2p.git.running import find_repository
    from forge_p2p.git.sharing import share as shared_by

    git = find_repository(os.fsencode(repository), git_environment(settings))
    shared = shared_by(runner(settings), git, parse_duration(expires) if expires else 0.0)
    remark(settings, f"{format_size(shared.bytes)} new; on the other machine: git clone forge::TICKET")
    emit(settings, shared, [shared.ticket])


@click.command("list", cls=ForgeCommand)
@IN_NETWORK
@pass_settings
def listed(settings: Settings, in_network: str) -> None:
    """List the names that stand for git repositories."""
    result = run_operation(settings, RepositoriesResult, "git_list", {"in_network": in_network})
    remark(settings, *(f"note: {note}" for note in result.notes))
    now = time.time()
    rows = [
        [f"forge://{result.network}/{each.name}", f"record {each.seq}", since(int(each.time), now)]
        for each in result.repositories
    ]
    emit(settings, result, table(rows) if rows else [])
