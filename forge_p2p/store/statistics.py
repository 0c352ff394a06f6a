"""What a disk store holds, from its counters: no scan, fast enough for every `forge status`."""

import os
from contextlib import suppress

from forge_p2p.content.codec import Codec
from forge_p2p.store.base import Statistics
from forge_p2p.store.context import Context
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.usage import free_bytes


def statistics(context: Context) -> Statistics:
    """As `Store.statistics`."""
    claims, index = context.claims, context.index
    with index.environment.read() as transaction:
        sliced = index.tally(transaction)
        file_bytes = index.file_bytes(transaction)
        files = transaction.stat(index.files)["entries"]
    with claims.environment.read() as transaction:
        inline = claims.tally(transaction)
        pins, condemned, quarantined = (
            transaction.stat(table)["entries"] for table in (claims.pins, claims.condemned, claims.quarantined)
        )
    total = sliced.plus(inline)
    with disk_errors(context.layout.staging):
        staging = os.listdir(context.layout.staging)
    databases = claims.environment.used_bytes() + index.environment.used_bytes()
    return Statistics(
        total=total.of_all(),
        codecs={codec.name.lower(): total.of(codec) for codec in Codec},
        inline_chunks=inline.chunks,
        files=files,
        disk_bytes=databases + file_bytes + _staged_bytes(context, staging),
        staging=len(staging),
        pins=pins,
        condemned=condemned,
        quarantined=quarantined,
        quota=context.config.quota,
        free_bytes=free_bytes(context),
    )


def _staged_bytes(context: Context, folders: list[str]) -> int:
    total = 0
    for folder in folders:
        with disk_errors(context.layout.staging), suppress(FileNotFoundError):
            total += sum(entry.stat().st_size for entry in os.scandir(context.layout.staging / folder))
    return total
