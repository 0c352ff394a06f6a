"""What has arrived and waits for the application: events in order, counted in bytes."""

import trio

from forge_p2p.errors import PeerError
from forge_p2p.net.base import NetEvent, StreamData

EVENT_COST = 128
"""Bytes that an event counts for beside its data, so that a flood of empty ones fills the cap too."""


class Inbox:
    """Holds at most `cap` bytes. What came before the end of the connection can still be taken after it."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.unread = 0
        self._events: list[NetEvent] = []
        self._changed = trio.Event()
        self._end: PeerError | None = None

    def put(self, event: NetEvent) -> bool:
        """False, and nothing is kept, where the event would pass the cap."""
        size = EVENT_COST + (len(event.data) if isinstance(event, StreamData) else 0)
        if self.unread + size > self.cap:
            return False
        self.unread += size
        self._events.append(event)
        self._changed.set()
        return True

    def end(self, reason: PeerError) -> None:
        """Nothing more will come; the first reason stays."""
        if self._end is None:
            self._end = reason
            self._changed.set()

    async def take(self) -> list[NetEvent]:
        """All that waits, at least one event. Raises the reason of the end once nothing is left."""
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._end is not None:
                raise self._end
            self._changed = trio.Event()
            await self._changed.wait()
        events, self._events = self._events, []
        self.unread = 0
        return events
