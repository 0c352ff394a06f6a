"""Operations on the node itself and its store: status, and `forge store stat|verify|gc|rebuild`."""

import os
import time
from typing import TYPE_CHECKING

from forge_p2p import __version__
from forge_p2p.content.linktext import format_link
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.membership.standing import standing, with_counts
from forge_p2p.node.results import (
    PinEntry,
    Progress,
    StatusResult,
    StoreGc,
    StoreRebuild,
    StoreStat,
    StoreStatus,
    StoreVerify,
)
from forge_p2p.node.shares import Shares, share_entry

if TYPE_CHECKING:
    from forge_p2p.node.network import Network


def status(node: LocalNode, *, report: Report) -> StatusResult:  # noqa: ARG001  # every operation can report
    """The node that is not running: its identity, if it has one, its networks, shares and store."""
    return StatusResult(
        version=__version__,
        home=str(node.home.path),
        node_id=node.node_id.hex() if node.home.key_file.exists() else "",
        running=False,
        pid=0,
        addresses=[],
        uptime=0.0,
        peers=[],
        shares=[share_entry(each) for each in Shares(node.home).all()],
        store=store_status(node),
        networks=standing(node),
    )


async def running_status(network: "Network", *, report: Report) -> StatusResult:
    """The node that is running: this process."""
    import msgspec
    import trio

    here = await trio.to_thread.run_sync(lambda: status(network.node, report=report))
    return msgspec.structs.replace(
        here,
        running=True,
        pid=os.getpid(),
        addresses=network.up_result().addresses,
        uptime=network.uptime,
        lan_problem=network.lan_problem,
        networks=with_counts(here.networks, network),
        peers=network.peers(),
        shares=[msgspec.structs.replace(each, served_bytes=network.served(each.id)) for each in here.shares],
    )


def store_status(node: LocalNode) -> StoreStatus:
    """The store in numbers. Cheap: counters only."""
    found = node.store.statistics()
    return StoreStatus(
        path=str(node.home.store),
        chunks=found.total.chunks,
        raw_bytes=found.total.raw_bytes,
        disk_bytes=found.disk_bytes,
        pins=found.pins,
        quota=found.quota,
        free_bytes=found.free_bytes,
        quarantined=found.quarantined,
    )


def store_stat(node: LocalNode, *, report: Report) -> StoreStat:  # noqa: ARG001
    """What is in the store and what keeps it there."""
    found = node.store.statistics()
    pins = [
        PinEntry(pin.name, format_link(pin.root), pin.keep.value, pin.expires, pin.used) for pin in node.store.pins()
    ]
    return StoreStat(
        store=store_status(node),
        inline_chunks=found.inline_chunks,
        files=found.files,
        staging=found.staging,
        codecs={name: tallied.chunks for name, tallied in found.codecs.items() if tallied.chunks},
        pins=pins,
    )


async def store_verify(network: "Network", *, report: Report) -> StoreVerify:
    """Reads and checks every chunk, and fetches again what is damaged."""
    import trio

    from forge_p2p.node.healing import heal

    started = time.monotonic()
    token = trio.lowlevel.current_trio_token()

    def progress(done: int, total: int) -> None:
        token.run_sync_soon(report, Progress("verify", items=done, items_total=total))

    found = await trio.to_thread.run_sync(network.node.store.verify, progress)
    return StoreVerify(
        chunks=found.chunks,
        bytes=found.bytes,
        corrupt=[chunk.hex() for chunk in found.corrupt],
        healed=await heal(network, found.corrupt) if found.corrupt else 0,
        seconds=time.monotonic() - started,
    )


def store_gc(node: LocalNode, *, report: Report) -> StoreGc:
    """Collects what nothing needs."""
    started = time.monotonic()
    report(Progress("collect"))
    found = node.store.collect()
    return StoreGc(
        collected=found.chunks,
        condemned=found.condemned,
        freed_bytes=found.freed_bytes,
        dropped_pins=found.dropped_pins,
        seconds=time.monotonic() - started,
    )


def store_rebuild(node: LocalNode, *, report: Report) -> StoreRebuild:
    """Makes the index anew from the data files."""
    started = time.monotonic()
    report(Progress("rebuild"))
    found = node.store.rebuild()
    return StoreRebuild(
        files=found.files,
        chunks=found.chunks,
        bytes=found.bytes,
        lost=found.lost,
        seconds=time.monotonic() - started,
    )
