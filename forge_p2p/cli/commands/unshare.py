"""`forge unshare`: the end of a share."""

import os

import click

from forge_p2p.cli.output import emit
from forge_p2p.cli.run import path_argument, run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.tables import share_lines
from forge_p2p.node.results import UnshareResult


@click.command("unshare", cls=ForgeCommand)
@click.argument("what", metavar="ID|PATH|LINK|TICKET")
@pass_settings
def command(settings: Settings, what: str) -> None:
    """End a share; its tickets stop working.

    Whoever is fetching it at that moment is cut off. The content stays in the store until it is collected.
    """
    looks_like_path = os.sep in what or os.path.lexists(what)
    result = run_operation(
        settings, UnshareResult, "unshare", {"what": path_argument(what) if looks_like_path else what}
    )
    emit(settings, result, share_lines(result.removed))
