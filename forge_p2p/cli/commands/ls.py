"""`forge ls`: what a link holds."""

import stat
from datetime import UTC, datetime

import click

from forge_p2p.cli.output import emit, table
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.node.results import LsEntry, LsResult

TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}


@click.command("ls", cls=ForgeCommand)
@click.argument("what", metavar="LINK|TICKET")
@click.argument("path", default="")
@click.option("--long", "-l", "long", is_flag=True, help="Also show mode, size and time of change (UTC).")
@pass_settings
def command(settings: Settings, what: str, path: str, long: bool) -> None:
    """List what is inside a link.

    With PATH, only what is below that folder of it. One path a line, folders with a slash at the end. Bytes of a name
    that are not printable show as \\xNN, a form that forge cat understands.
    """
    result = run_operation(settings, LsResult, "ls", {"what": what, "path": path})
    emit(settings, result, table([_row(entry) for entry in result.entries]) if long else map(_name, result.entries))


def _name(entry: LsEntry) -> str:
    return f"{entry.path}/" if entry.kind == "directory" else entry.path


def _row(entry: LsEntry) -> list[str]:
    when = datetime.fromtimestamp(entry.mtime_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S") if entry.mtime_ns else "-"
    size = f"{entry.size:>12,}" if entry.kind == "file" else f"{'-':>12}"
    name = f"{entry.path} -> {entry.link}" if entry.kind == "symlink" else _name(entry)
    return [stat.filemode(TYPES[entry.kind] | entry.mode), size, when, name]
