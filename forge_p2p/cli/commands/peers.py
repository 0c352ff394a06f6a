"""`forge peers`: who is there."""

import time
from collections.abc import Iterator

import click

from forge_p2p.cli.output import emit, table
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_duration, format_size
from forge_p2p.errors import UsageError
from forge_p2p.node.network_results import PeerEntry, PeersResult

REFRESH = 1.0
"""Seconds between two pictures of the live view; each measures rates over some of it."""


@click.command("peers", cls=ForgeCommand)
@click.option("--watch", "-w", is_flag=True, help="Keep showing, until interrupted.")
@pass_settings
def command(settings: Settings, watch: bool) -> None:
    """Show the members of this node's networks: who, where, how fast.

    Those connected come first, the busiest at the top; below them who is known and not connected, with the reason if it
    could not be reached.
    """
    if watch:
        _watch(settings)
        return
    result = _peers(settings)
    emit(settings, result, _lines(result))


def _peers(settings: Settings) -> PeersResult:
    return run_operation(settings, PeersResult, "peers", {})


def _watch(settings: Settings) -> None:
    """The live view; with --json one line a picture, for machines."""
    if settings.json:
        while True:
            emit(settings, _peers(settings), [])
            time.sleep(REFRESH)
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        raise UsageError("--watch needs a terminal", hint="--json --watch writes a line a second for machines")
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Text("\n".join(_lines(_peers(settings)))), refresh=True)
            time.sleep(REFRESH)


def _lines(result: PeersResult) -> Iterator[str]:
    if not result.members and not result.tickets:
        yield "nobody: this node is in no network, or nobody else of it has been seen yet (forge doctor)"
        return
    here = [each for each in result.members if each.connected]
    away = [each for each in result.members if not each.connected]
    yield from table([_row(each) for each in sorted(here, key=lambda each: -(each.up + each.down))])
    yield from table([["known", _name(each), each.found, each.problem or "not connected"] for each in away])
    yield from table(
        [
            ["ticket", peer.node_id[:16], peer.address, f"{format_size(peer.sent)} sent"]
            for peer in sorted(result.tickets, key=lambda peer: -peer.sent)
        ]
    )


def _row(each: PeerEntry) -> list[str]:
    return [
        each.network,
        _name(each),
        each.role,
        each.found,
        each.address,
        f"{each.round_trip * 1000:.1f} ms",
        format_duration(each.connected),
        f"up {format_size(each.up)}/s, down {format_size(each.down)}/s",
        f"{format_size(each.sent)} sent, {format_size(each.received)} received",
    ]


def _name(each: PeerEntry) -> str:
    return f"{each.label} ({each.node_id[:8]})" if each.label else each.node_id[:16]
