"""The standby itself: `python -m forge_p2p.cli.standby.answering HOME`.

It lives beside the node that is up on HOME, holding a connection to its control socket, and ends with it, or when
nobody has come for a while. Its one thread forks and waits, and touches nothing of what a run sends. One child waits
for the next run: to fork takes 2 ms, and as long again until the child has pages of its own for what it writes to. So
that is done when a run is over, which would else share the processors with it, or when another one has come, or this
one takes longer. The child makes that run's descriptors, folder and environment its own, and is a helper like
any other: if the run goes before it is done, it is interrupted, with every git that it has started.
"""

import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

from forge_p2p.cli.git_helper import run
from forge_p2p.cli.processes import Rights, rights
from forge_p2p.cli.standby.asking import pid_of_peer
from forge_p2p.cli.standby.request import ACCEPTED, DESCRIPTORS, GO, LENGTH_SIZE, SOCKET, Outdated, become, encoded
from forge_p2p.node.control import NoNode, reaching
from forge_p2p.node.home import Home
from forge_p2p.node.repositories.standby import held_lock

IDLE = 15 * 60.0
"""Seconds without a run after which it ends."""

PATIENCE = 10.0
"""Seconds that a run has to say what it wants, and a child to end when it is interrupted."""

ALONE = 0.1
"""Seconds after which a run counts as a long one."""

_TAKEN = b"\1"
"""From a child: it has a run. The pipe is closed when that is over."""

REQUEST_MAX = 64 << 20
"""Bytes; the kernel starts no program with more words and variables than a few MB."""


def main() -> int:
    """Stands by until it is time to go."""
    home = Home(Path(sys.argv[1]))
    lock = held_lock(home)
    if lock is None:
        return 0
    os.chdir(home.path)  # where the socket has a name that is short enough
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as node:
        try:
            with reaching(home) as address:
                node.connect(address)
        except NoNode:
            return 0
        _import_all()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            _stand_by(listener, node, lock)
    return 0


def _import_all() -> None:
    """What runs import as they need it. Nothing of it is the collector's from here on, so that children share it."""
    import forge_p2p.cli.main
    import forge_p2p.git.joining
    import forge_p2p.git.landing
    import forge_p2p.git.leavings
    import forge_p2p.git.mirror
    import forge_p2p.git.remote.cloning
    import forge_p2p.git.remote.fetch
    import forge_p2p.git.remote.helper
    import forge_p2p.git.remote.push
    import forge_p2p.git.remote.upstream
    import forge_p2p.git.upkeep  # noqa: F401

    gc.collect()
    gc.freeze()


def _stand_by(listener: socket.socket, node: socket.socket, lock: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(SOCKET)
    os.umask(0o077)
    listener.bind(SOCKET)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a child ended
    life, held = os.pipe()
    try:
        while _has_had_a_run(listener, node, lock, life, held):
            pass
    finally:
        os.unlink(SOCKET)


def _has_had_a_run(listener: socket.socket, node: socket.socket, lock: int, life: int, held: int) -> bool:
    """Whether a child came and has had a run, or has it still; otherwise it is time to go. A child sees by the pipe
    `life`, of which only this process has the end `held`, that this process has gone."""
    taken, taking = os.pipe()
    standby = os.getpid()
    if os.fork() == 0:
        node.close()
        for descriptor in (taken, held, lock):  # a child may outlive this process, for which the next one must not wait
            os.close(descriptor)
        _be_child(standby, listener, life, taking)
    os.close(taking)
    try:
        ready, _, _ = select.select([taken, node.fileno()], [], [], IDLE)
        if taken not in ready or os.read(taken, 1) != _TAKEN:
            return False
        select.select([taken, listener.fileno()], [], [], ALONE)
        return True
    finally:
        os.close(taken)


def _be_child(standby: int, listener: socket.socket, life: int, taking: int) -> None:
    """Waits for one run and does it, and ends this process."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)
        _rehearse()
        own = rights(os.getpid())
        ready, _, _ = select.select([listener.fileno(), life], [], [])
        if life not in ready:
            connection, _ = listener.accept()
            os.write(taking, _TAKEN)
            for descriptor in (listener.detach(), life):
                os.close(descriptor)
            code = _code_of(connection, own)
    except Outdated:
        if os.getppid() == standby:  # one of the code that is installed now takes its place
            os.kill(standby, signal.SIGTERM)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as a second standby
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _rehearse() -> None:
    """Writes once to what every run writes to."""
    become(encoded(sys.argv)[LENGTH_SIZE:])
    thread = threading.Thread(target=time.time, daemon=True)
    thread.start()
    thread.join()


def _code_of(connection: socket.socket, own: Rights) -> int:
    """Does the run at the other end, if that has the rights of this process, its `own`; its exit code."""
    words = _taken_over(connection, own)
    if words is None:
        return 1
    watch = _Watch(connection)
    code = run(words, pid_of_peer(connection), watch.release)
    watch.release(code)
    return code


def _taken_over(connection: socket.socket, own: Rights) -> list[str] | None:
    """The words of the run at the other end, whose surroundings this process has now. `None`: nothing is to be done.
    Raises `Outdated`."""
    body = _request(connection, own)
    if body is None:
        return None
    try:
        words = become(body)
    except Outdated:
        raise
    except ValueError:
        return None
    connection.sendall(ACCEPTED)
    go, descriptors, _, _ = socket.recv_fds(connection, 1, DESCRIPTORS)
    if go != GO or len(descriptors) != DESCRIPTORS:
        return None
    connection.settimeout(None)
    os.fchdir(descriptors[-1])
    for number, descriptor in enumerate(descriptors[:-1]):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    sys.stdin = _text(0, "r", "surrogateescape")
    sys.stdout = _text(1, "w", "surrogateescape")
    sys.stderr = _text(2, "w", "backslashreplace", buffering=1)
    return words


def _request(connection: socket.socket, own: Rights) -> bytes | None:
    """What the run at the other end wants, if that is a process like this one, which can do no more and no less."""
    try:
        if rights(pid_of_peer(connection)) != own:
            return None
    except OSError:
        return None
    connection.settimeout(PATIENCE)
    size, data = LENGTH_SIZE, b""
    while len(data) < size:
        more = connection.recv(1 << 20)
        data += more
        if len(data) >= LENGTH_SIZE:
            size = int.from_bytes(data[:LENGTH_SIZE]) + LENGTH_SIZE
        if not more or size > REQUEST_MAX:
            return None
    return data[LENGTH_SIZE:]


def _text(number: int, mode: str, errors: str, buffering: int = -1) -> TextIO:
    """A standard stream anew: those that there are know what their descriptors were before."""
    return cast("TextIO", os.fdopen(number, mode, buffering, "utf-8", errors, closefd=False))


class _Watch:
    """Interrupts this process and its children if the run goes before it was released."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._released = False
        threading.Thread(target=self._wait, daemon=True).start()

    def release(self, code: int) -> None:
        """Lets the run go on with this exit code. It waits for nothing here any more, nor does who reads its output."""
        if self._released:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        self._released = True
        with suppress(OSError):
            self._connection.sendall(bytes([code]))

    def _wait(self) -> None:
        with suppress(OSError):
            self._connection.recv(1)
        if self._released:
            return
        os.killpg(0, signal.SIGINT)
        time.sleep(PATIENCE)
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
