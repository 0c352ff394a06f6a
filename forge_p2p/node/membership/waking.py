"""The machine slept, or has other addresses: what sessions knew before need not be true any more.

A laptop that wakes would otherwise wait for the idle timeout before it dials anew, half a minute in which its peers
have long given it up; one that went from Wi-Fi to cable likewise. So every session is asked for a sign of life, those
that give none end within seconds, and whoever is known is dialled again without the pauses that failures had earned.
"""

import socket
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from forge_p2p.errors import PeerError
from forge_p2p.net.interfaces import interfaces, watch_interfaces
from forge_p2p.node.groups import contained

if TYPE_CHECKING:
    from forge_p2p.node.network import Network
    from forge_p2p.node.sessions.peer import PeerSession

LOOK = 1.0
"""Seconds between two looks at the clock."""

SLEPT = 4.0
"""Seconds beyond that after which this process has not run, be it suspended, stopped or starved."""

SETTLING = 0.5
"""Seconds after a change of interfaces: others follow."""

SCAN_INTERVAL = 5.0
"""Seconds between two looks at the interfaces, where the system does not tell of changes."""

ARRIVED = 0.1
"""Seconds for what came while nobody looked: it is no sign of life."""

PATIENCE = 3.0
"""Seconds for an answer; QUIC repeats the question meanwhile."""


def boot_time() -> float:
    """Seconds since the machine started, those in which it slept included. Where the system does not count these, the
    wall clock has to do: a change of it costs a few needless questions."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() if clock is None else time.clock_gettime(clock)


def own_addresses() -> frozenset[str]:
    """The addresses by which others may reach this machine."""
    up = [one for one in interfaces() if one.is_up and not one.is_loopback]
    return frozenset(str(address.ip) for one in up for address in one.addresses)


async def probe(sessions: "Iterable[PeerSession]", patience: float = PATIENCE) -> None:
    """Ends those of `sessions` whose peers say nothing within `patience` seconds."""
    await trio.sleep(ARRIVED)
    heard = {each: each.connection.statistics().bytes_received for each in sessions if not each.ended.is_set()}
    for session in heard:
        session.connection.ping()
    await trio.sleep(patience)
    for session, before in heard.items():
        if session.connection.statistics().bytes_received == before:
            await give_up(session, f"{session.where} has gone silent")


async def give_up(session: "PeerSession", why: str) -> None:
    """Ends a session without last words: nobody would hear them."""
    if not session.ended.is_set():
        session.reason = session.reason or PeerError(why)
        await session.connection.aclose()


class Waking:
    """Watches over the sessions of one node."""

    def __init__(self, network: "Network") -> None:
        self._network = network

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice_sleep)
            nursery.start_soon(self._notice_moves)

    async def _notice_sleep(self) -> None:
        while True:
            before = boot_time()
            await trio.sleep(LOOK)
            slept = boot_time() - before - LOOK
            if slept > SLEPT:
                with contained("waking up"):
                    await self._woke(slept)

    async def _woke(self, slept: float) -> None:
        members = self._network.member_side
        if members is not None:
            members.woke()
        sessions = list(self._network.sessions)
        if slept > self._network.node.config.net.idle_timeout:
            for session in sessions:
                await give_up(session, f"{session.where} has given up this node, which slept for {slept:.0f} s")
        else:
            await probe(sessions)

    async def _notice_moves(self) -> None:
        addresses = own_addresses()
        with watch_interfaces() as told:
            while True:
                if told is None:
                    await trio.sleep(SCAN_INTERVAL)
                else:
                    await trio.lowlevel.wait_readable(told)
                    await trio.sleep(SETTLING)
                    _drain(told)
                now = own_addresses()
                if now != addresses:
                    addresses = now
                    with contained("moving to another address"):
                        await self._moved()

    async def _moved(self) -> None:
        members = self._network.member_side
        if members is not None:
            members.moved()
        await probe(list(self._network.sessions))


def _drain(told: socket.socket) -> None:
    """What it says does not matter, nor that it had too much to say."""
    while True:
        try:
            told.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            continue
