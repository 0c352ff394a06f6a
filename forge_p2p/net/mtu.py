"""How large a datagram may be: what the route promises, and what turns out to get through.

QUIC spends its time per datagram, so where the route takes more than Ethernet's 1500 bytes (loopback, jumbo frames)
both ends offer up to 8952; a smaller route gets smaller ones from the start. Nothing is sent to verify the offer, so
small exchanges cost no byte more. Only when packets get lost is the path asked whether their size is the cause: a
DATAGRAM frame (RFC 9221) that fills a packet, which the other side confirms with a small one. After four of those
without an answer, while losses go on (an application that does not read delays answers, but loses nothing), the
connection continues with smaller datagrams in this direction, and the host is remembered for later connections.
"""

import secrets
import socket
from collections.abc import Callable

from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address
from forge_p2p.net.engine import EngineConnection

SMALLEST = 1200
USUAL = 1452
LARGEST = 8952
"""UDP payload bytes: what QUIC requires of every path; Ethernet's 1500, and jumbo frames' 9000, less IPv6 and UDP
headers. Above jumbo size the gain no longer pays for the buffers (docs/transport.md)."""

OVERHEAD = 48
REMEMBERED = 3600.0
MAX_REMEMBERED = 1024
"""Seconds and hosts."""

ATTEMPTS = 4
FIRST_WAIT = 0.1
QUIET = 10.0
"""Seconds: between the first probe and the second, doubling after that; and from an answer to the next question."""

_IP_MTU = 14
_IPV6_MTU = 24
"""linux/in.h, linux/in6.h: path MTU of a connected socket as the kernel knows it."""

_PROBE, _ANSWER = b"\1", b"\2"
_ID_SIZE = 8


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


class PathProbe:
    """Watches one established connection's losses. `narrowed` is called with the new size when it comes to that."""

    def __init__(self, engine: EngineConnection, narrowed: Callable[[int], None]) -> None:
        self.deadline: float | None = None
        self._engine = engine
        self._narrowed = narrowed
        self._lost = engine.lost
        self._quiet_until = 0.0
        self._attempts = 0
        self._id = b""

    def step(self, now: float) -> None:
        """Asks, repeats or gives up on the size, whichever is due."""
        if self.deadline is None:
            if self._engine.lost == self._lost or now < self._quiet_until or self._engine.datagram_size <= SMALLEST:
                return
            self._attempts = 0
            self._lost = self._engine.lost
            self._id = secrets.token_bytes(_ID_SIZE)
        elif now < self.deadline:
            return
        if self._attempts == ATTEMPTS:
            if self._engine.lost - self._lost >= ATTEMPTS:
                self.narrow()
            else:
                self._settle(now + QUIET)
            return
        self._engine.send_datagram((_PROBE + self._id).ljust(self._engine.datagram_room, b"\0"))
        self.deadline = now + max(FIRST_WAIT, 3 * self._engine.round_trip) * (1 << self._attempts)
        self._attempts += 1

    def received(self, data: bytes, now: float) -> None:
        """A DATAGRAM frame: another's question is answered, an answer to ours ends it, all else is ignored."""
        kind, probe_id = data[:1], data[1 : 1 + _ID_SIZE]
        if kind == _PROBE and len(probe_id) == _ID_SIZE:
            self._engine.send_datagram(_ANSWER + probe_id)
        elif kind == _ANSWER and self.deadline is not None and probe_id == self._id:
            self._settle(now + QUIET)

    def narrow(self) -> None:
        """Takes the next smaller size; should that be too large as well, the next losses will tell."""
        size = USUAL if self._engine.datagram_size > USUAL else SMALLEST
        self._engine.limit_datagrams(size)
        self._settle(0.0)
        self._narrowed(size)

    def _settle(self, quiet_until: float) -> None:
        self.deadline = None
        self._lost = self._engine.lost
        self._quiet_until = quiet_until
