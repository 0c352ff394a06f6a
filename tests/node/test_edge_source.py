"""Which of several agents asks the bucket first for what."""

import trio
import trio.testing

from forge_p2p.config import EdgeConfig
from forge_p2p.content.bundle import Slice
from forge_p2p.content.codec import Codec
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.edge.settings import EdgeRecord
from forge_p2p.node.edge.source import PIECE, TURN, EdgeSource
from forge_p2p.wire.codes import Code

AGENTS = [NodeId(bytes([number]) * 32) for number in range(4)]
SLICES = [
    Slice(Hash(bytes([number]) * 32), Hash(bytes([number % 2]) * 32), number * PIECE // 4, 1000, 1000, Codec.RAW, 0)
    for number in range(200)
]


def source(own: NodeId, fellows: list[NodeId], nursery: trio.Nursery) -> EdgeSource:
    edge = Edge(EdgeRecord("memory://source", "0" * 64), EdgeConfig("memory://source"), None)
    return EdgeSource(edge, own, lambda: fellows, nursery)


async def test_each_piece_is_somebodys_and_nobody_elses(autojump_clock: trio.testing.MockClock) -> None:
    taken: list[Slice] = []
    async with trio.open_nursery() as nursery:
        for own in AGENTS:
            fellows = [agent for agent in AGENTS if agent != own]
            chosen, code = source(own, fellows, nursery)._choose(SLICES, 1 << 30, sparing=True)
            assert code is Code.ELSEWHERE
            assert 20 < len(chosen) < 90
            taken += chosen
    assert sorted(taken, key=str) == sorted(SLICES, key=str)


async def test_alone_everything_is_ours(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        chosen, code = source(AGENTS[0], [], nursery)._choose(SLICES, 1 << 30, sparing=True)
        assert (len(chosen), code) == (len(SLICES), Code.OK)


async def test_no_more_than_was_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        chosen, code = source(AGENTS[0], [], nursery)._choose(SLICES, 5500, sparing=True)
        assert (len(chosen), code) == (5, Code.BUDGET)


async def test_who_has_nothing_left_helps_the_others(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        asking = source(AGENTS[0], AGENTS[1:], nursery)
        mine, _ = asking._choose(SLICES, 1 << 30, sparing=True)
        others = [each for each in SLICES if each not in mine]
        counts = []
        for _ in AGENTS:
            counts.append(len(asking._choose(others, 1 << 30, sparing=True)[0]))
            await trio.sleep(TURN)
        assert counts[0] == 0
        assert counts == sorted(counts)
        assert counts[-1] == len(others)
        assert len(asking._choose(SLICES, 1 << 30, sparing=True)[0]) == len(mine), "its own come first again"
