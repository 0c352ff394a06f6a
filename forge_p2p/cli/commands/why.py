"""`forge why`: where content is, and how it came or why it does not."""

import time
from collections.abc import Iterator

import click

from forge_p2p.cli.output import emit, table
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.node.network_results import FetchEntry, HolderEntry, WhyResult


@click.command("why", cls=ForgeCommand)
@click.argument("what", metavar="TICKET|LINK")
@pass_settings
def command(settings: Settings, what: str) -> None:
    """Say who has a link's content, and how it came.

    Shown are whether it is here, who in this node's networks says to have it, and what came from whom the last time it
    was fetched.
    """
    result = run_operation(settings, WhyResult, "why", {"what": what})
    emit(settings, result, _lines(result))


def _lines(result: WhyResult) -> Iterator[str]:
    yield f"here: {result.here}"
    for network in result.networks:
        holders = [each for each in result.holders if each.network == network]
        yield f"in network {network}: {format_count(len(holders), 'node') if holders else 'nobody'} known to have it"
        yield from (f"  {line}" for line in table([_holder(each) for each in holders]))
    if result.last is not None:
        yield from _last(result.last)
    yield from result.notes


def _holder(each: HolderEntry) -> list[str]:
    what = "all of it" if each.complete else format_count(each.chunks, "chunk")
    where = "origin" if each.origin else "copy"
    return [each.node_id[:16], each.address, where, each.problem or what]


def _last(last: FetchEntry) -> Iterator[str]:
    ago = format_duration(max(0.0, time.time() - last.ended))
    yield f"last fetched {ago} ago, {last.outcome}, in {format_duration(last.seconds)}:"
    rows = [
        [
            each.node_id[:16],
            each.address,
            each.found + (", origin" if each.origin else ""),
            f"{format_size(each.fetched)} at {format_size(each.rate)}/s",
            each.problem,
        ]
        for each in sorted(last.sources, key=lambda each: -each.fetched)
    ]
    yield from (f"  {line}".rstrip() for line in table(rows))
