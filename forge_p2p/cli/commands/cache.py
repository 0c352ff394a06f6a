"""`forge cache`: what a CI keeps from one run to the next."""

import click

from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.run import path_argument, run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration, format_size, parse_duration
from forge_p2p.errors import ForgeError
from forge_p2p.node.refs.results import CacheRestoreResult, CacheSaveResult

EXPIRES = "7d"


@click.group("cache")
def command() -> None:
    """Save and restore a CI's caches by key."""


@command.command("save", cls=ForgeCommand)
@click.argument("key")
@click.argument("path", metavar="DIR")
@click.option(
    "--expires", default=EXPIRES, show_default=True, metavar="TIME", help='How long the entry lasts; "0" for ever.'
)
@IN_NETWORK
@pass_settings
def save(settings: Settings, key: str, path: str, expires: str, in_network: str) -> None:
    """Save DIR under KEY.

    A key that has an entry keeps it, and nothing is done: make what the cache depends on a part of the key, a hash of
    the lock file for example. The key is the last line of the output.
    """
    arguments = {
        "key": key,
        "path": path_argument(path),
        "expires": parse_duration(expires),
        "in_network": in_network,
    }
    result = run_operation(settings, CacheSaveResult, "cache_save", arguments)
    size = f"{format_count(result.files, 'file')}, {format_size(result.bytes)}, {format_size(result.new_bytes)} new"
    what = f"saved {size}" if result.saved else "there is an entry already"
    remark(settings, f"{result.ref}: {what}, {format_duration(result.seconds)}")
    remark(settings, *(f"note: {note}" for note in result.notes))
    emit(settings, result, [result.key])


@command.command("restore", cls=ForgeCommand)
@click.argument("key")
@click.argument("destination", metavar="DIR")
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="PREFIX",
    help="Else the newest entry whose key begins with this; may be repeated, the first that has one counts.",
)
@IN_NETWORK
@pass_settings
def restore(settings: Settings, key: str, destination: str, prefixes: tuple[str, ...], in_network: str) -> None:
    """Restore what was saved under KEY into DIR.

    The key of the entry is the last line of the output: it is KEY itself on an exact hit. Files that are in DIR and not
    in the entry stay. The exit code is 4 when there is no entry.
    """
    arguments = {
        "key": key,
        "destination": path_argument(destination),
        "prefixes": list(prefixes),
        "in_network": in_network,
    }
    result = run_operation(settings, CacheRestoreResult, "cache_restore", arguments)
    hit = "exact" if result.exact else f"nothing is saved as {result.key!r}, this is the newest"
    files = f"{format_count(result.files, 'file')}, {format_size(result.bytes)}"
    fetched = f"{format_size(result.fetched_bytes)} fetched, {format_duration(result.seconds)}"
    remark(settings, f"{result.destination}: {files}, {fetched} ({hit})")
    remark(settings, *(f"problem: {problem}" for problem in result.problems))
    emit(settings, result, [result.found])
    if result.problems:
        raise ForgeError(
            f"{format_count(len(result.problems), 'entry', 'entries')} of {result.destination} could not be restored",
            hint="what is in their way is named above; the same command completes the rest",
        )
