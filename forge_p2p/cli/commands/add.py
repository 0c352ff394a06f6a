"""`forge add`: content into the store."""

import click

from forge_p2p.cli.output import about_add, emit, remark
from forge_p2p.cli.run import path_argument, run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.node.results import AddResult


@click.command("add", cls=ForgeCommand)
@click.argument("path")
@pass_settings
def command(settings: Settings, path: str) -> None:
    """Put a file or directory into the store and print its link.

    What .forgeignore files name (in .gitignore's syntax) is left out. Adding the same directory again reads only what
    has changed since. The link is the last line of the output.
    """
    result = run_operation(settings, AddResult, "add", {"path": path_argument(path)})
    remark(settings, *about_add(result))
    emit(settings, result, [result.link])
