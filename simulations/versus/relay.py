"""A UDP relay that counts: what two nodes send each other, seen from neither."""

import selectors
import socket
import threading
from types import TracebackType
from typing import Self

DATAGRAM = 65536
BATCH = 256
BUFFER = 8 * 2**20


class CountingRelay:
    """Passes datagrams between whoever writes to `port` and the node at `target`, both on IPv4 loopback.

    `to_node` and `from_node` count UDP payload bytes. Runs in a thread of its own while its context is open.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.to_node = 0
        self.from_node = 0
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._front = self._open()
        self._front.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        self._selector.register(opened, selectors.EVENT_READ)
        return opened

    def _run(self) -> None:
        clients: dict[socket.socket, tuple[str, int]] = {}
        while not self._stopping:
            for key, _ in self._selector.select(0.1):
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._front:
                    self._forward(clients)
                else:
                    self._back(ready, clients[ready])

    def _forward(self, clients: dict[socket.socket, tuple[str, int]]) -> None:
        for _ in range(BATCH):
            try:
                datagram, client = self._front.recvfrom(DATAGRAM)
            except BlockingIOError:
                return
            back = self._backs.get(client)
            if back is None:
                back = self._backs[client] = self._open()
                clients[back] = client
            self.to_node += len(datagram)
            _send(back, datagram, self._target)

    def _back(self, back: socket.socket, client: tuple[str, int]) -> None:
        for _ in range(BATCH):
            try:
                datagram = back.recv(DATAGRAM)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.from_node += len(datagram)
            _send(self._front, datagram, client)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join()
        self._selector.close()
        for opened in (self._front, *self._backs.values()):
            opened.close()


def _send(through: socket.socket, datagram: bytes, to: tuple[str, int]) -> None:
    """As networks do, drops what does not fit or has no taker."""
    try:
        through.sendto(datagram, to)
    except (BlockingIOError, ConnectionRefusedError):
        return
