"""`forge rollback`: a name stands again for what it stood for before."""

import click

from forge_p2p.cli.names import IN_NETWORK, about_published
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.node.refs.results import PublishResult


@click.command("rollback", cls=ForgeCommand)
@click.argument("name")
@click.argument("seq", type=click.IntRange(1))
@IN_NETWORK
@pass_settings
def command(settings: Settings, name: str, seq: int, in_network: str) -> None:
    """Make a name stand again for what its record SEQ says.

    That is a new record: nothing is erased, and the way back is another rollback. The new record, as NETWORK/NAME@SEQ,
    is the last line of the output.
    """
    result = run_operation(settings, PublishResult, "rollback", {"name": name, "seq": seq, "in_network": in_network})
    remark(settings, *about_published(result))
    emit(settings, result, [result.ref])
