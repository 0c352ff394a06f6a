"""`forge log`: what a name stood for."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark, table
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.tables import format_expiry
from forge_p2p.node.refs.results import LogResult, NamesResult, RecordEntry


@click.command("log", cls=ForgeCommand)
@click.argument("name", default="")
@click.option("--count", "-n", default=20, show_default=True, type=click.IntRange(1), help="How many records to list.")
@IN_NETWORK
@pass_settings
def command(settings: Settings, name: str, count: int, in_network: str) -> None:
    """List what a name stood for, and who published it.

    The newest record comes first: its number, time (UTC), author, role, whether its content is kept here, and link.
    Without NAME the names of the network are listed.
    """
    if not name:
        names = run_operation(settings, NamesResult, "names", {"in_network": in_network})
        remark(settings, *(f"note: {note}" for note in names.notes))
        emit(settings, names, names.names)
        return
    result = run_operation(settings, LogResult, "log", {"name": name, "count": count, "in_network": in_network})
    remark(settings, *(f"note: {note}" for note in result.notes))
    emit(settings, result, table([_row(each) for each in result.records]))


def _row(each: RecordEntry) -> list[str]:
    when = datetime.fromtimestamp(each.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return [f"{each.seq:>4}", when, each.label or each.author[:16], each.role, ", ".join(_remarks(each)), each.link]


def _remarks(each: RecordEntry) -> Iterator[str]:
    if each.protected:
        yield "protected"
    if each.expires:
        yield "expired" if each.expires <= time.time() else format_expiry(each.expires)
    if each.pinned:
        yield "kept here"
