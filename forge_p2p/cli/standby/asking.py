"""The run's side: everything over to a child of the standby, and its exit code back.

`_socket` and not `socket`, whose imports take as long as all of this.
"""

import _socket
import os
import sys

from forge_p2p.cli.folder import default_folder
from forge_p2p.cli.standby.request import ACCEPTED, DECLINED, DESCRIPTORS, GO, SOCKET, SWITCH, encoded

PATIENCE = 2.0
"""Seconds for a child to come; one that is later than that does nothing."""

FAILED, INTERRUPTED = 128, 130
"""git's own exit code for what ends a command, and what a shell makes of an interrupt."""


def run_elsewhere(words: list[str]) -> int | None:
    """The exit code of a run that a child of the standby did; `None` if there is none, or it did nothing."""
    if os.environ.get(SWITCH) == "0":
        return None
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        try:
            if not _handed_over(connection, words):
                return None
        except OSError:
            return None
        return _outcome(connection)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        connection.close()


def _handed_over(connection: _socket.socket, words: list[str]) -> bool:
    folder = os.open(default_folder(), os.O_PATH | os.O_DIRECTORY)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")  # the folder's own path may be too long for an address
    finally:
        os.close(folder)
    if uid_of_peer(connection) != os.getuid():
        return False
    connection.sendall(encoded(words))
    if connection.recv(1) != ACCEPTED:
        return False
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2, here))
        assert len(descriptors) == 4 * DESCRIPTORS
        connection.sendmsg([GO], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
    finally:
        os.close(here)
    connection.settimeout(None)
    return True


def _outcome(connection: _socket.socket) -> int | None:
    """Waits for the child's end. It ends, too, when this connection does."""
    try:
        told = connection.recv(1)
    except OSError:
        told = b""
    if not told:
        sys.stderr.write("forge: error: the process that did the work has died\n")
        return FAILED
    return None if told[0] == DECLINED else told[0]


def uid_of_peer(connection: _socket.socket) -> int:
    """Whose process is at the other end."""
    return int.from_bytes(_credentials(connection)[4:8], sys.byteorder)


def pid_of_peer(connection: _socket.socket) -> int:
    """Which process is at the other end; 0 for one that cannot be seen from here."""
    return int.from_bytes(_credentials(connection)[:4], sys.byteorder)


def _credentials(connection: _socket.socket) -> bytes:
    """unix(7), `struct ucred`."""
    return connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
