"""`forge cat`: one file's content."""

import sys

import click

from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.errors import UsageError
from forge_p2p.node.results import CatResult


@click.command("cat", cls=ForgeCommand)
@click.argument("what", metavar="LINK|TICKET")
@click.argument("path", default="")
@pass_settings
def command(settings: Settings, what: str, path: str) -> None:
    """Write one file's content to standard output.

    PATH is the file's path inside a directory's link, as `forge ls` shows it; a file's own link needs none. Nothing is
    written that has not been verified.
    """
    if settings.json:
        raise UsageError("cat writes content as it is; --json does not apply", hint="forge ls --json tells of it")
    run_operation(settings, CatResult, "cat", {"what": what, "path": path}, on_bytes=sys.stdout.buffer.write)
