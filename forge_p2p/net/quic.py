"""Opens QUIC endpoints."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import NetConfig
from forge_p2p.net.base import Address
from forge_p2p.net.endpoint import QuicEndpoint
from forge_p2p.net.engine import make_engine
from forge_p2p.net.tls import make_identity
from forge_p2p.net.udp import UdpSocket


@asynccontextmanager
async def open_endpoint(
    listen: Address, key: Ed25519PrivateKey, config: NetConfig, *, offload: bool = True
) -> AsyncIterator[QuicEndpoint]:
    """An endpoint bound to `listen`, as the node of `key`. Leaving the context closes every connection, telling the
    peers, and the socket. `offload`: use segmentation offload where the kernel has it. Raises `PeerError`."""
    engines = make_engine(make_identity(key), config)
    failure: Exception | None = None
    with closing(UdpSocket.bind(listen, offload=offload)) as socket:
        async with trio.open_nursery() as nursery:
            endpoint = QuicEndpoint(socket, engines, config)
            endpoint.start(nursery)
            try:
                yield endpoint
            except Exception as error:  # noqa: BLE001 - raised again below, where the nursery cannot wrap it in a group
                failure = error
            finally:
                await endpoint.aclose()
                nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
