"""Settings, as frozen values. Only `cli` reads files and the environment; everything below gets these handed down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

MIB = 1024 * 1024
GIB = 1024 * MIB

KEEP_MAX = 1000
"""Versions of a name whose content may be kept: their records are read, and their pins looked at, whenever it moves."""


class Engine(Enum):
    """Which QUIC library drives the packets."""

    QH3 = "qh3"
    AIOQUIC = "aioquic"


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Bytes and seconds throughout."""

    quota: int = 0
    """Bytes the store may take on disk; 0 = as much as there is, less `reserve`."""
    reserve: int = 256 * MIB
    """Free bytes that are left to the file system."""
    high_watermark: float = 0.95
    low_watermark: float = 0.85
    """Shares of the quota: past the high one cached content goes until the low one is reached."""
    grace: float = 3600.0
    """Unpinned content younger than this is not collected."""
    hot_bytes: int = 64 * MIB
    """Size of the hot tier in memory; 0 turns it off."""


@dataclass(frozen=True, slots=True)
class NetConfig:
    engine: Engine = Engine.QH3
    max_connections: int = 1024
    max_connections_per_host: int = 64
    buffer_per_connection: int = 32 * MIB
    """Bytes received and not yet taken by the application; past it the connection ends."""
    datagram_size: int = 0
    """UDP payload bytes; 0 = discovered, between 1200 and 8952."""
    idle_timeout: float = 30.0
    dial_timeout: float = 10.0
    """Seconds to reach a peer; as long again for each to say who it is."""
    stall_timeout: float = 20.0
    """Seconds after which a peer that sends nothing of what was asked is left."""
    reconnect_timeout: float = 60.0
    """Seconds for which a peer that went away in the middle is waited for."""
    limit_up: float = 0.0
    limit_down: float = 0.0
    """Bytes of content a second, sent and received over all sessions together; 0 = as fast as it goes."""
    site: str = ""
    """A word that the machines of one place share: they are asked before others."""
    lan: bool = True
    """Whether the node announces itself on its LAN and looks for others there."""
    peers: tuple[str, ...] = ()
    """Nodes to connect to wherever they are, each as `NODEID@ADDR:PORT`."""


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """A bucket, and how it is reached. `docs/edge.md` has the meaning of each."""

    url: str
    """`s3://BUCKET/PREFIX`, `gs://`, `az://`, `file:///FOLDER` or `memory://NAME`; without secrets."""
    endpoint: str = ""
    """Of an S3 or Azure API that is not the provider's own: `https://ACCOUNT.r2.cloudflarestorage.com`."""
    region: str = ""
    cdn: str = ""
    """What blobs are read through: `https://cdn.example.com/PREFIX`."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By the names that they have in the environment: AWS_ACCESS_KEY_ID and so on."""
    cdn_query: str = field(default="", repr=False)
    """Goes after the address of what is read through the CDN: a signature."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    listen: str = "[::]:0"
    token: str = field(default="", repr=False)
    """FORGE_TOKEN: a network to be in for the life of this process."""
    edge_credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the environment says that opens buckets and CDNs."""
    store: StoreConfig = field(default_factory=StoreConfig)
    net: NetConfig = field(default_factory=NetConfig)
