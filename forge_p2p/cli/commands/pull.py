"""`forge pull`: what a name stands for, to this machine."""

import click

from forge_p2p.cli.names import IN_NETWORK, about_pulled
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.run import path_argument, run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count
from forge_p2p.errors import ForgeError
from forge_p2p.node.refs.results import PullResult


@click.command("pull", cls=ForgeCommand)
@click.argument("name", metavar="NAME[@SEQ]")
@click.argument("destination", metavar="DEST")
@IN_NETWORK
@click.option("--check", is_flag=True, help="Read and compare every file that is there, whatever its times say.")
@click.option("--outside-links", is_flag=True, help="Also make symlinks that could lead outside DEST.")
@pass_settings
def command(settings: Settings, name: str, destination: str, in_network: str, check: bool, outside_links: bool) -> None:
    """Make DEST what a name stands for.

    An older copy is brought up to date for what has changed; where nothing has, nothing is fetched. Files that were
    changed in DEST are set right; what an earlier pull put there and is gone from the name goes; what else is in DEST
    stays. With @SEQ it is what the name stood for then. The record that DEST is now, as NETWORK/NAME@SEQ, is the last
    line of the output.
    """
    arguments = {
        "name": name,
        "destination": path_argument(destination),
        "in_network": in_network,
        "check": check,
        "outside_links": outside_links,
    }
    result = run_operation(settings, PullResult, "pull", arguments)
    remark(settings, *about_pulled(result))
    emit(settings, result, [result.ref])
    if result.problems:
        raise ForgeError(
            f"{format_count(len(result.problems), 'entry', 'entries')} of {result.destination} could not be restored",
            hint="what is in their way is named above; the same command completes the rest",
        )
