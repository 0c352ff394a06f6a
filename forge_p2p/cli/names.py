"""What the commands about names have in common."""

import click

from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.node.refs.results import PublishResult, PullResult

IN_NETWORK = click.option(
    "--network", "in_network", default="", metavar="NETWORK", help="The name's network, if the node is in several."
)


def about_published(result: PublishResult) -> list[str]:
    """What became of a publication."""
    what = f"{format_count(result.files, 'file')}, {format_size(result.bytes)}: " if result.files else ""
    new = f"{format_size(result.new_bytes)} new" if result.new_bytes else "nothing new"
    state = f"{result.network}/{result.name} " + (
        f"stands for that already, by record {result.seq}" if result.unchanged else f"is at record {result.seq} now"
    )
    first = f"{what}{new}, " if what else ""
    return [
        f"{first}{state}, {format_duration(result.seconds)}",
        *(["the home has the content"] if result.held else []),
        *(f"note: {note}" for note in result.notes),
    ]


def about_pulled(result: PullResult) -> list[str]:
    """What a pull did."""
    changed = result.files - result.unchanged
    files = f"{format_count(result.files, 'file')}, {format_size(result.bytes)}"
    whole = "all there already" if not changed else f"{result.unchanged:,} of them already there"
    lines = [
        f"{result.destination}: {files}, {whole}, {format_duration(result.seconds)}",
        f"{format_size(result.wire_received)} received, {format_size(result.wire_sent)} sent",
    ]
    return [*lines, *(f"note: {note}" for note in result.notes), *(f"problem: {each}" for each in result.problems)]
