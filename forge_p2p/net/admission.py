"""Who gets a handshake, and how many connections there may be: the counts, and the Retry tokens.

A handshake costs a signature, a key exchange and some 100 KB before the client has shown anything, not even that its
address is real. So few may be under way for unproven addresses; past that a client is answered with a Retry packet (RFC
9000 section 8.1.2), which costs one hash and no memory, and has to come back with the token from it. Proven addresses
are limited each by itself. Whoever is over a limit of handshakes gets no answer; whoever completes one over a limit of
connections is told so.
"""

import hmac
import ipaddress
import secrets
import struct
from collections import Counter
from enum import Enum
from hashlib import blake2b

from forge_p2p.config import NetConfig
from forge_p2p.net.packets import MAX_CONNECTION_ID, Initial

HALF_OPEN = 256
HALF_OPEN_PER_HOST = 32
HALF_OPEN_UNPROVEN = 64
"""Handshakes under way: in all, for one proven host, and for addresses that are not proven."""

TOKEN_LIFETIME = 30
"""Seconds from Retry to the Initial that brings its token."""

_TOKEN_HEAD = struct.Struct(">QB")
_MAC_SIZE = 16


class Verdict(Enum):
    ADMIT = "admit"
    PROVE = "prove"
    DROP = "drop"


class Admission:
    """Counts accepted connections by stage and host. A `host` is an IPv4 address or an IPv6 /64, since whoever has one
    address of a /64 has them all."""

    def __init__(self, config: NetConfig) -> None:
        self._config = config
        self._unproven = 0
        self._proving: Counter[str] = Counter()
        self._open: Counter[str] = Counter()

    def judge(self, host: str, *, proven: bool) -> Verdict:
        """What to do with a first packet from `host`."""
        if self.half_open >= HALF_OPEN:
            return Verdict.DROP
        if proven:
            return Verdict.DROP if self._proving[host] >= HALF_OPEN_PER_HOST else Verdict.ADMIT
        return Verdict.PROVE if self._unproven >= HALF_OPEN_UNPROVEN else Verdict.ADMIT

    def begin(self, host: str, *, proven: bool) -> None:
        if proven:
            self._proving[host] += 1
        else:
            self._unproven += 1

    def end_handshake(self, host: str, *, proven: bool) -> None:
        if proven:
            _decrease(self._proving, host)
        else:
            self._unproven -= 1

    @property
    def half_open(self) -> int:
        """Handshakes under way."""
        return self._unproven + self._proving.total()

    def has_room(self, host: str, connections: int) -> bool:
        """Whether one more accepted connection of `host` may stay, beside `connections` of all kinds."""
        config = self._config
        return connections < config.max_connections and self._open[host] < config.max_connections_per_host

    def opened(self, host: str) -> None:
        self._open[host] += 1

    def closed(self, host: str) -> None:
        _decrease(self._open, host)


class RetryTokens:
    """Tokens that say: the client at this address chose this first connection id, a moment ago. Nothing is stored; the
    key lives as long as the endpoint."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, address: str, original_id: bytes, new_id: bytes, now: float) -> bytes:
        """For the client at `address`, told to use `new_id`. `now`: seconds on any clock that does not go back."""
        head = _TOKEN_HEAD.pack(int(now) + TOKEN_LIFETIME, len(original_id)) + original_id
        return head + self._mac(address, head, new_id)

    def original_id(self, address: str, initial: Initial, now: float) -> bytes | None:
        """The connection id that the client began with, if its packet carries our token, in time and from `address`."""
        token = initial.token
        if not _TOKEN_HEAD.size + _MAC_SIZE <= len(token) <= _TOKEN_HEAD.size + MAX_CONNECTION_ID + _MAC_SIZE:
            return None
        expires, length = _TOKEN_HEAD.unpack_from(token)
        head, mac = token[:-_MAC_SIZE], token[-_MAC_SIZE:]
        if not hmac.compare_digest(mac, self._mac(address, head, initial.destination_id)) or expires < now:
            return None
        return head[_TOKEN_HEAD.size : _TOKEN_HEAD.size + length]

    def _mac(self, address: str, head: bytes, new_id: bytes) -> bytes:
        message = b"\0".join((address.encode(), bytes([len(head)]) + head, new_id))
        return blake2b(message, key=self._key, digest_size=_MAC_SIZE).digest()


def host_key(host: str) -> str:
    """What counts as one host: see `Admission`."""
    if ":" not in host:
        return host
    network = ipaddress.IPv6Network((host.partition("%")[0], 64), strict=False)
    return str(network.network_address)


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
