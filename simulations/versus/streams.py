"""A TCP relay that counts: what two programs tell each other over TCP, seen from neither."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

BLOCK = 1 << 18


class StreamRelay:
    """Passes connections to `port` on to the port `target`, both on IPv4 loopback.

    `to_server` and `from_server` count the payload of all of them. Each direction of each connection has a thread;
    none waits for the other.
    """

    def __init__(self, target: int) -> None:
        self.to_server = 0
        self.from_server = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, name="stream relay", daemon=True)

    @property
    def bytes(self) -> int:
        """Both ways together."""
        return self.to_server + self.from_server

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection, until both directions have ended."""
        with client, socket.socket() as server:
            if server.connect_ex(("127.0.0.1", self._target)) != 0:
                return
            back = threading.Thread(target=self._pass, args=(server, client, False), daemon=True)
            back.start()
            self._pass(client, server, True)
            back.join()

    def _pass(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:
        """One direction, and its end. If it breaks, the other one ends, too."""
        try:
            while block := source.recv(BLOCK):
                self._count(len(block), to_server)
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _count(self, size: int, to_server: bool) -> None:
        with self._lock:
            if to_server:
                self.to_server += size
            else:
                self.from_server += size

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join()
