"""What a gateway is told, as frozen values. Only `main` and the commands read files and the environment."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from forge_p2p.config import MIB, StoreConfig

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers may cost. Bytes and seconds."""

    rate: float = 200.0
    burst: float = 400.0
    """Requests a second, and at once, of one client: a token's holder, an IPv4 address, an IPv6 /64."""
    max_connections: int = 20_000
    header_timeout: float = 10.0
    """From the first byte of a request, or from connecting, until its headers are there."""
    idle_timeout: float = 75.0
    """A connection on which nothing is asked."""
    stall_timeout: float = 30.0
    """A client that takes or sends nothing of a body."""
    drain: float = 30.0
    """After SIGTERM: answers under way."""
    header_bytes: int = 8192
    """Of the request line, and of one header."""
    body_memory: int = 128 * MIB
    """Bodies read and not yet sent, of all connections together."""
    upload_max: int = 0
    """Bytes of one upload; 0: what the store's quota leaves."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """`public`: what needs no credential, each "NETWORK" (all that belongs to it) or "NETWORK/NAME" (what a name stands
    for; `*` at the end stands for the rest of the name). `proxies`: addresses whose X-Forwarded-For is believed;
    `scrapers`: who may read /metrics."""

    home: Path
    listen: str = "127.0.0.1:8080"
    tls_certificate: str = ""
    tls_key: str = field(default="", repr=False)
    public: tuple[str, ...] = ()
    proxies: tuple[Network, ...] = ()
    scrapers: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    answers: int = 64 * MIB
    """Bytes of ready answers in memory."""
    runs: int = 64 * MIB
    """Bytes of large files in memory that were read and verified in the last minute."""
    ref_age: float = 5.0
    """Seconds for which what a name stands for is taken from memory, here and by caches."""
    access_log: bool = True
    """One line of JSON a request, on standard output."""
    limits: Limits = field(default_factory=Limits)
    store: StoreConfig = field(default_factory=StoreConfig)
