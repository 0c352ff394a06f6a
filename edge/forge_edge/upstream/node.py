"""Calls of the node's control socket from asyncio: the frames are those of `forge_p2p.node.control`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import msgspec

from forge_p2p.node.control import HEADER, Call, Failure, Kind, pack, reaching, rebuilt, unpack_header, went_away
from forge_p2p.node.home import Home
from forge_p2p.node.results import Result, result_type

_BUFFER: Final = 256 * 1024
"""Bytes read ahead of who takes them. Beyond that, and the socket's own buffer, the node waits."""


class NodeLink:
    """The node that is, or will be, up on `home`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def call(self, operation: str, **arguments: Any) -> Result:
        """The result of an operation that hands on no content. Raises `NoNode`, `PeerError`, or what it raises."""
        async with aclosing(self._frames(operation, arguments)) as frames:
            async for kind, body in frames:
                if kind is Kind.RESULT:
                    return msgspec.json.decode(body, type=result_type(operation))
        raise went_away()

    async def stream(self, operation: str, **arguments: Any) -> AsyncGenerator[bytes]:
        """The content that an operation hands on, as it comes; closing it cancels the operation. Raises as `call`."""
        async with aclosing(self._frames(operation, arguments)) as frames:
            async for kind, body in frames:
                if kind is Kind.BYTES:
                    yield body

    async def _frames(self, operation: str, arguments: dict[str, Any]) -> AsyncGenerator[tuple[Kind, bytes]]:
        with reaching(self._home) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=_BUFFER)
        try:
            writer.write(pack(Kind.CALL, msgspec.json.encode(Call(operation, arguments))))
            while True:
                kind, size = unpack_header(await reader.readexactly(HEADER.size))
                body = await reader.readexactly(size)
                if kind is Kind.ERROR:
                    raise rebuilt(msgspec.json.decode(body, type=Failure))
                yield kind, body
                if kind is Kind.RESULT:
                    return
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise went_away() from error
        finally:
            writer.close()
