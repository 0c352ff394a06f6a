"""What others have by now of what is shared here: who gives a root to several at once follows it at each of them.

The serving side thereby knows what spreads without its help and need not be sent once more (`proto.spread`). Nothing is
asked of who fetches alone, or is done within a second: most fetches are, and what they would tell costs more than it
could save.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from forge_p2p.errors import PeerError
from forge_p2p.ids import Hash, NetworkId, unpack_prefixes
from forge_p2p.node.membership.holdings import Holding
from forge_p2p.proto import outputs
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.node.sessions.peer import PeerSession

SETTLED = 1.0
"""Seconds after which somebody who follows a root here is followed; then, as often, it is looked whether others do."""

Heard = Callable[["PeerSession", Iterable[int]], None]
"""Told the 64-bit prefixes of chunks that a member has."""


class _Ear:
    """The handler of one FOLLOW. `over`: nothing more is to be heard."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self.over = trio.Event()

    def told(self, session: "PeerSession", message: messages.Told) -> None:
        if isinstance(message, messages.Holdings):
            self._heard(session, unpack_prefixes(message.prefixes))
            if message.complete:
                self.over.set()

    def unfollowed(self, session: "PeerSession", code: Code) -> None:
        self.over.set()


class Hearing:
    """All who are followed for this, by the FOLLOW of theirs that it answers."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._ears: dict[tuple[PeerSession, int], _Ear] = {}
        self._company: Counter[tuple[NetworkId, Hash]] = Counter()
        """How many follow each root here."""

    def statistics(self) -> int:
        """How many are listened to, or will be when they are not alone."""
        return len(self._ears)

    async def followed(self, session: "PeerSession", follow: outputs.FollowReceived, holding: Holding) -> None:
        """A member that fetches a root follows it here; returns when it does no more. Raises `PeerError`."""
        root = (holding.network, holding.root.link.hash)
        ear = self._ears[session, follow.request_id] = _Ear(self._heard)
        self._company[root] += 1
        try:
            await self._until_company(ear, root)
            if not ear.over.is_set():
                await _hear(session, holding, ear)
        finally:
            del self._ears[session, follow.request_id]
            self._company[root] -= 1
            if not self._company[root]:
                del self._company[root]

    async def _until_company(self, ear: _Ear, root: tuple[NetworkId, Hash]) -> None:
        alone = True
        while alone and not ear.over.is_set():
            with trio.move_on_after(SETTLED):
                await ear.over.wait()
            alone = self._company[root] < 2

    def cancelled(self, session: "PeerSession", request_id: int) -> None:
        """A member follows no longer."""
        ear = self._ears.get((session, request_id))
        if ear is not None:
            ear.over.set()

    def gone(self, session: "PeerSession") -> None:
        """The session is over."""
        for other, request_id in list(self._ears):
            if other is session:
                self.cancelled(session, request_id)


async def _hear(session: "PeerSession", holding: Holding, ear: _Ear) -> None:
    question = messages.Follow.of(holding.root.link.hash, (), follow_back=False)
    number = await session.follow(question, ear)
    await ear.over.wait()
    with suppress(PeerError):
        await session.unfollow(number)
