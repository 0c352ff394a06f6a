"""`forge get`: content to this machine."""

import click

from forge_p2p.cli.output import about_get, emit
from forge_p2p.cli.run import path_argument, run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count
from forge_p2p.errors import ForgeError
from forge_p2p.node.results import GetResult


@click.command("get", cls=ForgeCommand)
@click.argument("what", metavar="TICKET|LINK")
@click.argument("destination", metavar="DEST")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="ADDR:PORT",
    help="Try the ticket's node here first, behind a forwarded port for example; may be repeated.",
)
@click.option("--network", "in_network", default="", metavar="NAME", help="Look for a link in this network alone.")
@click.option("--check", is_flag=True, help="Read and compare every file that is there, whatever its times say.")
@click.option("--outside-links", is_flag=True, help="Also make symlinks that could lead outside DEST.")
@pass_settings
def command(
    settings: Settings,
    what: str,
    destination: str,
    peers: tuple[str, ...],
    in_network: str,
    check: bool,
    outside_links: bool,
) -> None:
    """Fetch what a ticket or link names into DEST.

    A ticket leads to the node that made it. A link is looked for among the members of this node's networks, and comes
    from all who have it, the nearest first.

    Everything is verified as it arrives, and a file has its final name only when it is whole. An interrupted get goes
    on where it stopped; an existing DEST is completed and repaired, and what is already right is not fetched again.
    """
    arguments = {
        "what": what,
        "destination": path_argument(destination),
        "peers": list(peers),
        "in_network": in_network,
        "check": check,
        "outside_links": outside_links,
    }
    result = run_operation(settings, GetResult, "get", arguments)
    emit(settings, result, [] if settings.quiet else about_get(result))
    if result.problems:
        raise ForgeError(
            f"{format_count(len(result.problems), 'entry', 'entries')} of {result.destination} could not be restored",
            hint="what is in their way is named above; the same command completes the rest",
        )
