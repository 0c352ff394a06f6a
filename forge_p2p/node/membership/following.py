"""The telling side of a swarm: members follow a root here and are told what of it is here, and who else follows it.

What arrives is told in batches, as 64-bit prefixes of chunk hashes: 8 bytes for some 64 KiB of content and follower. A
new follower is named to the others and they to it, so that those who start together find each other at the one place
that all of them know.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.contact import ADDRESSES_MAX, Contact, means_something_elsewhere
from forge_p2p.errors import PeerError
from forge_p2p.ids import Hash, pack_prefixes
from forge_p2p.node.groups import contained
from forge_p2p.node.membership.holdings import Holding, Holdings
from forge_p2p.proto import outputs
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.limits import FOLLOWERS_COUNT, PREFIXES_MAX, WITHHELD_LEAST

if TYPE_CHECKING:
    from forge_p2p.node.sessions.peer import MemberSide, PeerSession

INTERVAL = 0.1
"""Seconds between two tellings. Others know of a chunk, on average, half of that after it was stored. Measured with
eight agents: at 0.05 telling and being told took a tenth of an agent's processor time, and 0.2 saved little more."""

ENOUGH, GATHER = 8, 0.4
"""So many chunks, some 512 KiB, are told at the next telling; fewer are gathered for so many seconds. What comes slowly
comes to many at once, over a narrow link: each chunk told for itself took more of fifty agents' time than its bytes."""

GATHER_MOST = 1.2
"""Seconds for which they are gathered at most, where this node comes too late to everything, because its processors are
busy: with telling, among other things. Where that is not so, gathering for longer only makes all later."""

_LATE_MEMORY = 8

NAMED_MAX = 64
"""Others whom one follower is told of, all in all: some times the connections that it will make."""


