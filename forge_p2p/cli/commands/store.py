"""`forge store`: upkeep of the store."""

import click

from forge_p2p.cli.output import emit, table
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.tables import format_expiry
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.errors import CorruptChunk
from forge_p2p.node.results import StoreGc, StoreRebuild, StoreStat, StoreVerify


@click.group("store")
def command() -> None:
    """Inspect, verify, clean or rebuild the store."""


@command.command("stat", cls=ForgeCommand)
@pass_settings
def stat(settings: Settings) -> None:
    """Count what is in the store and what keeps it there."""
    result = run_operation(settings, StoreStat, "store_stat", {})
    store = result.store
    codecs = ", ".join(f"{count:,} {name}" for name, count in sorted(result.codecs.items()))
    rows = [
        ["path", store.path],
        ["chunks", f"{store.chunks:,}: {result.inline_chunks:,} in the index, the rest in {result.files:,} data files"],
        ["codecs", codecs or "none"],
        ["bytes", f"{format_size(store.raw_bytes)} in {format_size(store.disk_bytes)} on disk"],
        ["free", f"{format_size(store.free_bytes)}, quota {format_size(store.quota) if store.quota else 'none'}"],
        ["staging", format_count(result.staging, "unfinished session")],
        ["quarantine", format_count(store.quarantined, "chunk")],
        *(["pin", f"{pin.name}  {pin.keep}, {format_expiry(pin.expires)}  {pin.link}"] for pin in result.pins),
    ]
    emit(settings, result, table(rows))


@command.command("verify", cls=ForgeCommand)
@pass_settings
def verify(settings: Settings) -> None:
    """Read and check every chunk.

    What does not match its hash goes into quarantine and is never served; the next get that needs it fetches it again.
    The exit code is 5 when anything is left that could not be healed.
    """
    result = run_operation(settings, StoreVerify, "store_verify", {})
    good = f"{format_count(result.chunks, 'chunk')}, {format_size(result.bytes)} checked in"
    emit(
        settings,
        result,
        [*(f"corrupt: {name}" for name in result.corrupt), f"{good} {format_duration(result.seconds)}"],
    )
    left = len(result.corrupt) - result.healed
    if left:
        raise CorruptChunk(
            f"{format_count(left, 'chunk')} of the store did not match their hashes and are in quarantine",
            hint="add or get the content again: what is missing is stored anew",
        )


@command.command("gc", cls=ForgeCommand)
@pass_settings
def gc(settings: Settings) -> None:
    """Delete what nothing keeps.

    Kept is what a pin or a share names, what is being written, and what is younger than the grace period.
    """
    result = run_operation(settings, StoreGc, "store_gc", {})
    waiting = f", {format_count(result.condemned, 'chunk')} waiting for the grace period" if result.condemned else ""
    freed = f"{format_count(result.collected, 'chunk')} deleted, {format_size(result.freed_bytes)} freed"
    emit(settings, result, [f"{freed}{waiting}, {format_duration(result.seconds)}"])


@command.command("rebuild", cls=ForgeCommand)
@pass_settings
def rebuild(settings: Settings) -> None:
    """Make the index anew from the data files and their journals."""
    result = run_operation(settings, StoreRebuild, "store_rebuild", {})
    found = f"{format_count(result.chunks, 'chunk')}, {format_size(result.bytes)}"
    line = f"{found} found in {format_count(result.files, 'data file')}, {format_duration(result.seconds)}"
    emit(settings, result, [*(f"set aside: {name}" for name in result.lost), line])
