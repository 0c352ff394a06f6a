"""`forge sync`: a folder that is the same on many machines."""

import sys
from collections.abc import Callable, Iterator

import click

from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.run import path_argument, run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.errors import ForgeError
from forge_p2p.node.syncing.results import SyncResult, SyncTrouble

LINES = 100
"""Changes of one round that get a line."""


@click.command("sync", cls=ForgeCommand)
@click.argument("name")
@click.argument("directory", metavar="DIR")
@click.option("--watch", "-w", is_flag=True, help="Go on whenever either side changes, until interrupted.")
@click.option("--outside-links", is_flag=True, help="Also make symlinks that could lead outside DIR.")
@IN_NETWORK
@pass_settings
def command(settings: Settings, name: str, directory: str, watch: bool, outside_links: bool, in_network: str) -> None:
    """Make DIR and a name the same, in both directions.

    What changed in DIR is published, what changed under the name is written to DIR. Where both changed a file
    differently, both versions stay, one of them as "NAME (conflict of WHO WHEN)"; an edit outlives a deletion. A line a
    change: > was sent, < was received, - was removed there or here, ! is a conflict. The record that DIR is now, as
    NETWORK/NAME@SEQ, is the last line of the output.
    """
    arguments = {
        "name": name,
        "directory": path_argument(directory),
        "in_network": in_network,
        "watch": watch,
        "outside_links": outside_links,
    }
    result = run_operation(settings, SyncResult, "sync", arguments, on_bytes=_printer(settings))
    _write(settings, result, [*_lines(result), result.ref])
    if result.problems:
        raise ForgeError(
            f"{format_count(len(result.problems), 'entry', 'entries')} of {result.directory} could not be synced",
            hint="they are named above; all else is done, and the same command completes the rest",
        )


def _printer(settings: Settings) -> Callable[[bytes], None]:
    import msgspec

    def show(line: bytes) -> None:
        told = msgspec.json.decode(line, type=dict)
        if settings.json:
            sys.stdout.write(line.decode())
            sys.stdout.flush()
        elif "error" in told:
            trouble = msgspec.convert(told, SyncTrouble)
            remark(settings, f"trouble: {trouble.message}", *([f"hint: {trouble.hint}"] if trouble.hint else []))
        else:
            result = msgspec.convert(told, SyncResult)
            _write(settings, result, list(_lines(result)))

    return show


def _write(settings: Settings, result: SyncResult, lines: list[str]) -> None:
    emit(settings, result, lines)
    remark(settings, *_about(result))


def _lines(result: SyncResult) -> Iterator[str]:
    yield from _some("> ", result.sent)
    yield from _some("> - ", result.sent_removals)
    yield from _some("< ", result.received)
    yield from _some("< - ", result.received_removals)
    yield from (f"! {each.path}: {each.owner}'s version is {each.copy}" for each in result.conflicts)


def _some(mark: str, paths: list[str]) -> Iterator[str]:
    yield from (mark + path for path in paths[:LINES])
    if len(paths) > LINES:
        yield f"{mark}and {len(paths) - LINES:,} more"


def _about(result: SyncResult) -> list[str]:
    changed = bool(result.sent or result.sent_removals or result.received or result.received_removals)
    state = f"is at {result.ref} now" if changed else f"is the same as {result.ref}"
    what = f"{format_count(result.files, 'file')}, {format_size(result.bytes)}"
    return [
        f"{result.directory}: {what}, {state}, {format_duration(result.seconds)}",
        *(f"note: {note}" for note in result.notes),
        *(f"problem: {problem}" for problem in result.problems),
    ]
