"""How many requests one client may make: a token bucket each, the least recently seen forgotten first."""

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from forge_p2p.proto.timers import TokenBucket

CLIENTS_MAX: Final = 65_536
"""Clients remembered. Whoever has that many addresses gets that many buckets' worth; `max_connections` is for them."""


class ClientLimits:
    """`rate` requests a second and `burst` at once for each client. `clock` gives seconds."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def wait(self, client: str) -> float:
        """0 if the client may go on; else the seconds, at least one, after which it should try again."""
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = TokenBucket.full(self._rate, self._burst)
            if len(self._buckets) > CLIENTS_MAX:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(client)
        return 0.0 if bucket.try_take(1.0, self._clock()) else max(1.0, 1.0 / self._rate)


def client_of(address: str) -> str:
    """Whom an address stands for: itself, or the /64 that an IPv6 host can choose its addresses from."""
    if ":" not in address:
        return address
    plain = plain_address(address)
    return str(plain) if plain.version == 4 else str(ip_network((plain, 64), strict=False))


def plain_address(text: str) -> IPv4Address | IPv6Address:
    """Without a zone, and as IPv4 if it is that, mapped into IPv6. Raises `ValueError` for what is no address."""
    parsed = ip_address(text.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed
