"""`forge publish`: a name for a directory."""

import click

from forge_p2p.cli.names import IN_NETWORK, about_published
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.run import path_argument, run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import parse_duration
from forge_p2p.node.refs.results import PublishResult


@click.command("publish", cls=ForgeCommand)
@click.argument("name")
@click.argument("path", metavar="DIR")
@IN_NETWORK
@click.option(
    "--protect/--unprotect", "protect", default=None, help="Whether only admins may publish the name from now on."
)
@click.option("--expires", default="", metavar="TIME", help='When the name stands for nothing any more, like "30d".')
@click.option(
    "--after",
    default=None,
    metavar="SEQ",
    type=click.IntRange(0),
    help="Only if this record is the newest; 0: only if the name is new.",
)
@click.option(
    "--move-to",
    "new_home",
    default="",
    metavar="NODEID",
    help='The node to keep the name from now on; "bucket": the bucket of this one.',
)
@pass_settings
def command(
    settings: Settings,
    name: str,
    path: str,
    in_network: str,
    protect: bool | None,
    expires: str,
    after: int | None,
    new_home: str,
) -> None:
    """Give a directory a name that members of a network can pull.

    Publishing again under the same name makes a new record; what the name stood for before stays in its history (forge
    log, forge rollback). Of two who publish at once one is first and the other is after it, unless --after says
    otherwise. The record, as NETWORK/NAME@SEQ, is the last line of the output.
    """
    arguments = {
        "name": name,
        "path": path_argument(path),
        "in_network": in_network,
        "protect": protect,
        "expires": parse_duration(expires) if expires else 0.0,
        "after": -1 if after is None else after,
        "home": new_home,
    }
    result = run_operation(settings, PublishResult, "publish", arguments)
    remark(settings, *about_published(result))
    emit(settings, result, [result.ref])
