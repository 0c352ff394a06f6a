"""One connection: aiohttp's, with a clock for headers that never end and a bound on how many there are.

aiohttp times keep-alive connections, but not one that has said nothing yet, or sends its headers a byte at a time.
"""

import asyncio
import socket
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from forge_edge.serving.metrics import Load
from forge_edge.settings import Limits

HEADERS_MAX: Final = 64
"""Header fields of one request."""


class Connection(RequestHandler):
    """`heard` is called by whoever answers, as soon as a request's headers are there."""

    __slots__ = ("_due", "_guard", "_limits", "_load")

    def __init__(self, manager: Any, limits: Limits, load: Load, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes it for none
            keepalive_timeout=limits.idle_timeout,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            max_headers=HEADERS_MAX,
            lingering_time=2.0,
            auto_decompress=False,
        )
        self._limits = limits
        self._load = load
        self._due: float | None = None
        """When headers that have begun have to be whole."""
        self._guard: asyncio.TimerHandle | None = None
        """Looks at `_due`; left alone when that moves on, for a timer a request costs more than one too early."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._load.connected()
        # The kernel leaves, too, who takes nothing: an idle connection that is closed waits for what it has to send.
        taken = int(self._limits.stall_timeout * 1000)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, taken)
        super().connection_made(transport)
        if self._load.connections > self._limits.max_connections:
            self._abort()
        else:
            self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._load.disconnected()
        if self._guard is not None:
            self._guard.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._due is None and self._current_request is None:
            self._arm()
        super().data_received(data)

    def heard(self) -> None:
        """The headers of a request are whole."""
        self._due = None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp answers to what is no request: our form, and nothing of what was sent or went wrong."""
        self.heard()
        response = web.Response(status=status, text=f"{status}\n", headers={"Server": "forge"})
        response.force_close()
        return response

    def _arm(self) -> None:
        self._due = self._loop.time() + self._limits.header_timeout
        if self._guard is None:
            self._guard = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._guard = None
        if self._due is None:
            return
        if self._loop.time() < self._due:
            self._guard = self._loop.call_at(self._due, self._look)
        else:
            self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
