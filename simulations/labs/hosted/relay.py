"""A switch in user space that delays, loses and reorders: `python -m simulations.labs.hosted.relay`, its ports as JSON.

It owns the switch-side end of every slow cable as a packet socket, and learns nothing: who is behind which port is
told. What is for nobody it knows goes to the trunk, if there is one: the cable to the bridge of the fast hosts. It sees
frames of up to 64 KiB with many datagrams in them (`packets`), which is why one process carries more than a gigabit;
delay is a queue ordered by time. Loss and reordering are decided for each datagram, by jumping to the next one that is
hit (the distance is geometrically distributed), so that frames that are not hit cost nothing.
"""

import heapq
import json
import math
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from random import Random

from simulations.labs.hosted.packets import VIRTIO, cut, datagrams

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
ETH_P_ALL = 3
BUFFER = 64 << 20
FRAME = 70_000
QUEUE_MAX = 256 << 20
"""Bytes under way; what comes above that is lost."""

DELAYED = 0.010
"""Seconds that a reordered datagram comes later than its neighbours."""


@dataclass(frozen=True, slots=True)
class Port:
    """One cable. Delay (seconds, one way), loss and reordering (shares of datagrams) are of what its host sends."""

    interface: str
    address: str
    delay: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    trunk: bool = False


@dataclass(slots=True)
class Statistics:
    """Frames and datagrams that came in, and what became of them."""

    frames: int = 0
    datagrams: int = 0
    lost: int = 0
    late: int = 0
    refused: int = 0
    """Frames that the outgoing cable's queue had no room for."""


@dataclass(slots=True)
class Fate:
    """What happens to the datagrams of one port."""

    port: Port
    random: Random
    ahead: float = field(init=False)
    """Datagrams until the next one that is hit."""

    def __post_init__(self) -> None:
        self.ahead = self._jump()

    def _jump(self) -> float:
        hit = self.port.loss + self.port.reorder
        if hit <= 0:
            return math.inf
        return 0 if hit >= 1 else int(math.log(1.0 - self.random.random()) / math.log(1.0 - hit))

    def of(self, frame: bytes, statistics: Statistics) -> list[tuple[float, bytes]]:
        """What of `frame` goes on, and how many seconds after its arrival."""
        count = datagrams(frame)
        statistics.datagrams += count
        if self.ahead >= count:
            self.ahead -= count
            return [(self.port.delay, frame)]
        passed, done = [], 0
        while self.ahead < count - done:
            hit = done + int(self.ahead)
            if hit > done:
                passed.append((self.port.delay, cut(frame, done, hit)))
            if self.random.random() * (self.port.loss + self.port.reorder) < self.port.reorder:
                passed.append((self.port.delay + DELAYED, cut(frame, hit, hit + 1) if count > 1 else frame))
                statistics.late += 1
            else:
                statistics.lost += 1
            done = hit + 1
            self.ahead = self._jump()
        self.ahead -= count - done
        if done < count:
            passed.append((self.port.delay, cut(frame, done, count)))
        return passed


class Relay:
    """The loop. `run` returns when `stopping` is set by a signal."""

    def __init__(self, ports: list[Port], seed: int) -> None:
        self.statistics = Statistics()
        self.stopping = False
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._fates: dict[int, Fate] = {}
        self._known: dict[bytes, socket.socket] = {}
        self._trunk: list[socket.socket] = []
        self._queue: list[tuple[float, int, bytes, socket.socket]] = []
        self._queued = 0
        self._number = 0
        for index, port in enumerate(ports):
            self._add(port, Random(seed * 1000 + index))

    def _add(self, port: Port, random: Random) -> None:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        opened.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
        opened.bind((port.interface, ETH_P_ALL))
        opened.setblocking(False)
        self._poll.register(opened, select.EPOLLIN)
        self._sockets[opened.fileno()] = opened
        self._fates[opened.fileno()] = Fate(port, random)
        if port.trunk:
            self._trunk.append(opened)
        else:
            self._known[bytes.fromhex(port.address.replace(":", ""))] = opened

    def run(self) -> None:
        while not self.stopping:
            wait = self._queue[0][0] - time.monotonic() if self._queue else 1.0
            for descriptor, _ in self._poll.poll(max(0.0, wait)):
                self._read(self._sockets[descriptor], self._fates[descriptor])
            self._write()

    def _read(self, source: socket.socket, fate: Fate) -> None:
        now = time.monotonic()
        for _ in range(64):
            try:
                frame = source.recv(FRAME)
            except BlockingIOError:
                return
            except OSError:
                return  # the cable is being pulled
            self.statistics.frames += 1
            takers = self._takers(frame, source)
            for delay, part in fate.of(frame, self.statistics):
                for taker in takers:
                    self._enqueue(now + delay, part, taker)

    def _takers(self, frame: bytes, source: socket.socket) -> list[socket.socket]:
        taker = self._known.get(frame[VIRTIO : VIRTIO + 6])
        if taker is not None:
            return [taker] if taker is not source else []
        if frame[VIRTIO] & 1:
            return [each for each in self._sockets.values() if each is not source]
        return [trunk for trunk in self._trunk if trunk is not source]

    def _enqueue(self, due: float, frame: bytes, taker: socket.socket) -> None:
        if self._queued > QUEUE_MAX:
            self.statistics.refused += 1
            return
        self._number += 1
        self._queued += len(frame)
        heapq.heappush(self._queue, (due, self._number, frame, taker))

    def _write(self) -> None:
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now:
            _, _, frame, taker = heapq.heappop(self._queue)
            self._queued -= len(frame)
            try:
                taker.send(frame)
            except OSError:
                self.statistics.refused += 1


def main() -> None:
    """Says "ready" when frames are passed on, and its statistics as one line of JSON when it is told to stop."""
    described = json.loads(sys.stdin.readline())
    relay = Relay([Port(**port) for port in described["ports"]], described["seed"])

    def stop(*_: object) -> None:
        relay.stopping = True

    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    relay.run()
    statistics = relay.statistics
    print(json.dumps({name: getattr(statistics, name) for name in Statistics.__slots__}), flush=True)


if __name__ == "__main__":
    main()
