"""The node's side of the control socket: one connection, one call."""

import inspect
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from forge_p2p.errors import ForgeError, InternalError, Malformed, UsageError
from forge_p2p.node.control import HEADER, Call, Kind, failure, pack, socket_address, unpack_header
from forge_p2p.node.groups import contained
from forge_p2p.node.home import Home
from forge_p2p.node.operations.table import Operation, operation
from forge_p2p.node.results import Progress

if TYPE_CHECKING:
    from forge_p2p.node.network import Network

LOG = logging.getLogger("forge")

PIECE = 256 * 1024
PROGRESS_INTERVAL = 0.05
"""Seconds between two progress frames; a terminal shows no more."""


@asynccontextmanager
async def listening(home: Home) -> AsyncIterator[trio.SocketListener]:
    """The listening control socket. The caller holds the node's lock, so a socket file found here is a dead node's."""
    home.socket.unlink(missing_ok=True)
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    with socket_address(home) as address:
        await listener.bind(address)
    os.chmod(home.socket, 0o600)
    listener.listen(64)
    try:
        yield trio.SocketListener(listener)
    finally:
        listener.close()
        home.socket.unlink(missing_ok=True)


class ControlServer:
    """Answers calls with the operations of one node. `stop` is called when a command asks the node to go down."""

    def __init__(self, network: "Network", stop: trio.Event) -> None:
        self._network = network
        self._stop = stop

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serves one connection; every error goes to the command, none to the node."""
        with contained("a command"):
            try:
                async with stream:
                    await self._serve(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the command has gone

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            call = await _receive_call(stream)
            if call is not None:
                await self._run(stream, call)
        except ForgeError as error:
            await stream.send_all(failure(error))

    async def _run(self, stream: trio.SocketStream, call: Call) -> None:
        """Runs the call beside a watcher that cancels it when the command goes away."""
        if call.operation == "down":
            self._stop.set()
            await stream.send_all(pack(Kind.RESULT, msgspec.json.encode({"pid": os.getpid()})))
            return
        found = operation(call.operation, running=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, stream, nursery.cancel_scope)
            running = _Running(self._network, stream, nursery)
            await running.send(await running.answer(found, call.arguments))
            nursery.cancel_scope.cancel()


class _Running:
    """One call under way: its progress and bytes on their way to the command."""

    def __init__(self, network: "Network", stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        self._network = network
        self._stream = stream
        self._latest: Progress | None = None
        self._changed = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._sending = trio.Lock()
        nursery.start_soon(self._send_progress)

    async def answer(self, found: Operation, arguments: dict[str, Any]) -> bytes:
        """The RESULT or ERROR frame."""
        try:
            result = await self._run(found, arguments)
        except ForgeError as error:
            return failure(error)
        except Exception as error:
            LOG.exception("a defect of Forge ended a command; please report it")
            return failure(
                InternalError(f"unexpected {type(error).__name__}: {error}", hint="node.log has the details")
            )
        return pack(Kind.RESULT, msgspec.json.encode(result))

    async def _run(self, found: Operation, arguments: dict[str, Any]) -> object:
        node = self._network.node
        if not found.network or found.first:
            function = found.load_first() if found.network else found.load()
            call = _bound(function, node, report=self._report_from_thread, **arguments)
            result = await trio.to_thread.run_sync(call)
            if result is not None:
                return result
        extra: dict[str, Any] = {"emit": self._emit} if found.emits else {}
        return await _bound(found.load(), self._network, report=self._report_here, **extra, **arguments)()

    def _report_here(self, progress: Progress) -> None:
        self._latest = progress
        self._changed.set()

    def _report_from_thread(self, progress: Progress) -> None:
        trio.from_thread.check_cancelled()
        self._token.run_sync_soon(self._report_here, progress, idempotent=False)

    async def send(self, frame: bytes) -> None:
        """Sends one whole frame, however many tasks do so."""
        async with self._sending:
            await self._stream.send_all(frame)

    async def _emit(self, content: bytes) -> None:
        for start in range(0, len(content), PIECE):
            await self.send(pack(Kind.BYTES, content[start : start + PIECE]))

    async def _send_progress(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            if self._latest is not None:
                await self.send(pack(Kind.PROGRESS, msgspec.json.encode(self._latest)))
            await trio.sleep(PROGRESS_INTERVAL)


def _bound(function: Callable[..., Any], *arguments: object, **named: object) -> Callable[[], Any]:
    """A call of `function` that is ready to be made. Raises `UsageError` for arguments that it does not take."""
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError as error:
        raise UsageError(f"wrong arguments: {error}", hint="is the node of another version? restart it") from error
    return partial(function, *arguments, **named)


async def _receive_call(stream: trio.SocketStream) -> Call | None:
    header = await _exactly(stream, HEADER.size)
    if header is None:
        return None
    kind, size = unpack_header(header)
    body = await _exactly(stream, size)
    if body is None:
        return None
    if kind is not Kind.CALL:
        raise Malformed(f"expected a call on the control socket, got {kind.name}")
    try:
        return msgspec.json.decode(body, type=Call)
    except msgspec.DecodeError as error:
        raise Malformed(f"malformed call on the control socket: {error}") from error


async def _exactly(stream: trio.SocketStream, size: int) -> bytes | None:
    """`size` bytes, or `None` when the other side has gone."""
    received = bytearray()
    while len(received) < size:
        piece = await stream.receive_some(size - len(received))
        if not piece:
            return None
        received += piece
    return bytes(received)


async def _cancel_when_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    with_more = await stream.receive_some(1)
    if not with_more:
        scope.cancel()
