"""The control socket: how a command talks to the node that is up.

A Unix stream socket in the node's folder, mode 0600 by its folder's 0700. One connection is one call. Both sides send
frames: one byte of kind, four of length (big-endian), then the body. The command sends one CALL; the node answers with
any number of PROGRESS and BYTES frames and ends with RESULT or ERROR. Closing the connection cancels the call.

The client is plain blocking sockets: `forge status` must not pay for importing an async library. What results there are
is imported once a call is under way.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgspec

from forge_p2p import errors
from forge_p2p.errors import ForgeError, Malformed, PeerError
from forge_p2p.node.home import Home

if TYPE_CHECKING:
    from forge_p2p.node.results import Progress, Result

HEADER = struct.Struct(">BI")
MAX_FRAME = 256 * 1024 * 1024
"""Bytes. A listing of a million entries fits. Both ends are the same user: it guards against bugs."""

SUN_PATH_MAX = 107


class Kind(IntEnum):
    CALL = 1
    PROGRESS = 2
    BYTES = 3
    RESULT = 4
    ERROR = 5


class Call(msgspec.Struct, frozen=True):
    """What a command asks for: an operation's name and its arguments by name."""

    operation: str
    arguments: dict[str, Any]


class Failure(msgspec.Struct, frozen=True):
    """A `ForgeError` on its way to the command."""

    kind: str
    message: str
    hint: str


class NoNode(Exception):
    """No node is up on this folder."""


def pack(kind: Kind, body: bytes) -> bytes:
    return HEADER.pack(kind, len(body)) + body


def unpack_header(header: bytes) -> tuple[Kind, int]:
    """Kind and length of the frame that follows. Raises `Malformed`."""
    kind, size = HEADER.unpack(header)
    if size > MAX_FRAME:
        raise Malformed(f"a control frame claims {size} bytes; the limit is {MAX_FRAME}")
    try:
        return Kind(kind), size
    except ValueError as error:
        raise Malformed(f"unknown control frame {kind}; is the node of another version?") from error


def failure(error: ForgeError) -> bytes:
    """The ERROR frame for `error`, under the name of the nearest class in `errors`, which the command knows."""
    kind = next(each for each in type(error).__mro__ if getattr(errors, each.__name__, None) is each)
    return pack(Kind.ERROR, msgspec.json.encode(Failure(kind.__name__, error.message, error.hint)))


class Begun:
    """A call under way; cancelled if nobody keeps it."""

    def __init__(self, connection: socket.socket, operation: str) -> None:
        self._connection = connection
        self._operation = operation

    def result(
        self,
        on_progress: "Callable[[Progress], None] | None" = None,
        on_bytes: Callable[[bytes], object] | None = None,
    ) -> "Result":
        """Waits for the end of it, and closes it. Raises the node's own `ForgeError`."""
        from forge_p2p.node.results import Progress, result_type

        with self._connection:
            while True:
                kind, body = _receive(self._connection)
                if kind is Kind.PROGRESS and on_progress is not None:
                    on_progress(msgspec.json.decode(body, type=Progress))
                elif kind is Kind.BYTES and on_bytes is not None:
                    on_bytes(body)
                elif kind is Kind.RESULT:
                    return msgspec.json.decode(body, type=result_type(self._operation))
                elif kind is Kind.ERROR:
                    raise rebuilt(msgspec.json.decode(body, type=Failure))


def begin(home: Home, operation: str, arguments: dict[str, Any]) -> Begun:
    """Has the node that is up on `home` run `operation`. Raises `NoNode`, `PeerError`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reaching(home) as address:
            connection.connect(address)
        _send(connection, pack(Kind.CALL, msgspec.json.encode(Call(operation, arguments))))
    except BaseException:
        connection.close()
        raise
    return Begun(connection, operation)


def call(
    home: Home,
    operation: str,
    arguments: dict[str, Any],
    on_progress: "Callable[[Progress], None] | None" = None,
    on_bytes: Callable[[bytes], object] | None = None,
) -> "Result":
    """Runs `operation` in the node that is up on `home`. Raises `NoNode`, or the node's own `ForgeError`."""
    return begin(home, operation, arguments).result(on_progress, on_bytes)


@contextmanager
def socket_address(home: Home) -> Iterator[str]:
    """A name for the control socket that fits `sun_path`: the path itself, or one through an open folder descriptor."""
    path = str(home.socket)
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        yield path
        return
    folder = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{home.socket.name}"
    finally:
        os.close(folder)


@contextmanager
def reaching(home: Home) -> Iterator[str]:
    """The address of the control socket for who connects to it within: what fails becomes `NoNode` or `PeerError`."""
    try:
        with socket_address(home) as address:
            yield address
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NoNode from error
    except OSError as error:
        raise PeerError(f"cannot talk to the node at {home.socket}: {error.strerror}") from error


def _receive(connection: socket.socket) -> tuple[Kind, bytes]:
    kind, size = unpack_header(_exactly(connection, HEADER.size))
    return kind, _exactly(connection, size)


def _send(connection: socket.socket, frame: bytes) -> None:
    try:
        connection.sendall(frame)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise went_away() from error


def _exactly(connection: socket.socket, size: int) -> bytes:
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        try:
            count = connection.recv_into(view)
        except ConnectionResetError:
            count = 0
        if count == 0:
            raise went_away()
        view = view[count:]
    return bytes(buffer)


def went_away() -> PeerError:
    """The error of a call whose node ended; the caller raises it."""
    return PeerError("the node went away in the middle of the command", hint="node.log in its folder says why")


def rebuilt(sent: Failure) -> ForgeError:
    kind = getattr(errors, sent.kind, ForgeError)
    if not (isinstance(kind, type) and issubclass(kind, ForgeError)):
        kind = ForgeError
    return kind(sent.message, hint=sent.hint)
