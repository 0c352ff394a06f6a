"""`forge follow`: the node keeps what a name stands for."""

import sys
from collections.abc import Callable

import click

from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark, table
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.errors import UsageError
from forge_p2p.node.refs.results import FollowedChange, FollowedResult, FollowEntry, FollowResult


@click.command("follow", cls=ForgeCommand)
@click.argument("name", default="")
@click.option("--detach", "-d", is_flag=True, help="Return at once; the node goes on.")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Newest versions whose content stays; 4.")
@click.option("--stop", is_flag=True, help="Follow the name no more.")
@click.option("--list", "list_all", is_flag=True, help="List what is followed.")
@IN_NETWORK
@pass_settings
def command(
    settings: Settings, name: str, detach: bool, keep: int | None, stop: bool, list_all: bool, in_network: str
) -> None:
    """Keep what a name stands for in the store, and print changes.

    The node that is up hears of a new record within a moment and fetches what it needs, so that a pull finds everything
    here. It goes on when this command ends, and after a restart, until --stop. A line a change, as NETWORK/NAME@SEQ and
    the link; with --json all that is known of it.
    """
    if list_all:
        _show(settings, run_operation(settings, FollowedResult, "follow_list", {}))
        return
    if not name:
        raise UsageError("missing argument 'NAME'", hint="forge follow --list shows what is followed")
    arguments = {"name": name, "in_network": in_network}
    if stop:
        _show(settings, run_operation(settings, FollowedResult, "follow_stop", arguments))
        return
    watched = {**arguments, "watch": not detach, "keep": keep}
    result = run_operation(settings, FollowResult, "follow", watched, on_bytes=_printer(settings))
    remark(settings, f"the node follows {result.network}/{result.name}; forge follow --stop {name} ends that")
    emit(settings, result, [_title(result)])


def _printer(settings: Settings) -> Callable[[bytes], None]:
    import msgspec

    def show(line: bytes) -> None:
        if settings.json:
            sys.stdout.write(line.decode())
        else:
            change = msgspec.json.decode(line, type=FollowedChange)
            remark(settings, *([f"problem: {change.problem}"] if change.problem else []))
            sys.stdout.write(f"{change.ref}  {change.link}\n")
        sys.stdout.flush()

    return show


def _show(settings: Settings, result: FollowedResult) -> None:
    emit(settings, result, table([_row(each) for each in result.followed]))


def _row(each: FollowEntry) -> list[str]:
    return [_title(each), each.link, f"keeps {each.keep}"]


def _title(each: FollowEntry | FollowResult) -> str:
    return f"{each.network}/{each.name}@{each.seq}" if each.seq else f"{each.network}/{each.name}"
