"""Results on standard output, remarks on standard error.

A result that is a link or a ticket stands alone on the last line of standard output, and everything said about it goes
to standard error, so that `LINK=$(forge add DIR)` does what it looks like. `--json` writes the whole result struct as
one line instead.
"""

import sys
from collections.abc import Iterable, Sequence

from forge_p2p.cli.settings import Settings
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.node.results import AddResult, GetResult, Result

MB = 10**6


def emit(settings: Settings, result: Result, lines: Iterable[str]) -> None:
    """Writes `result`: as JSON if that was asked for, otherwise its `lines`. Flushed, since a reader may be waiting."""
    if settings.json:
        import msgspec

        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def remark(settings: Settings, *lines: str) -> None:
    """Says something about the result that is not the result."""
    if not (settings.quiet or settings.json):
        sys.stderr.writelines(f"{line}\n" for line in lines)
        sys.stderr.flush()


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """`rows` as lines with their columns aligned, the last one ragged."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def about_add(result: AddResult) -> list[str]:
    """One line on what was added, and the notes."""
    what = (
        f"{format_count(result.files, 'file')}, {format_size(result.bytes)}"
        if result.kind == "tree"
        else (format_size(result.bytes))
    )
    new = f"{format_size(result.new_bytes)} new" if result.new_bytes else "nothing new"
    stored = f", stored as {format_size(result.stored_bytes)}" if result.new_bytes else ""
    return [f"{what}: {new}{stored}, {format_duration(result.seconds)}", *(f"note: {note}" for note in result.notes)]


def about_get(result: GetResult) -> list[str]:
    """What a fetch did, and how fast."""
    rate = f" ({format_size(result.bytes / result.seconds)}/s)" if result.fetched_bytes > MB and result.seconds else ""
    changed = result.files - result.unchanged
    files = f"{format_count(result.files, 'file')}, {format_size(result.bytes)}"
    kept = f", {result.unchanged:,} of them already there" if result.unchanged and changed else ""
    whole = ", all there already" if result.files and not changed else kept
    lines = [f"{result.destination}: {files}{whole}, {format_duration(result.seconds)}{rate}"]
    if result.peer:
        lines.append(
            f"fetched {format_size(result.fetched_bytes)} from {result.peer}: "
            f"{format_size(result.wire_received)} received, {format_size(result.wire_sent)} sent"
        )
    return [*lines, *(f"problem: {problem}" for problem in result.problems)]
