"""Operations: edge set and edge status."""

import os
from typing import Annotated, Final

from msgspec import DecodeError, Meta, Struct, ValidationError, json

from forge_p2p.bucket.base import MARKER
from forge_p2p.bucket.opening import check_url
from forge_p2p.bucket.racing import require_one_winner
from forge_p2p.errors import Malformed, NoSuchObject
from forge_p2p.node.edge.opened import Edge, edge_of
from forge_p2p.node.edge.results import EdgeStatus
from forge_p2p.node.edge.settings import EdgeRecord, credentials_file, save_record
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.results import Progress

FORMAT: Final = 1


class Marker(Struct, frozen=True):
    """The object that says that a bucket, or a prefix of one, is Forge's. `id`: 64 random hex digits."""

    format: int
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


def set_bucket(
    node: LocalNode, *, url: str, endpoint: str = "", region: str = "", cdn: str = "", report: Report
) -> EdgeStatus:
    """Makes `url` the node's bucket, once it has shown that it keeps its word. Raises `UsageError`, `BucketError`,
    `BucketRefused`."""
    check_url(url)
    report(Progress("check"))
    candidate = edge_of(node, EdgeRecord(url.rstrip("/"), "", endpoint, region, cdn))
    try:
        require_one_winner(candidate.bucket)
        record = EdgeRecord(url.rstrip("/"), bucket_id(candidate), endpoint, region, cdn)
    finally:
        candidate.close()
    save_record(node.home, record)
    return status(node, report=report)


def bucket_id(edge: Edge) -> str:
    """The id of the bucket, given to it now if it has none. Raises `Malformed`, `BucketError`."""
    fresh = Marker(FORMAT, os.urandom(32).hex())
    edge.bucket.put_if_absent(MARKER, json.encode(fresh))
    try:
        found = json.decode(edge.bucket.get(MARKER), type=Marker)
    except (DecodeError, ValidationError, NoSuchObject) as error:
        raise Malformed(f"{MARKER} in {edge.where} is not Forge's", hint="choose another prefix") from error
    if found.format != FORMAT:
        raise Malformed(f"{edge.where} has format {found.format}; this version knows {FORMAT}")
    return found.id


def status(node: LocalNode, *, report: Report) -> EdgeStatus:  # noqa: ARG001
    """What is in the bucket."""
    edge = node.edge
    state = edge.catalogue.refresh()
    record = edge.record
    bundles = state.bundles
    notes = []
    if credentials_file(node.home).exists():
        notes.append(f"credentials: {credentials_file(node.home)}, then the environment")
    return EdgeStatus(
        url=record.url,
        id=record.id,
        endpoint=record.endpoint,
        region=record.region,
        cdn=record.cdn,
        records=state.seq,
        bundles=len(bundles),
        chunks=sum(entry.rows for entry in state.indexes.values()),
        bytes=sum(bundles.values()),
        pins=sorted(state.pins),
        waiting=len(state.dropped),
        notes=notes,
    )
