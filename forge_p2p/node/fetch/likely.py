"""Members who never heard of a root and may have much of it all the same: an earlier version, the same files elsewhere.

Each is asked for its summary once there is enough to fetch that the answer is worth its bytes, and again now and then
while there still is. What the summary names is asked of it before anybody who is to be spared; what it turns out to
lack costs a question.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import trio

from forge_p2p.content.summary import HeardSummary
from forge_p2p.ids import NetworkId, prefix_of
from forge_p2p.node.groups import contained
from forge_p2p.node.sessions.handlers import ChunkSource
from forge_p2p.proto.hello import SETS
from forge_p2p.proto.swarm import Distance, Item, Swarm

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.sessions.peer import PeerSession

WORTH_ASKING = 512 * 1024
"""Raw bytes still wanted below which nobody is asked: a small change is one request to who has it."""

PRICE = 16
"""A summary may have one byte for so many that are wanted; who answers that it has more is asked again when there are
four times as many."""

ASKED_MAX = 12
"""Members asked in one fetch."""

AGAIN = 15.0
"""Seconds until a member is asked what has come since."""


class LikelySink(Protocol):
    """The receiver's side."""

    async def much_wanted(self, least: int) -> int: ...

    def may_have(self, session: "PeerSession", summary: HeardSummary, distance: Distance) -> None: ...

    def remove_source(self, session: "PeerSession", reason: str) -> None: ...


class Likely:
    """Those of one fetch. `held_in`: the networks in which somebody has the root; members of others are asked for none
    of its chunks. `used` is given the sessions that told something."""

    def __init__(self, members: "Members", sink: LikelySink, held_in: set[NetworkId], used: "set[PeerSession]") -> None:
        self._members = members
        self._sink = sink
        self._held_in = held_in
        self._used = used
        self._asked: set[PeerSession] = set()

    async def ask(self, session: "PeerSession") -> None:
        """Asks a member for as long as the fetch goes on; runs until cancelled, or there is nobody to ask."""
        if session.member is None or SETS not in session.capabilities:
            return
        if session in self._asked or len(self._asked) >= ASKED_MAX:
            return
        self._asked.add(session)
        with contained("asking for a summary"):
            try:
                await self._ask(session, session.member.network)
            finally:
                self._asked.discard(session)

    async def _ask(self, session: "PeerSession", network: NetworkId) -> None:
        least = WORTH_ASKING
        while not session.ended.is_set():
            wanted = await self._sink.much_wanted(least)
            if network in self._held_in:
                summary = await self._members.summaries.of(session, wanted // PRICE)
                if summary is None:
                    least = 4 * max(least, wanted)
                    continue
                self._used.add(session)
                self._sink.may_have(session, summary, self._members.distance(session))
            with trio.move_on_after(AGAIN):
                await session.ended.wait()
        self._sink.remove_source(session, "it has left")


class Hearsay:
    """What a fetch makes of summaries: who seems to have what is wanted becomes a source for that."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._heard: dict[ChunkSource, tuple[HeardSummary, Distance]] = {}

    def add(self, session: ChunkSource, summary: HeardSummary, distance: Distance) -> None:
        """A peer has told its summary, or more of it."""
        self._heard[session] = (summary, distance)
        self._look(session, list(self._swarm.prefixes))

    def remove(self, session: ChunkSource) -> None:
        """The peer is not to be asked any more."""
        self._heard.pop(session, None)

    def offered(self, items: Sequence[Item]) -> None:
        """More is wanted."""
        if self._heard:
            prefixes = [prefix_of(item.hash) for item in items]
            for session in self._heard:
                self._look(session, prefixes)

    def _look(self, session: ChunkSource, prefixes: list[int]) -> None:
        summary, distance = self._heard[session]
        named = summary.among(prefixes)
        if named:
            now = trio.current_time()
            self._swarm.add_peer(session, now, distance=distance, complete=False, likely=True)
            self._swarm.holds(session, named, now)
