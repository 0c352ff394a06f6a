"""The one peer of a ticket, as the source of a fetch: connected while there is something to fetch."""

import math
from collections.abc import Awaitable, Callable

import trio

from forge_p2p.errors import ForgeError, PeerError, Refused
from forge_p2p.node.fetch.receiving import Receiver
from forge_p2p.node.sessions.peer import PeerSession

RETRY_DELAY = 0.2
RETRY_DELAY_MAX = 5.0
"""Seconds between attempts to reach a peer that was there, doubled each time."""

Connect = Callable[[], Awaitable[PeerSession]]


class OneSource:
    """Feeds a receiver from sessions with one peer, made by `connect`. `patience`: seconds for which the peer is waited
    for when it went away."""

    def __init__(self, connect: Connect, patience: float) -> None:
        self._connect = connect
        self._patience = patience

    async def feed(self, receiver: Receiver) -> None:
        """Holds one session while there is something to fetch. A peer that was there and goes away is waited for; one
        that never was, that refuses or that breaks the protocol is not. Raises `PeerError` or `Refused`."""
        was_there = False
        given_up_at = math.inf
        delay = RETRY_DELAY
        while True:
            await receiver.needed()
            receiver.progressed = False
            try:
                session = await self._connect()
            except PeerError as error:
                reason: ForgeError = error
                again = was_there
            else:
                reason = await _hold(receiver, session)
                was_there = was_there or session.peer_id is not None
                again = was_there and session.retryable
            if receiver.progressed or given_up_at == math.inf:
                given_up_at = trio.current_time() + self._patience
                delay = RETRY_DELAY
            if not again or isinstance(reason, Refused):
                raise reason
            if trio.current_time() + delay > given_up_at:
                hint = "what has arrived is kept: the same command goes on where this one stopped"
                raise PeerError(f"{reason.message}; it did not come back", hint=hint) from reason
            await trio.sleep(delay)
            delay = min(2 * delay, RETRY_DELAY_MAX)


async def _hold(receiver: Receiver, session: PeerSession) -> ForgeError:
    """Fetches by `session` until it ends; why it did."""
    receiver.add_source(session)
    await session.ended.wait()
    reason = session.reason or PeerError(f"the peer at {session.where} closed the connection")
    receiver.remove_source(session, reason.message)
    return reason
