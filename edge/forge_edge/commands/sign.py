"""`forge-edge sign`: a URL that is its own credential."""

import time

import click

from forge_edge.access.keys import Keys
from forge_edge.access.signing import METHODS, sign_url
from forge_edge.http.target import parse_target
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import parse_duration
from forge_p2p.errors import UsageError
from forge_p2p.node.home import Home
from forge_p2p.node.membership.networks import Networks


@click.command("sign", cls=ForgeCommand)
@click.argument("path", metavar="PATH")
@click.option("--expires", default="1d", metavar="DURATION", help="How long it is good.  [default: 1d]")
@click.option("--method", type=click.Choice(METHODS), default="GET", help="GET covers HEAD.")
@click.option("--network", default="", metavar="NAME", help="Whose an upload is; the only one otherwise.")
@pass_settings
def command(settings: Settings, path: str, expires: str, method: str, network: str) -> None:
    """Sign a URL's path, for whoever has the URL.

    PATH begins with /links/, /refs/ or /blobs/, percent-encoded as it will be asked for. The signature is good for this
    path alone: a directory's page, not what is in it.
    """
    if parse_target(path) is None or "?" in path:
        raise UsageError(f"{path!r} is no path of the gateway", hint="like /links/LINK/file or /refs/NETWORK/NAME")
    if network and method != "PUT":
        raise UsageError("only an upload goes into a network", hint="forge-edge sign --method PUT")
    home = Home(settings.home)
    into = Networks.on_disk(home).named(network).network if method == "PUT" else None
    click.echo(sign_url(Keys(home), method, path, int(time.time() + parse_duration(expires)), into))
