"""A seed's life: the node, what the file asks of it, the gateway; all of it down again on SIGTERM, in reverse."""

import asyncio
import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from forge_edge.seeds.arranging import Arranging
from forge_edge.seeds.children import Child
from forge_edge.seeds.file import SeedFile
from forge_edge.seeds.upkeep import Upkeep
from forge_p2p.errors import ForgeError
from forge_p2p.node.home import Home

LOG = logging.getLogger("forge.seed")

NODE_GRACE: Final = 20.0
"""Seconds that a node has for ending: it closes its sessions and its store."""

GATEWAY_GRACE: Final = 5.0
"""Seconds that a gateway has beside its `drain`."""

RETRY: Final = 10.0
"""Seconds until what the node refused is tried again: a home that cannot be reached, a bucket that is down."""


async def run_seed(seed: SeedFile, file: Path) -> None:
    """Runs a seed until SIGINT or SIGTERM."""
    Home(seed.home).create()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    node = Child("node", "forge_edge.main", ["node", str(file)], NODE_GRACE)
    children = [node]
    if seed.gateway is not None:
        grace = seed.gateway.limits.drain + GATEWAY_GRACE
        children.append(Child("gateway", "forge_edge.main", ["serve", "--config", str(file)], grace))
    tasks = [asyncio.create_task(each.run()) for each in children]
    asking = [asyncio.create_task(_keep_arranged(Arranging(seed))), asyncio.create_task(Upkeep(seed).run())]
    try:
        await stop.wait()
    finally:
        LOG.info("going down")
        await _end(asking)
        for each in reversed(children):
            await each.stop()
        await _end(tasks)


async def _end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            LOG.error("%r", outcome)


async def _keep_arranged(arranging: Arranging) -> None:
    while True:
        try:
            await arranging.arrange()
            await arranging.mirror()
            return
        except ForgeError as error:
            LOG.error("%s; trying again in %.0f s", error, RETRY)
            await asyncio.sleep(RETRY)
