"""`forge-edge token`: a bearer token."""

import time

import click

from forge_edge.access.keys import Keys
from forge_edge.access.tokens import issue_token
from forge_p2p.cli.output import remark
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import parse_duration
from forge_p2p.errors import UsageError
from forge_p2p.node.home import Home
from forge_p2p.node.membership.networks import Networks


@click.command("token", cls=ForgeCommand)
@click.option("--network", default="", metavar="NAME", help="Whose content it opens; the only one otherwise.")
@click.option("--write", is_flag=True, help="May upload, too.")
@click.option("--expires", default="30d", metavar="DURATION", help='Like "12h" or "90d"; "never".  [default: 30d]')
@click.option("--label", default="", metavar="TEXT", help="For whom; it is in the token, for all to see.")
@pass_settings
def command(settings: Settings, network: str, write: bool, expires: str, label: str) -> None:
    """Issue a bearer token.

    It opens this gateway, for one network, and nothing else: who has it is no member. Its last line is the token; the
    id said before that is what ends it (forge-edge revoke).
    """
    if len(label) > 64 or not label.isprintable():
        raise UsageError("a label has at most 64 printable characters")
    home = Home(settings.home)
    joined = Networks.on_disk(home).named(network)
    until = 0 if expires == "never" else int(time.time() + parse_duration(expires))
    text, identity = issue_token(Keys(home), joined.network, write=write, expires=until, label=label)
    remark(settings, f"id {identity}, to {'read and write' if write else 'read'} {joined.name}")
    click.echo(text)
