"""Bodies on their way out: read one step ahead, under a bound of memory for all, and not for ever to who does not take
them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress

from aiohttp import HttpVersion11, web

from forge_edge.content.runs import Raw
from forge_edge.http.head import date_now
from forge_edge.serving.answers import Answer
from forge_edge.serving.gateway import Gateway
from forge_edge.serving.request import Asked
from forge_p2p.errors import ForgeError, NotFound


class Stalled(Exception):
    """A client took nothing of its answer for too long."""


async def streamed(
    gateway: Gateway,
    asked: Asked,
    status: int,
    headers: dict[str, str],
    size: int | None,
    body: AsyncIterator[list[Raw]],
) -> web.StreamResponse:
    """Sends a body of `size` bytes; `None`: it is not known, and chunks say where it ends. Raises `NotFound` and other
    errors of `body` before anything was sent; afterwards the connection is cut, so that no client takes a part for the
    whole."""
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = size
    if asked.method == "HEAD":
        await response.prepare(asked.raw)
        await _close(body)
        await response.write_eof()
        return response
    try:
        await _send(gateway, asked, response, body)
    except (ForgeError, Stalled):
        if not response.prepared:
            raise
        _cut(asked)
    finally:
        await _close(body)
    return response


async def _send(gateway: Gateway, asked: Asked, response: web.StreamResponse, body: AsyncIterator[list[Raw]]) -> None:
    """From the store is read what there is room for. What comes from afar is waited for without room: it is in memory
    anyway when it comes, and those who wait for a slow peer would keep everybody waiting."""
    is_far = False
    while True:
        async with nullcontext() if is_far else gateway.body_room:
            pieces = await anext(body, None)
            if pieces != [] and not response.prepared:
                await response.prepare(asked.raw)
            if pieces is None:
                break
            await _write(gateway, asked, response, pieces)
            is_far = not pieces
    await response.write_eof()


async def _write(gateway: Gateway, asked: Asked, response: web.StreamResponse, pieces: list[Raw]) -> None:
    try:
        async with asyncio.timeout(gateway.settings.limits.stall_timeout):
            for piece in pieces:
                await response.write(piece)
                asked.sent += len(piece)
    except TimeoutError:
        raise Stalled from None


async def _close(body: AsyncIterator[list[Raw]]) -> None:
    with suppress(NotFound):
        await body.aclose()  # type: ignore[attr-defined]  # every body is an async generator


def _cut(asked: Asked) -> None:
    if asked.raw.transport is not None:
        asked.raw.transport.abort()


class Whole(web.StreamResponse):
    """An answer whose head is ready: sent in one piece, without making headers of objects first."""

    def __init__(self, answer: Answer, patience: float) -> None:
        super().__init__(status=answer.status)
        self._answer = answer
        self._patience = patience
        self._asked: web.BaseRequest | None = None
        self._stays = True

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays."""
        return self._stays

    def force_close(self) -> None:
        self._stays = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing goes out yet: the head is sent with the body."""
        self._asked = request
        self._stays = self._stays and request.keep_alive

    async def write_eof(self, data: bytes = b"") -> None:
        """Sends all of it. Raises `ConnectionError`."""
        request = self._asked
        assert request is not None
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        body = b"" if request.method == "HEAD" else self._answer.body
        transport.write(b"".join((self._answer.head, date_now(), self._connection(request), b"\r\n", body)))
        if not transport.get_write_buffer_size():
            return
        try:
            async with asyncio.timeout(self._patience):
                await request.writer.drain()
        except TimeoutError:
            transport.abort()

    def _connection(self, request: web.BaseRequest) -> bytes:
        if not self._stays:
            return b"Connection: close\r\n"
        return b"" if request.version >= HttpVersion11 else b"Connection: keep-alive\r\n"


def ready(gateway: Gateway, asked: Asked, answer: Answer) -> Whole:
    """An answer that is whole; to HEAD its head alone."""
    if asked.method != "HEAD":
        asked.sent += len(answer.body)
    return Whole(answer, gateway.settings.limits.stall_timeout)
