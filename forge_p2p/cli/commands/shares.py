"""`forge shares`: what this node answers for."""

import click

from forge_p2p.cli.output import emit
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.tables import share_lines
from forge_p2p.node.results import SharesResult


@click.command("shares", cls=ForgeCommand)
@pass_settings
def command(settings: Settings) -> None:
    """List what this node shares.

    One line a share: its id, size, expiry and path.
    """
    result = run_operation(settings, SharesResult, "shares", {})
    emit(settings, result, share_lines(result.shares))
