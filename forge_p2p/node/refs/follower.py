"""Keeps what names stand for in the store of a node that is up: of those it follows, and of those it is the home of, so
that what is published outlives its publisher.

A head that is heard is a hint, and the home is asked at once; beside that it is asked now and then, in case that a hint
was lost. One task a name at a time; what is published meanwhile is looked at when that one is done.
"""

import logging
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from forge_p2p.content.link import Root
from forge_p2p.content.ref import RefRecord
from forge_p2p.errors import ForgeError
from forge_p2p.ids import NetworkId
from forge_p2p.node.fetch.prefetching import prefetch
from forge_p2p.node.groups import contained
from forge_p2p.node.refs.names import HomeUnreachable
from forge_p2p.node.refs.retention import pin_target, sweep, sweep_all, unpin_all

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network

LOG = logging.getLogger("forge")

POLL: Final = 60.0
"""Seconds after which homes are asked without a hint, a quarter more or less."""

RETRY: Final = 5.0
"""Seconds after which content that could not be fetched is tried again, doubled each time, up to ten minutes."""
RETRY_MAX: Final = 600.0

FETCHES: Final = 4
"""Names whose content is fetched at once."""

Key = tuple[NetworkId, str]
Changed = Callable[[RefRecord, str], None]
"""Told of a name that stands for something else now, and why its content could not be fetched, if it could not."""


class Keeper:
    """`changed` are told of followed names. Only a node that is up runs it."""

    def __init__(self, network: "Network", members: "Members", nursery: trio.Nursery) -> None:
        self.changed: dict[Key, list[Changed]] = {}
        self._network = network
        self._members = members
        self._nursery = nursery
        self._followed: set[Key] = set()
        self._wanted: set[Key] = set()
        self._running: set[Key] = set()
        self._have: dict[Key, int] = {}
        """Number of the newest record whose content is here."""
        self._delays: dict[Key, float] = {}
        self._slots = trio.CapacityLimiter(FETCHES)
        self._roots: dict[Root, trio.Lock] = {}
        """Two names may stand for the same, which is fetched once."""
        members.names.told.append(self._heard)

    async def run(self) -> None:
        """Follows what was followed before, until cancelled."""
        self._followed |= set(await trio.to_thread.run_sync(self._members.node.refs.followed))
        for key in list(self._followed):
            self._want(key)
        while True:
            await self._sweep()
            await trio.sleep(POLL * (0.75 + random.random() / 2))
            for key in list(self._followed):
                self._want(key)

    async def _sweep(self) -> None:
        """Lets go what names that have expired keep, and what a crash left."""
        members = self._members
        networks = [joined.network for joined in members.memberships.joined()]
        try:
            await trio.to_thread.run_sync(sweep_all, members.node, members.holdings, networks)
        except ForgeError as error:
            LOG.error("cannot let go what names do not need any more: %s", error)

    def follow(self, network: NetworkId, name: str) -> None:
        """Keeps a name fresh from now on. Whoever listens is told what it stands for now, even if that is here."""
        self._followed.add((network, name))
        self._have.pop((network, name), None)
        self._want((network, name))

    def stop(self, network: NetworkId, name: str) -> None:
        """No more. What is here stays until the room is needed."""
        self._followed.discard((network, name))

    def leave(self, network: NetworkId) -> None:
        """The node is in a network no more."""
        self._followed = {key for key in self._followed if key[0] != network}

    def listen(self, network: NetworkId, name: str, changed: Changed) -> Callable[[], None]:
        """Has `changed` told of a name; returns what ends that."""
        listeners = self.changed.setdefault((network, name), [])
        listeners.append(changed)
        return lambda: listeners.remove(changed)

    def keeps(self, record: RefRecord) -> bool:
        """Whether all content of such a record comes here."""
        is_home = record.home == self._members.own_id and self._network.stays
        return is_home or (record.network, record.name) in self._followed

    def _heard(self, record: RefRecord) -> None:
        if self.keeps(record):
            self._want((record.network, record.name))

    def _want(self, key: Key) -> None:
        self._wanted.add(key)
        if key not in self._running:
            self._running.add(key)
            self._nursery.start_soon(self._keep, key)

    async def _keep(self, key: Key) -> None:
        try:
            while key in self._wanted:
                self._wanted.discard(key)
                with contained("keeping a name fresh"):
                    if await self._freshen(*key):
                        self._delays.pop(key, None)
                    else:
                        delay = self._delays[key] = min(2 * self._delays.get(key, RETRY / 2), RETRY_MAX)
                        self._nursery.start_soon(self._again, key, delay)
        finally:
            self._running.discard(key)

    async def _again(self, key: Key, delay: float) -> None:
        await trio.sleep(delay)
        if key in self._followed or self.is_home(key):
            self._want(key)

    def is_home(self, key: Key) -> bool:
        """Whether the log of a name is kept here."""
        head = self._members.node.refs.head(*key)
        return self._members.names.book.home_of(key[0], head) == self._members.own_id

    async def _freshen(self, network: NetworkId, name: str) -> bool:
        """Fetches what a name stands for now; whether that is here then, or there is nothing to be had."""
        key = (network, name)
        try:
            record = await self._members.names.refresh(network, name)
        except HomeUnreachable:
            record = await self._members.names.hearsay(network, name)
        except ForgeError as error:
            LOG.error("cannot follow %s: %s", name, error)
            return False
        if record is None or record.seq <= self._have.get(key, 0):
            return True
        lock = self._roots.setdefault(record.target, trio.Lock())
        async with lock, self._slots:
            problem = await self._fetch(record)
        if not lock.statistics().tasks_waiting:
            self._roots.pop(record.target, None)
        for tell in list(self.changed.get(key, ())):
            tell(record, problem)
        if not problem:
            self._have[key] = record.seq
        return not problem

    async def _fetch(self, record: RefRecord) -> str:
        """Why the content of a record could not be fetched; empty if it is here."""
        node, network, name = self._members.node, record.network, record.name
        pin = partial(pin_target, node, network, name, record.seq, record.target)
        try:
            holding = self._members.holdings.find(network, record.target.link.hash)
            if holding is not None and holding.complete and await self._members.holdings.ready(holding):
                await trio.to_thread.run_sync(pin)
            else:
                before = await trio.to_thread.run_sync(self._before, record)
                await prefetch(self._network, record.target, self._members.name(network), pin, before)
            await trio.to_thread.run_sync(sweep, node, self._members.holdings, network, name)
        except ForgeError as error:
            LOG.error("cannot fetch what %s stands for: %s", name, error)
            return error.message
        return ""

    def _before(self, record: RefRecord) -> Root | None:
        """What the name stood for when it was fetched last, if that is known. Blocks."""
        seq = self._have.get((record.network, record.name), record.seq - 1)
        found = self._members.node.refs.range(record.network, record.name, seq, 1) if seq else []
        return found[0].target if found else None


async def let_go(members: "Members", network: NetworkId, name: str) -> None:
    """Keeps nothing of a name, unless this node is its home."""
    with suppress(ForgeError):
        if not members.keeper.is_home((network, name)):
            await trio.to_thread.run_sync(unpin_all, members.node, network, name)
