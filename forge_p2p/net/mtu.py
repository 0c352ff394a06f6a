"""How large a datagram may be: what the route promises, and what turns out to get through.

QUIC spends its time per datagram, so where the route takes more than Ethernet's 1500 bytes (loopback, jumbo frames)
both ends offer up to 8952; a smaller route gets smaller ones from the start. Nothing is sent to verify the offer, so
small exchanges cost no byte more. Instead, when packets get lost, each side watches whether any large one of its own
still arrives; if none does while small ones do, the connection goes on with smaller ones in that direction, and the
host is remembered for later connections.
"""

import socket
from collections.abc import Callable, Sequence

from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address
from forge_p2p.net.engine import EngineConnection
from forge_p2p.net.udp import Datagram

SMALLEST = 1200
USUAL = 1452
LARGEST = 8952
"""UDP payload bytes: what QUIC requires of every path; Ethernet's 1500, and jumbo frames' 9000, less IPv6 and UDP
headers. Above jumbo size the gain no longer pays for the buffers (docs/transport.md)."""

OVERHEAD = 48
REMEMBERED = 3600.0
MAX_REMEMBERED = 1024
"""Seconds and hosts."""

TRIES = 6
"""As many large packets, none of which arrives, condemn a size: were it chance, with one packet in five lost, it would
happen once in 15,000 times."""
FRESH_TRIES = 2
"""So many of them were sent after the trouble began: a burst that overran the receiver's socket is lost as a whole, and
says nothing about the path."""
ANSWERS = 3
"""So many pings after them are answered and none of them is: a process that is held up, here or there, says something
else before it has read what would tell of them."""
FIRST_WAIT = 0.05
LAST_WAIT = 1.0
QUIET = 3.0
"""Seconds: from the first sign of trouble to the first judgement, doubling from there to at most this; and from a
cleared path to when losses count again."""

_IP_MTU = 14
_IPV6_MTU = 24
"""linux/in.h, linux/in6.h: path MTU of a connected socket as the kernel knows it."""


def route_size(peer: Address) -> int:
    """UDP payload bytes that the route to `peer` takes, within our bounds; `USUAL` where the system does not tell.
    Raises `PeerError` when there is no route."""
    is_ipv6 = ":" in peer.host
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    try:
        probe = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        return USUAL
    with probe:
        try:
            probe.connect(socket.getaddrinfo(peer.host, peer.port, family, flags=socket.AI_NUMERICHOST)[0][4])
        except OSError as error:
            raise PeerError(f"cannot reach {peer.host} port {peer.port}: {error.strerror}") from error
        try:
            option = (socket.IPPROTO_IPV6, _IPV6_MTU) if is_ipv6 else (socket.IPPROTO_IP, _IP_MTU)
            mtu = probe.getsockopt(*option)
        except OSError:
            return USUAL
    return max(SMALLEST, min(LARGEST, mtu - OVERHEAD))


class DatagramSizes:
    """Which size to begin with, for each peer. `forced`, where not 0, is the size for all, never doubted."""

    def __init__(self, forced: int) -> None:
        self.forced = forced
        self._limits: dict[str, tuple[int, float]] = {}

    def choose(self, peer: Address, now: float) -> int:
        """Raises `PeerError` when there is no route to `peer`."""
        if self.forced:
            return self.forced
        limit, expires = self._limits.get(peer.host, (LARGEST, now))
        return min(route_size(peer), limit if now < expires else LARGEST)

    def remember(self, peer: Address, size: int, now: float) -> None:
        self._limits.pop(peer.host, None)
        if len(self._limits) >= MAX_REMEMBERED:
            del self._limits[next(iter(self._limits))]
        self._limits[peer.host] = (size, now + REMEMBERED)


class PathWatch:
    """Watches one established connection for large datagrams that never arrive. `narrowed` is called with the new size
    when it comes to that.

    Nothing is counted until a packet is lost or a probe timeout passes. From there on, of the packets larger than the
    next smaller size, those `sent` and those that were outstanding, all but the lost and the still outstanding have
    arrived. One is enough to clear the path. None of `TRIES`, and the other side is heard after each of `ANSWERS` pings
    that were sent after these: the path swallows them.
    """

    def __init__(self, engine: EngineConnection, narrowed: Callable[[int], None]) -> None:
        self.deadline: float | None = None
        self._engine = engine
        self._narrowed = narrowed
        self._quiet_until = 0.0
        self._seen = engine.lost + engine.probe_timeouts
        self._lost = 0
        self._sent = 0
        self._fresh = 0
        self._heard = False
        self._asked_after = False
        self._answers = 0
        self._wait = 0.0

    def sent(self, datagrams: Sequence[Datagram]) -> None:
        if self.deadline is not None:
            smaller = self._smaller
            large = len([1 for data, _ in datagrams if len(data) > smaller])
            self._sent += large
            self._fresh += large

    def heard(self) -> None:
        """Something came from the other side."""
        self._heard = True

    def step(self, now: float) -> None:
        """To be called in every turn and at `deadline`."""
        engine = self._engine
        if self.deadline is None:
            troubles = engine.lost + engine.probe_timeouts
            if troubles != self._seen and now >= self._quiet_until and engine.datagram_size > SMALLEST:
                self._lost = engine.lost
                self._sent = engine.outstanding(self._smaller)
                self._fresh, self._answers, self._asked_after = 0, 0, False
                self._wait = max(FIRST_WAIT, 2 * engine.round_trip)
                self._ask(now)
        elif now >= self.deadline:
            self._judge(now)

    def narrow(self) -> None:
        """Takes the next smaller size; should that be too large as well, the next losses will tell."""
        size = self._smaller
        self._engine.limit_datagrams(size)
        self._settle(0.0)
        self._narrowed(size)

    @property
    def _smaller(self) -> int:
        return USUAL if self._engine.datagram_size > USUAL else SMALLEST

    def _judge(self, now: float) -> None:
        engine = self._engine
        missing = engine.outstanding(self._smaller) + engine.lost - self._lost
        if self._sent == 0 or self._sent > missing:
            self._settle(now + QUIET)
        elif self._asked_after and self._answers + self._heard >= ANSWERS:
            self.narrow()
        else:
            self._ask(now)

    def _ask(self, now: float) -> None:
        if self._asked_after:
            self._answers += self._heard
        self._heard = False
        self._asked_after = self._sent >= TRIES and self._fresh >= FRESH_TRIES
        self._engine.ping()
        self.deadline = now + self._wait
        self._wait = min(2 * self._wait, LAST_WAIT)

    def _settle(self, quiet_until: float) -> None:
        self.deadline = None
        self._seen = self._engine.lost + self._engine.probe_timeouts
        self._quiet_until = quiet_until
