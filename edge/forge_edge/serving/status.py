"""/healthz, /readyz and /metrics: for load balancers and Prometheus."""

import asyncio
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from forge_edge.serving.answers import Answer
from forge_edge.serving.gateway import Gateway
from forge_edge.serving.reading import SECURITY, not_found
from forge_edge.serving.request import Asked, is_in
from forge_edge.serving.writing import said
from forge_p2p.errors import ForgeError
from forge_p2p.node.control import NoNode

PATIENCE: Final = 2.0
"""Seconds for the node to answer a readiness check."""


PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
METHODS: Final = frozenset({"GET", "HEAD"})


async def special(gateway: Gateway, asked: Asked) -> Answer:
    """The answer to one of `PATHS`."""
    if asked.path == "/healthz":
        return said(200, "alive")
    if asked.path == "/readyz":
        return await _ready(gateway)
    return await _metrics(gateway, asked)


async def _ready(gateway: Gateway) -> Answer:
    """Ready: the store can be read, and nothing is being ended. A node that is down is said, and bars nobody from what
    is in the store."""
    if gateway.draining:
        return said(503, "going down")
    loop = asyncio.get_running_loop()
    try:
        await loop.run_in_executor(gateway.executor, gateway.store.statistics)
    except ForgeError:
        return said(503, "the store cannot be read")
    up = await _node_is_up(gateway)
    gateway.metrics.node_up.set(up)
    return said(200, "ready" if up else "ready; the node is down: only what is in the store is served")


async def _node_is_up(gateway: Gateway) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            await gateway.node.call("network_list")
    except (NoNode, ForgeError, TimeoutError):
        return False
    return True


async def _metrics(gateway: Gateway, asked: Asked) -> Answer:
    if not is_in(asked.address, gateway.settings.scrapers):
        return not_found()
    metrics = gateway.metrics
    metrics.node_up.set(await _node_is_up(gateway))
    loop = asyncio.get_running_loop()
    body = await loop.run_in_executor(gateway.executor, metrics.render)
    return Answer(200, {**SECURITY, "Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}, body)
