"""Bodies on their way out: who waits for what."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

from forge_edge.content.pieces import Pieces
from forge_edge.content.place import Place
from forge_edge.serving.sending import _send

from forge_p2p.content.link import Kind, Link, Root, hash_bytes


class Response:
    """What a client has been sent."""

    def __init__(self) -> None:
        self.prepared = self.over = False
        self.body = b""

    async def prepare(self, _request: object) -> None:
        self.prepared = True

    async def write(self, data: bytes) -> None:
        self.body += data

    async def write_eof(self) -> None:
        self.over = True


class SlowNode:
    """A node whose peers take their time."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.come = asyncio.Event()

    async def stream(self, operation: str, **_arguments: object) -> AsyncGenerator[bytes]:
        assert operation == "relay"
        self.asked.set()
        await self.come.wait()
        yield b"first"
        yield b"second"


async def here() -> AsyncGenerator[list[bytes]]:
    yield [b"from ", b"the store"]


def test_who_waits_for_a_slow_peer_holds_up_nobody() -> None:
    async def run() -> None:
        limits = SimpleNamespace(stall_timeout=30.0)
        gateway: Any = SimpleNamespace(body_room=asyncio.Semaphore(1), settings=SimpleNamespace(limits=limits))
        asked: Any = SimpleNamespace(raw=None, sent=0)
        node, far, near = SlowNode(), Response(), Response()
        link = Link(hash_bytes(b"far"), 11, 0)
        place = Place(Root(Kind.BLOB, link), "network", held=False)
        with ThreadPoolExecutor(1) as executor:
            body = Pieces(cast("Any", None), cast("Any", node), executor, 0).read(place, link, 0, link.size)
            waiting = asyncio.ensure_future(_send(gateway, asked, cast("Any", far), cast("Any", body)))
            await node.asked.wait()
            async with asyncio.timeout(20):
                await _send(gateway, asked, cast("Any", near), cast("Any", here()))
            assert (near.body, near.over) == (b"from the store", True)
            assert not far.prepared, "nothing is promised before something came"
            node.come.set()
            await waiting
        assert (far.body, far.over) == (b"firstsecond", True)

    asyncio.run(run())
