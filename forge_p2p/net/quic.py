"""Opens QUIC endpoints."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import NetConfig
from forge_p2p.net.base import Address
from forge_p2p.net.endpoint import QuicEndpoint
from forge_p2p.net.engine import make_engine
from forge_p2p.net.lifetime import alive
from forge_p2p.net.tls import make_identity
from forge_p2p.net.udp import UdpSocket


@asynccontextmanager
async def open_endpoint(
    listen: Address, key: Ed25519PrivateKey, config: NetConfig, *, offload: bool = True
) -> AsyncIterator[QuicEndpoint]:
    """An endpoint bound to `listen`, as the node of `key`. Leaving the context closes every connection, telling the
    peers, and the socket. `offload`: use segmentation offload where the kernel has it. Raises `PeerError`."""
    engines = make_engine(make_identity(key), config)
    with closing(UdpSocket.bind(listen, offload=offload)) as socket:
        endpoint = QuicEndpoint(socket, engines, config)
        async with alive(endpoint, endpoint.start):
            yield endpoint
