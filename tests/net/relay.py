"""A UDP relay with faults, between real endpoints on real sockets."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import trio
import trio.socket

from forge_p2p.net.base import Address


class Relay:
    """Passes datagrams between one client and a server. `passes(datagram, to_server)` decides about each."""

    def __init__(self, server: Address, passes: Callable[[bytes, bool], bool]) -> None:
        self.passes = passes
        self.passed = 0
        """Bytes forwarded, both ways."""
        self.reordering = 0.0
        self.delay = 0.0
        self._random = Random(5)
        self._server = (server.host, server.port)
        self._client: tuple[str, int] | None = None
        self._sockets: list[trio.socket.SocketType] = []
        self._near = self._open()
        self._far = self._open()
        self._nursery: trio.Nursery | None = None

    @property
    def address(self) -> Address:
        host, port = self._near.getsockname()
        return Address(host, port)

    async def run(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        await self._near.bind(("127.0.0.1", 0))
        await self._far.bind(("127.0.0.1", 0))
        nursery.start_soon(self._to_server)
        nursery.start_soon(self._to_client, self._far)

    def close(self) -> None:
        for through in self._sockets:
            through.close()

    async def rebind(self) -> None:
        """From now on the client's datagrams reach the server from another port, as after a NAT's reboot."""
        assert self._nursery is not None
        self._far = self._open()
        await self._far.bind(("127.0.0.1", 0))
        self._nursery.start_soon(self._to_client, self._far)

    def _open(self) -> trio.socket.SocketType:
        self._sockets.append(trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM))
        return self._sockets[-1]

    async def _to_server(self) -> None:
        while True:
            data, self._client = await self._near.recvfrom(65_536)
            if self.passes(data, True):
                await self._forward(data, self._far, self._server)

    async def _to_client(self, far: trio.socket.SocketType) -> None:
        while True:
            data, _ = await far.recvfrom(65_536)
            if far is self._far and self._client is not None and self.passes(data, False):
                await self._forward(data, self._near, self._client)

    async def _forward(self, data: bytes, through: trio.socket.SocketType, to: tuple[str, int]) -> None:
        self.passed += len(data)
        delay = self.delay + (0.01 if self._random.random() < self.reordering else 0.0)
        if delay:
            assert self._nursery is not None
            self._nursery.start_soon(self._forward_later, delay, data, through, to)
        else:
            await through.sendto(data, to)

    async def _forward_later(
        self, delay: float, data: bytes, through: trio.socket.SocketType, to: tuple[str, int]
    ) -> None:
        await trio.sleep(delay)
        await through.sendto(data, to)


@asynccontextmanager
async def open_relay(
    server: Address, passes: Callable[[bytes, bool], bool] = lambda _data, _to_server: True
) -> AsyncIterator[Relay]:
    relay = Relay(server, passes)
    try:
        async with trio.open_nursery() as nursery:
            await relay.run(nursery)
            yield relay
            nursery.cancel_scope.cancel()
    finally:
        relay.close()


def narrow(size: int) -> Callable[[bytes, bool], bool]:
    """A path that swallows datagrams larger than `size`."""
    return lambda data, _to_server: len(data) <= size


def lossy(share: float) -> Callable[[bytes, bool], bool]:
    """A path that loses a share of all datagrams, the same ones in every run."""
    random = Random(9)
    return lambda _data, _to_server: random.random() >= share
