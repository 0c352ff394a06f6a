"""A gateway's life: listen, serve, and on SIGTERM take nothing new, finish what is under way, and go."""

import asyncio
import gc
import logging
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from forge_edge.serving.connection import Connection
from forge_edge.serving.gateway import Gateway
from forge_edge.serving.handler import Handler
from forge_edge.settings import GatewaySettings
from forge_p2p.errors import DiskError, UsageError

LOG = logging.getLogger("forge.edge")

BACKLOG = 1024

OnReady = Callable[[str], None]
"""Told the URL under which the gateway answers."""


async def serve(settings: GatewaySettings, on_ready: OnReady) -> None:
    """Serves until SIGINT or SIGTERM. Raises `UsageError`, `DiskError`, `StoreError` when it cannot begin."""
    loop = asyncio.get_running_loop()
    tls = _tls(settings)
    gateway = Gateway(settings)
    try:
        manager = web.Server(Handler(gateway), access_log=None)
        host, port = _address(settings.listen)

        def connection() -> Connection:
            return Connection(manager, settings.limits, gateway.load, loop)

        try:
            patience = settings.limits.header_timeout if tls else None
            server = await loop.create_server(
                connection, host, port, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=patience
            )
        except OSError as error:
            raise UsageError(
                f"cannot listen on {settings.listen}: {error.strerror}", hint="is the port taken?"
            ) from error
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        gc.freeze()
        on_ready(_url(server, tls is not None))
        await stop.wait()
        await _drain(gateway, server, manager, settings.limits.drain)
    finally:
        gateway.close()


async def _drain(gateway: Gateway, server: asyncio.Server, manager: web.Server, seconds: float) -> None:
    """A balancer sees /readyz fail; idle connections are closed; what is being answered has `seconds`, and so
    has what was answered and is still to be sent: a loop that ends drops what a slow reader has not taken."""
    gateway.draining = True
    server.close()
    manager.pre_shutdown()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await gateway.load.idle.wait()
            await manager.shutdown(timeout=1.0)
            await gateway.load.deserted.wait()
    await manager.shutdown(timeout=1.0)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def _url(server: asyncio.Server, encrypted: bool) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if encrypted else 'http'}://{shown}:{port}"


def _tls(settings: GatewaySettings) -> ssl.SSLContext | None:
    if not settings.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key or None)
    except ssl.SSLError as error:
        raise UsageError(f"{settings.tls_certificate} and its key do not make a pair: {error.reason}") from error
    except OSError as error:
        raise DiskError(f"cannot read the TLS certificate or its key: {error.strerror}") from error
    return context
