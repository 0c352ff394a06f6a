"""`forge-edge revoke`: a token that is good no more."""

import click

from forge_edge.access.tokens import Revoked
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.node.home import Home


@click.command("revoke", cls=ForgeCommand)
@click.argument("identity", metavar="ID")
@pass_settings
def command(settings: Settings, identity: str) -> None:
    """End a token, by its id.

    A gateway that is up notices within a second.
    """
    Revoked(Home(settings.home)).add(identity)
