"""Damaged chunks are fetched again from where they came from."""

from collections.abc import Sequence

import trio

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import ForgeError
from forge_p2p.ids import Hash
from forge_p2p.node.fetch.fetching import fetching
from forge_p2p.node.fetch.placing import NodeTarget, Slot
from forge_p2p.node.fetch.receiving import Receiver
from forge_p2p.node.network import Network
from forge_p2p.node.sources import Sources

BATCH = 64
"""Chunks fetched at once: they are held in memory until they are in the store."""

SOURCES_TRIED = 8


async def heal(network: Network, damaged: Sequence[Hash]) -> int:
    """Fetches what it can of `damaged` from the sources remembered; returns how many are whole again."""
    lost = list(damaged)
    for target in Sources(network.node.home).all()[:SOURCES_TRIED]:
        for start in range(0, len(lost), BATCH):
            part = lost[start : start + BATCH]

            async def produce(receiver: Receiver, part: Sequence[Hash] = part) -> None:
                await receiver.want([(chunk, CHUNK_MAX, Slot(NodeTarget())) for chunk in part], urgent=True)

            try:
                async with fetching(network, target) as fetch:
                    try:
                        await fetch.run(produce, lambda counts: None)
                    finally:
                        await fetch.commit()
            except ForgeError:
                continue  # this source is gone, or lacks some; the next may have them
        lost = await trio.to_thread.run_sync(network.node.store.missing, lost)
        if not lost:
            break
    return len(damaged) - len(lost)


class Healer:
    """The running node's: takes reports of damage from any thread and heals in the background."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._token = trio.lowlevel.current_trio_token()
        self._send, self._receive = trio.open_memory_channel[Hash](10_000)

    def report(self, damaged: Sequence[Hash]) -> None:
        """Takes hashes that were just quarantined. Past ten thousand waiting, the rest is left to a verify."""
        self._token.run_sync_soon(self._queue, list(damaged))

    async def run(self) -> None:
        """Heals what is reported, until cancelled."""
        async for chunk in self._receive:
            batch = [chunk]
            while len(batch) < BATCH:
                try:
                    batch.append(self._receive.receive_nowait())
                except trio.WouldBlock:
                    break
            await heal(self._network, batch)

    def _queue(self, damaged: Sequence[Hash]) -> None:
        for chunk in damaged:
            try:
                self._send.send_nowait(chunk)
            except trio.WouldBlock:
                return
