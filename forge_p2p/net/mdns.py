"""The thread that speaks mDNS.

zeroconf needs asyncio, and a node runs on trio, so it gets a thread. `Responder.run` is that thread's main function;
what it finds is in `Responder.neighbours`. One `Conversation` lasts as long as its sockets work; when it fails, the
next one begins a while later.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable

from forge_p2p.net.advert import Advert
from forge_p2p.net.conversation import Conversation
from forge_p2p.net.interfaces import watch_interfaces
from forge_p2p.net.neighbours import IsOurs, Neighbours, OnChange
from forge_p2p.net.pacing import PacedSelector

LOG = logging.getLogger("forge")

SCAN_INTERVAL = 10.0
"""Seconds between two looks at the interfaces, where the system does not tell of changes."""

CHANGES_SETTLE = 0.3
"""Seconds after the system told of a change: others follow, and an IPv6 address needs a moment to be usable."""

HEARING_TIMEOUT = 2.0
"""Seconds in which a node should have heard its own announcement."""


class Responder:
    """Announces one node and looks for others, from `run` until `stop`. `on_change` is called in the thread of `run`
    with what `neighbours` has news of."""

    def __init__(self, advert: Advert, host: str, port: int, is_ours: IsOurs, on_change: OnChange) -> None:
        self.neighbours = Neighbours(advert.node_id, is_ours, on_change)
        self.problem = ""
        """Why nobody is found, or can find this node, in one line; empty when all seems well."""
        self._advert = advert
        self._host = host
        self._port = port
        self._stopping = False
        self._networks_changed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._settling: asyncio.TimerHandle | None = None

    # -- from any thread

    def stop(self) -> None:
        """Lets `run` say goodbye and return."""
        self._stopping = True
        self._nudge()

    def advertise(self, tags: Iterable[bytes]) -> None:
        """Announces these tags from now on."""
        self._advert = Advert(self._advert.node_id, frozenset(tags))
        self._networks_changed = True
        self._nudge()

    def _nudge(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has closed meanwhile
                loop.call_soon_threadsafe(self._wake.set)

    # -- in the thread

    def run(self) -> None:
        """Blocks until `stop`. What fails becomes the `problem`, and is tried again."""
        try:
            with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(PacedSelector())) as runner:
                runner.run(self._main())
        except OSError as error:
            self.problem = f"LAN discovery cannot start: {error.strerror or error}"

    async def _main(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        with watch_interfaces() as changes:
            if changes is not None:
                loop.add_reader(changes, self._links_changed, changes)
            while not self._stopping:
                try:
                    await self._converse()
                except OSError as error:
                    self.problem = f"cannot use UDP port 5353, which LAN discovery speaks on: {error.strerror or error}"
                except Exception as error:
                    LOG.exception("LAN discovery failed, and will be tried again")
                    self.problem = f"LAN discovery failed: {type(error).__name__}: {error}"
                await self._sleep(SCAN_INTERVAL)

    async def _converse(self) -> None:
        """One conversation's life. Raises what ends it."""
        conversation = Conversation(self.neighbours, self._host, self._port)
        try:
            await conversation.begin(self._advert)
            self.problem = conversation.problem(HEARING_TIMEOUT)
            await self._sleep(HEARING_TIMEOUT)
            while not self._stopping:
                if self._networks_changed:
                    self._networks_changed = False
                    self.neighbours.networks_changed()
                await conversation.keep_up(self._advert)
                self.problem = conversation.problem(HEARING_TIMEOUT)
                await self._sleep(SCAN_INTERVAL)
        finally:
            await conversation.end()

    async def _sleep(self, seconds: float) -> None:
        """Until then, or until there is something to do."""
        if not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)
            self._wake.clear()

    def _links_changed(self, changes: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it was emptied, or told of more than its buffer holds
            while changes.recv(65_536):
                pass
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(CHANGES_SETTLE, self._links_settled)

    def _links_settled(self) -> None:
        self._settling = None
        self._wake.set()