@dataclass(slots=True, eq=False)
class _Follower:
    """One session that follows one holding, and what it has to be told."""

    session: "PeerSession"
    request_id: int
    holding: Holding
    contact: Contact
    fetches: bool
    """It has something to tell itself, and others are told of it."""
    previous: bool = False
    """The earlier version that it named is here, too."""
    arrived: list[int] = field(default_factory=list)
    others: list[Contact] = field(default_factory=list)
    named: int = 0
    told_at: float = -math.inf
    told_complete: bool = False
    withheld: int = 0
    """Chunks that are here and that it would rather reconcile than be told; until it has been told so."""
    telling: bool = True
    """Not before it is known what it may name as bases."""
    wake: Callable[[], None] = lambda: None

    def arrive(self, prefixes: Sequence[int]) -> None:
        """More of the holding is here, or all of it."""
        self.arrived.extend(prefixes)
        self.wake()

    def introduce(self, other: Contact) -> None:
        """Somebody else follows the same root."""
        if self.named < NAMED_MAX:
            self.named += 1
            self.others.append(other)
            self.wake()

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell."""
        completed = self.holding.complete and not self.told_complete
        return bool(self.arrived or self.others or self.withheld or completed)

    def is_due(self, now: float, gather: float) -> bool:
        """Whether that is to be told now and not with what comes next; `gather`: seconds that few chunks may wait."""
        pressing = self.others or self.withheld or self.holding.complete or len(self.arrived) >= ENOUGH
        return self.has_news and (bool(pressing) or now >= self.told_at + gather)

    def take_news(self, now: float) -> list[messages.Told]:
        """What there is to tell, in messages."""
        self.told_at = now
        news: list[messages.Told] = []
        holding = self.holding
        arrived, self.arrived = self.arrived, []
        withheld, self.withheld = self.withheld, 0
        if holding.complete and not self.told_complete:
            self.told_complete = True
            news.append(messages.Holdings(True, holding.origin, b"", self.previous))
        else:
            if withheld:
                news.append(messages.Holdings(False, holding.origin, b"", self.previous, withheld))
            for start in range(0, len(arrived), PREFIXES_MAX):
                part = arrived[start : start + PREFIXES_MAX]
                news.append(messages.Holdings(False, holding.origin, pack_prefixes(part), self.previous))
        others, self.others = self.others[:FOLLOWERS_COUNT], self.others[FOLLOWERS_COUNT:]
        if others:
            news.append(messages.Followers.of(others))
        return news


class Following:
    """All followers at this node."""

    def __init__(self, holdings: Holdings, rng: random.Random | None = None) -> None:
        self._holdings = holdings
        self._rng = rng or random.Random()
        self._followers: dict[PeerSession, dict[int, _Follower]] = {}
        self._news = trio.Event()

    async def followed(self, session: "PeerSession", event: outputs.FollowReceived) -> None:
        """A member wants to know about a root. What is not here and what is not in its network get the same answer.
        Raises `PeerError` when the member has gone."""
        member = session.member
        holding = self._holdings.find(member.network, Hash(event.message.root)) if member is not None else None
        if member is None or holding is None or not await self._holdings.ready(holding):
            await session.finish(event.request_id, Code.OK, "")
            return
        member.scope.open(holding)
        contact, fetches = _contact_of(session, event.message), event.message.follow_back
        follower = _Follower(session, event.request_id, holding, contact, fetches)
        follower.wake = self._wake
        self._holdings.use(holding)
        if not holding.complete:
            holding.watchers.add(follower.arrive)
            if event.message.withhold and len(holding.arrived) > WITHHELD_LEAST:
                follower.withheld = len(holding.arrived)
                follower.wake()
            else:
                follower.arrive(list(holding.arrived))
        if fetches:
            self._introduce(follower)
        self._followers.setdefault(session, {})[event.request_id] = follower
        follower.previous = await self._open_previous(member, event.message.previous)
        await self._tell(follower)

    async def _open_previous(self, member: "MemberSide", root: bytes) -> bool:
        """Lets a member name the chunks of a root as bases, if it is here and of its network."""
        holding = self._holdings.find(member.network, Hash(root)) if root else None
        if holding is None or not holding.complete or not await self._holdings.ready(holding):
            return False
        member.scope.open(holding)
        return True

    def cancelled(self, session: "PeerSession", request_id: int) -> None:
        """A member follows no longer."""
        follower = self._followers.get(session, {}).pop(request_id, None)
        if follower is not None:
            follower.holding.watchers.discard(follower.arrive)
            self._holdings.leave(follower.holding)

    def gone(self, session: "PeerSession") -> None:
        """The session is over."""
        for request_id in list(self._followers.get(session, ())):
            self.cancelled(session, request_id)
        self._followers.pop(session, None)

    async def run(self) -> None:
        """Tells what has arrived, until cancelled."""
        late = 0.0
        async with trio.open_nursery() as nursery:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                now = trio.current_time()
                gather = gathering(late)
                for follower in [each for group in self._followers.values() for each in group.values()]:
                    if not follower.telling and follower.is_due(now, gather):
                        nursery.start_soon(self._tell, follower)
                    elif follower.has_news:
                        self._news.set()
                await trio.sleep(INTERVAL)  # the first news at once, what follows gathered
                late += (trio.current_time() - now - INTERVAL - late) / _LATE_MEMORY

    def _wake(self) -> None:
        self._news.set()

    async def _tell(self, follower: _Follower) -> None:
        """One task a follower at a time: who does not read is told less often, and of more at once."""
        follower.telling = True
        with contained("telling a follower"):
            try:
                now = trio.current_time()
                for message in follower.take_news(now):
                    follower.session.session.tell(follower.request_id, message, now)
                await follower.session.flush()
            except PeerError:
                return  # the session's own task says what happened
            finally:
                follower.telling = False

    def _introduce(self, new: _Follower) -> None:
        """Names a follower to the others and some of them to it."""
        others = [
            each
            for group in self._followers.values()
            for each in group.values()
            if each.fetches and each.holding is new.holding and each.contact.node_id != new.contact.node_id
        ]
        self._rng.shuffle(others)
        for other in others[:FOLLOWERS_COUNT]:
            new.introduce(other.contact)
            other.introduce(new.contact)


def gathering(late: float) -> float:
    """Seconds for which few chunks are gathered by a node that wakes so many seconds late, on average."""
    return min(GATHER * (1 + max(late, 0.0) / INTERVAL), GATHER_MOST)


def _contact_of(session: "PeerSession", follow: messages.Follow) -> Contact:
    """Where a follower says it can be reached, after where it was seen: that is its own socket's, too."""
    assert session.peer_id is not None
    seen = (session.connection.address.host, session.connection.address.port)
    places = dict.fromkeys(place for place in (seen, *follow.addresses) if means_something_elsewhere(place[0]))
    return Contact(session.peer_id, tuple(places)[:ADDRESSES_MAX])
