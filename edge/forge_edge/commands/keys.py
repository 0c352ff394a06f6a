"""`forge-edge keys`: what signs tokens and URLs."""

import click

from forge_edge.access.keys import Keys
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.node.home import Home


@click.command("keys", cls=ForgeCommand)
@click.option("--rotate", is_flag=True, help="Make the next key, which signs from now on.")
@click.option("--remove", type=int, default=0, metavar="NUMBER", help="Remove a key, and so end all that it signed.")
@pass_settings
def command(settings: Settings, rotate: bool, remove: int) -> None:
    """List, make and remove the keys that sign.

    The highest number signs, all of them verify. A gateway that is up notices within a second.
    """
    keys = Keys(Home(settings.home))
    if rotate:
        keys.rotate()
    if remove:
        keys.remove(remove)
    for number in keys.numbers:
        click.echo(f"{number}{'  signs' if number == max(keys.numbers) else ''}")
