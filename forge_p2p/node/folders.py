"""The directories that a node which is up watches: queues emptied in time, and scans now and then as the net."""

import logging

import trio

from forge_p2p.node.groups import contained
from forge_p2p.node.local import LocalNode
from forge_p2p.workspace.watched import RESCAN, WatchedFolders

LOG = logging.getLogger("forge")

PAUSE = 1.0
"""Seconds between one look into the queues and the next: a folder in which something is written all the time costs no
more than that, and a queue holds 16,384 events."""

RENEWING = RESCAN / 5
"""Seconds after which a scan may be due."""


async def watch_folders(node: LocalNode) -> None:
    """Has `node` watch what it looks at, until cancelled."""
    watched = node.watched = WatchedFolders(LOG.warning)
    with contained("the watch over folders"):  # without it they are still right, by looks alone
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_renew, node, watched)
            while True:
                await trio.lowlevel.wait_readable(watched)
                await trio.to_thread.run_sync(watched.attend, node.stat_cache)
                await trio.sleep(PAUSE)


async def _renew(node: LocalNode, watched: WatchedFolders) -> None:
    while True:
        await trio.sleep(RENEWING)
        await trio.to_thread.run_sync(watched.renew, node.stat_cache)
