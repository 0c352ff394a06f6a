"""`forge diff`: what leads from one directory to another."""

import click

from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.node.refs.results import DiffEntry, DiffResult

LETTERS = {"added": "A", "removed": "D", "changed": "M", "moved": "R"}


@click.command("diff", cls=ForgeCommand)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@IN_NETWORK
@pass_settings
def command(settings: Settings, old: str, new: str, in_network: str) -> None:
    """Show what was added, removed, changed and moved.

    OLD and NEW are links, names, or records of names (NAME@SEQ). One line an entry: A added, D removed, M changed, R
    moved. Nothing but the two listings is fetched.
    """
    result = run_operation(settings, DiffResult, "diff", {"old": old, "new": new, "in_network": in_network})
    emit(settings, result, [_line(each) for each in result.entries])


def _line(each: DiffEntry) -> str:
    path = f"{each.old_path} -> {each.path}" if each.old_path else each.path
    return f"{LETTERS[each.change]} {path}"
