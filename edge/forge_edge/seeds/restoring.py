"""A seed made again from its bucket, on a home that has nothing but what was backed up.

Who the seed is then: whoever `node.key` says, if that was put back, else a new member by the tokens of its file. A mark
in the home says that it is being made from this bucket, so that a restore that was cut goes on, and none begins in a
home that has content of its own.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from forge_edge.seeds.arranging import joining
from forge_edge.seeds.file import BucketEntry, SeedFile
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import Settings, with_bucket_secrets
from forge_p2p.errors import DiskError, StoreError, UsageError
from forge_p2p.node.edge.results import EdgeRestore, EdgeStatus
from forge_p2p.node.home import Home, unwritable
from forge_p2p.node.network_results import NetworksResult
from forge_p2p.node.records import write_record

MARK: Final = "restored.json"

BACKED_UP: Final = frozenset({"node.key", "networks", "gateway", "edge.credentials"})
"""What docs/operations.md says to put back."""

PASSING: Final = frozenset({"cache", "config.toml", "control.sock", "node.lock", "node.log"})
"""What is no content, and may be left by whatever was tried before."""


class Mark(msgspec.Struct, frozen=True):
    """`bucket`: the address of what the home is made from."""

    bucket: str


def restore_seed(settings: Settings, seed: SeedFile, file: Path) -> EdgeRestore:
    """Makes the home of a seed's file what its bucket knows. Raises `UsageError` for a file without a bucket,
    `StoreError` for a home that is in use, `NotFound` for an empty bucket, and what joining, the bucket and the disk
    raise."""
    if seed.bucket is None:
        raise UsageError(f"{file} has no [bucket] to restore from", hint='[bucket] with url = "…"')
    home = Home(seed.home)
    _begin(home, seed.bucket)
    of_seed = settings.on(seed.home, with_bucket_secrets(seed.node))
    for network in seed.networks:
        arguments = joining(home, network)
        if arguments is not None:
            run_operation(of_seed, NetworksResult, "network_join", arguments)
    run_operation(of_seed, EdgeStatus, "edge_set", {"url": seed.bucket.url, **seed.bucket.options})
    expected = [follow.name for follow in seed.follow if follow.mirror]
    follows = {follow.name: follow.keep for follow in seed.follow}
    return run_operation(of_seed, EdgeRestore, "edge_restore", {"expected": expected, "follows": follows})


def _begin(home: Home, bucket: BucketEntry) -> None:
    """Marks the home. Raises `StoreError` unless it is empty or marked with this bucket, `DiskError`, `DiskFull`."""
    home.create()
    mark = home.path / MARK
    try:
        begun = msgspec.json.decode(mark.read_bytes(), type=Mark)
    except FileNotFoundError:
        _require_empty(home)
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{mark} cannot be read: {error}", hint="restore to an empty folder") from error
    else:
        if begun.bucket != bucket.url:
            raise StoreError(
                f"{home.path} is being restored from {begun.bucket}, not from {bucket.url}",
                hint="restore to an empty folder",
            )
        return
    try:
        write_record(mark, msgspec.json.encode(Mark(bucket.url)))
    except OSError as error:
        raise unwritable(str(mark), error) from error


def _require_empty(home: Home) -> None:
    try:
        found = [name for name in os.listdir(home.path) if not name.startswith(".")]
    except OSError as error:
        raise DiskError(f"cannot look into {home.path}: {error.strerror}") from error
    own = sorted({*found} - BACKED_UP - PASSING)
    if own:
        raise StoreError(
            f"{home.path} is the home of a node that has content: {', '.join(own[:5])}",
            hint="forge seed run goes on with it; a restore needs a home with nothing but what was backed up",
        )
