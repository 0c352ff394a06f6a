"""`forge share`: content for others to get."""

import click

from forge_p2p.cli.output import about_add, emit, remark
from forge_p2p.cli.progress import ProgressBar
from forge_p2p.cli.run import call_node, path_argument
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.tables import format_expiry
from forge_p2p.cli.units import parse_duration
from forge_p2p.errors import Interrupted, UsageError
from forge_p2p.node.home import Home
from forge_p2p.node.results import Result, ShareResult


@click.command("share", cls=ForgeCommand)
@click.argument("path")
@click.option("--expires", default="", metavar="TIME", help='How long the ticket works, like "12h" or "1d".')
@click.option(
    "--network", "in_network", default="", metavar="NAME", help="Share with the members of a network, by its link."
)
@pass_settings
def command(settings: Settings, path: str, expires: str, in_network: str) -> None:
    """Share a file or directory and print its ticket.

    Whoever has the ticket can get the content, and nothing else, as long as this node is up. With a node up (forge up)
    the command returns at once; without one it serves by itself until it is interrupted. The ticket is the last line of
    the output; with --network it is the link, which is all that members need.
    """
    if in_network and expires:
        raise UsageError("--expires is for tickets", hint="forge unshare ends what is shared with a network")
    arguments = {
        "path": path_argument(path),
        "expires": parse_duration(expires) if expires else 0.0,
        "in_network": in_network,
    }
    home = Home(settings.home)
    with ProgressBar(settings) as progress:
        result = call_node(home, "share", arguments, progress)
        if result is None:
            _serve(settings, home, arguments, progress)
            return
    _show(settings, result, serving=False)


def _serve(settings: Settings, home: Home, arguments: dict[str, object], progress: ProgressBar) -> None:
    """Is the node for as long as it is wanted."""
    from forge_p2p.node import daemon

    shown = []

    def show(result: Result) -> None:
        progress.close()
        _show(settings, result, serving=True)
        shown.append(result)

    daemon.run(home, settings.config, lambda up: None, ("share", arguments, progress), show)
    if not shown:
        raise Interrupted(
            "interrupted before anything was shared", hint="the same command goes on where this one stopped"
        )


def _show(settings: Settings, result: Result, *, serving: bool) -> None:
    assert isinstance(result, ShareResult)
    what = f"with network {result.network}" if result.network else f"at {', '.join(result.addresses)}"
    until = "" if result.network else f", {format_expiry(result.expires)}"
    word = "LINK" if result.network else "TICKET"
    remark(
        settings,
        *about_add(result.add),
        f"shared {what}{until}",
        f"on the other machine: forge get {word} DEST" + ("; stop sharing with Ctrl-C" if serving else ""),
    )
    emit(settings, result, [result.ticket or result.link])
