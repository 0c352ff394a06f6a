"""When a fetch asks the DHT who else has its root, and when it lets the DHT know of itself.

Both cost some thirty questions, and on a LAN, where few members are connected, as many handshakes. Of fifty agents that
started together each asked 270 questions and dialled 31 members meanwhile, which took their processors more time than
the content; now it is 12 and 5. So the DHT is for those whom nobody has told of enough sources.
"""

import random
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.contact import Contact
from forge_p2p.ids import Hash
from forge_p2p.node.until import Until

if TYPE_CHECKING:
    from forge_p2p.node.membership.lookups import Lookups
    from forge_p2p.node.sessions.peer import PeerSession

HEARD = 1.0
"""Seconds in which the members connected say whether they have something of it, before the DHT is asked; most have
said so after a round trip."""

LOOK_FOR_MORE = 2.0
"""Seconds in which who has everything may name others, before the DHT is asked for more."""

LOOK_AGAIN_FIRST, LOOK_AGAIN_MAX = 0.5, 30.0
"""Seconds until the DHT is asked again who has a root, doubled each time: some start at the same time."""

WELL_FED = 4
"""With so many sources, one of which has everything, the DHT is not asked."""

ANNOUNCE_LATER = 20.0
"""Seconds, a half more or less by chance, until one of so many announces itself: the others are found meanwhile, and an
agent that has gone by then has cost nobody an announcement and its withdrawal."""


class Supply:
    """The sources of one fetch. `until` is told when they are others."""

    def __init__(self) -> None:
        self.sessions: set[PeerSession] = set()
        self.ever = False
        """Whether there ever was one."""
        self.until = Until()
        self._complete: set[PeerSession] = set()
        self._lookups: set[trio.CancelScope] = set()

    def add(self, session: "PeerSession", *, complete: bool) -> bool:
        """A member has something of it, or all. Whether it is a source since just now."""
        new = session not in self.sessions
        self.ever = True
        self.sessions.add(session)
        if complete:
            self._complete.add(session)
        if self.is_enough:
            for lookup in self._lookups:
                lookup.cancel()
        self.until.changed()
        return new

    def remove(self, session: "PeerSession") -> bool:
        """It is a source no more. Whether it was one."""
        was = session in self.sessions
        self.sessions.discard(session)
        self._complete.discard(session)
        self.until.changed()
        return was

    @property
    def has_all(self) -> bool:
        """Whether a source has everything."""
        return bool(self._complete)

    @property
    def is_enough(self) -> bool:
        """Whether there are sources enough."""
        return self.has_all and len(self.sessions) >= WELL_FED

    async def look(
        self, lookups: "Lookups", root: Hash, asked: Callable[[], bool], found: Callable[[Contact], None]
    ) -> None:
        """Asks the DHT now and then, unless there are sources enough, and lets it know of this node if none has all.
        `asked`: whether members are being asked; `until` is told of that, too. Ends by being cancelled."""
        delay = LOOK_AGAIN_FIRST
        with trio.move_on_after(HEARD):
            await self.until.true(lambda: self.has_all or not asked())
        if self.has_all:
            await trio.sleep(LOOK_FOR_MORE)
        while True:
            if not self.is_enough:
                await self._look_once(lookups, root, found)
            if self.ever and not self.has_all:
                self.announce(lookups, root)
            await trio.sleep(delay * (0.75 + random.random() / 2))
            delay = min(2 * delay, LOOK_AGAIN_MAX)

    async def _look_once(self, lookups: "Lookups", root: Hash, found: Callable[[Contact], None]) -> None:
        with trio.CancelScope() as lookup:
            self._lookups.add(lookup)
            async with aclosing(lookups.providers(root)) as providers:
                async for contact in providers:
                    found(contact)
        self._lookups.discard(lookup)

    def announce(self, lookups: "Lookups", root: Hash) -> None:
        """Lets the DHT know that some of it is here, soon if few others have it."""
        lookups.announce(root, ANNOUNCE_LATER * (0.5 + random.random()) if self.is_enough else 0.0)
