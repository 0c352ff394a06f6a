"""Sessions with members of a network: whom we know, whom we are connected with, and whom we dial when.

Everybody who was ever sighted, named or called is an acquaintance; a few of them, chosen at random so that a network's
connections make a random graph, are kept connected, and anyone may be dialled for a purpose. Who cannot be reached is
left alone for a while, longer each time, and remembered with the reason. Those whom this node was connected with last
are never given up, because they may be all that is left of a network; `remembering` keeps them over restarts.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import trio

from forge_p2p.content.contact import ADDRESSES_MAX, Contact
from forge_p2p.errors import ForgeError, PeerError
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.net.base import Address
from forge_p2p.node.groups import contained
from forge_p2p.proto.hello import STAYS

if TYPE_CHECKING:
    from forge_p2p.node.sessions.peer import PeerSession

KEPT = 8
"""Members of a network that a node stays connected with of its own accord: Kraken's graphs need 5 to 10."""

OUTGOING_MAX = 32
"""Sessions dialled for a purpose that are kept for the next one."""

IDLE = 60.0
"""Seconds after which a session beyond these numbers is closed."""

ACQUAINTANCES_MAX = 4096
RETRY_FIRST, RETRY_MAX = 1.0, 60.0
"""Seconds before somebody who could not be reached is dialled again, doubled each time."""

RETRY_LEFT = 10.0
"""Seconds before somebody who has said goodbye is dialled: it calls when it is back. A dial in vain costs 1.8 KB."""

FORGOTTEN_AFTER = 12
"""Failures in a row, some ten minutes, of somebody who is known by having called or by hearsay."""

MET_MAX = 64
"""Those connected last who are not forgotten for that, and are kept over restarts."""

RETRY_LATE = 300.0
"""Seconds before one of these is dialled again from then on: they may be gone for good."""

INTERVAL = 1.0
TIDY_INTERVAL = 4.0
"""Seconds between two looks at whom to dial, and at whom to leave and to forget."""

DIALS_AT_ONCE = 4


class Found(IntEnum):
    """How we came to know of somebody; the better ways first."""

    LAN = 0
    STATIC = 1
    TOKEN = 2
    MET = 3
    """Connected before this node restarted."""
    CALLED = 4
    SWARM = 5
    DHT = 6


@dataclass(slots=True)
class Acquaintance:
    """Somebody of a network. `retry_at` in trio's clock. `met`: when it was connected last, in Unix seconds; 0: never,
    or it was a command that did not stay."""

    contact: Contact
    found: Found
    failures: int = 0
    problem: str = ""
    retry_at: float = 0.0
    met: float = 0.0

    def failed(self, problem: str, now: float) -> None:
        """It could not be reached."""
        self.problem = problem
        late = self.found >= Found.MET and self.failures > FORGOTTEN_AFTER
        self.retry_at = now + (RETRY_LATE if late else min(RETRY_FIRST * 2**self.failures, RETRY_MAX))
        self.failures += 1

    def left(self, problem: str, now: float) -> None:
        """It has said goodbye."""
        self.problem = problem
        self.retry_at = now + RETRY_LEFT

    def reached(self) -> None:
        """It could."""
        self.failures, self.problem, self.retry_at = 0, "", 0.0


class Dial(Protocol):
    """Opens a session in a network, both ends' membership checked."""

    async def __call__(self, network: NetworkId, contact: Contact) -> "PeerSession":
        """Raises `PeerError` or `Refused`."""


@dataclass(slots=True)
class _Circle:
    """One network's people."""

    known: dict[NodeId, Acquaintance] = field(default_factory=dict)
    sessions: dict[NodeId, list["PeerSession"]] = field(default_factory=dict)
    dialling: dict[NodeId, trio.Event] = field(default_factory=dict)
    trying: set[NodeId] = field(default_factory=set)
    """Whom `run` dials just now."""


class Peering:
    """The members of this node's networks. `joined` are called with every session that begins."""

    def __init__(self, own_id: NodeId, dial: Dial, nursery: trio.Nursery, rng: random.Random | None = None) -> None:
        self.joined: list[Callable[[NetworkId, PeerSession], None]] = []
        self.changed: set[NetworkId] = set()
        """Where somebody came, went or moved since it was emptied."""
        self._own_id = own_id
        self._dial = dial
        self._nursery = nursery
        self._rng = rng or random.Random()
        self._circles: dict[NetworkId, _Circle] = {}
        self._woken = trio.Event()

    def enter(self, network: NetworkId) -> None:
        """The node is in this network now."""
        self._circles.setdefault(network, _Circle())

    async def leave(self, network: NetworkId) -> None:
        """The node is in this network no more: its sessions end."""
        circle = self._circles.pop(network, None)
        for session in [each for group in circle.sessions.values() for each in group] if circle else []:
            await session.leave(reason="left the network")

    @property
    def networks(self) -> list[NetworkId]:
        return list(self._circles)

    def meet(self, network: NetworkId, contact: Contact, found: Found) -> None:
        """Somebody is said to be in a network, and where. What is said later about addresses replaces what was."""
        circle = self._circles.get(network)
        if circle is None or contact.node_id == self._own_id:
            return
        known = circle.known.get(contact.node_id)
        if known is None:
            if len(circle.known) >= ACQUAINTANCES_MAX:
                worst = max(circle.known.values(), key=lambda each: (each.failures, each.found))
                del circle.known[worst.contact.node_id]
            circle.known[contact.node_id] = Acquaintance(contact, found)
        else:
            known.found = min(known.found, found)
            if contact.addresses and contact.addresses != known.contact.addresses:
                merged = dict.fromkeys(contact.addresses + known.contact.addresses)
                known.contact = Contact(contact.node_id, tuple(merged)[:ADDRESSES_MAX])
                known.retry_at = 0.0
                if known.met:
                    self.changed.add(network)
        self._woken.set()

    def recall(self, network: NetworkId, contact: Contact, met: float) -> None:
        """Somebody was connected with this node before it restarted, last at `met`."""
        self.meet(network, contact, Found.MET)
        circle = self._circles.get(network)
        known = circle.known.get(contact.node_id) if circle else None
        if known is not None:
            known.met = max(known.met, met)

    def met(self, network: NetworkId) -> list[Acquaintance]:
        """The `MET_MAX` who were connected last, the latest first; who is connected now comes before all others."""
        circle = self._circles.get(network)
        if circle is None:
            return []
        met = [each for each in circle.known.values() if each.met]
        met.sort(key=lambda each: (each.contact.node_id in circle.sessions, each.met), reverse=True)
        return met[:MET_MAX]

    def hurry(self) -> None:
        """The world may have changed, by sleep or by a new address of this node's: everybody is worth a dial now."""
        for circle in self._circles.values():
            for known in circle.known.values():
                known.failures, known.retry_at = 0, 0.0
        self._woken.set()

    def known(self, network: NetworkId) -> list[Acquaintance]:
        """Everybody known in a network."""
        circle = self._circles.get(network)
        return list(circle.known.values()) if circle else []

    def found(self, network: NetworkId, node_id: NodeId | None) -> Found | None:
        """How we came to know of somebody."""
        circle = self._circles.get(network)
        known = circle.known.get(node_id) if circle and node_id else None
        return known.found if known else None

    def sessions(self, network: NetworkId) -> list["PeerSession"]:
        """One session with each member connected now."""
        circle = self._circles.get(network)
        return [group[0] for group in circle.sessions.values()] if circle else []

    def connected(self, network: NetworkId, node_id: NodeId) -> "PeerSession | None":
        """The session with a member, if there is one."""
        circle = self._circles.get(network)
        group = circle.sessions.get(node_id) if circle else None
        return group[0] if group else None

    def beside(self, network: NetworkId, session: "PeerSession") -> list["PeerSession"]:
        """Other sessions with the same member: both ends dialled, or it has lost them by a restart or a move."""
        circle = self._circles.get(network)
        group = circle.sessions.get(session.peer_id, []) if circle and session.peer_id else []
        return [each for each in group if each is not session]

    async def session(self, network: NetworkId, contact: Contact) -> "PeerSession":
        """A session with a member, dialled if there is none. Raises `PeerError` with the reason why not."""
        while True:
            session = self.connected(network, contact.node_id)
            if session is not None:
                return session
            circle = self._circles.get(network)
            if circle is None:
                raise PeerError("this node is not in that network")
            pending = circle.dialling.get(contact.node_id)
            if pending is None:
                return await self._connect(network, circle, contact)
            await pending.wait()
            known = circle.known.get(contact.node_id)
            if contact.node_id not in circle.sessions and known is not None and known.problem:
                raise PeerError(known.problem)

    async def _connect(self, network: NetworkId, circle: _Circle, contact: Contact) -> "PeerSession":
        known = circle.known.setdefault(contact.node_id, Acquaintance(contact, Found.DHT))
        done = circle.dialling[contact.node_id] = trio.Event()
        try:
            session = await self._dial(network, contact)
        except ForgeError as error:
            known.failed(error.message, trio.current_time())
            raise
        else:
            self.admit(network, session)
            return session
        finally:
            del circle.dialling[contact.node_id]
            done.set()

    def admit(self, network: NetworkId, session: "PeerSession") -> None:
        """A session in which both ends have shown that they are members begins, whoever dialled."""
        circle = self._circles.get(network)
        peer_id = session.peer_id
        if circle is None or peer_id is None or session.ended.is_set():
            return
        group = circle.sessions.setdefault(peer_id, [])
        group.append(session)
        # Two that dialled each other at once have two sessions; both ends use that of the lower id and the other idles.
        group.sort(key=lambda each: (self._own_id < peer_id) != each.connection.is_client)
        address = session.connection.address
        self.meet(network, Contact(peer_id, ((address.host, address.port),)), Found.CALLED)
        known = circle.known[peer_id]
        known.reached()
        if STAYS in session.capabilities:
            known.met = time.time()
            self.changed.add(network)
        self._nursery.start_soon(self._watch, network, circle, session, group)
        for tell in self.joined:
            tell(network, session)

    async def _watch(
        self, network: NetworkId, circle: _Circle, session: "PeerSession", group: list["PeerSession"]
    ) -> None:
        await session.ended.wait()
        group.remove(session)
        if not group and session.peer_id is not None:
            circle.sessions.pop(session.peer_id, None)
            known = circle.known.get(session.peer_id)
            if known is not None and known.met:
                known.met = time.time()
                self.changed.add(network)
            if known is not None and session.reason is not None:
                note = known.left if session.has_left else known.failed
                note(session.reason.message, trio.current_time())
        self._woken.set()

    def _forget_passers_by(self, network: NetworkId, circle: _Circle) -> None:
        """Who called, went, and does not answer was a command or an agent: it had its port for its own life only."""
        silent = [each for each in circle.known.values() if each.found >= Found.MET and each.failures > FORGOTTEN_AFTER]
        lasting = {each.contact.node_id for each in self.met(network)} if silent else set()
        for known in silent:
            if known.contact.node_id not in lasting:
                del circle.known[known.contact.node_id]

    async def run(self) -> None:
        """Keeps a few members of each network connected, until cancelled."""
        tidied = trio.current_time()
        while True:
            tidy = trio.current_time() >= tidied + TIDY_INTERVAL
            for network, circle in list(self._circles.items()):
                for acquaintance in self._to_dial(circle):
                    circle.trying.add(acquaintance.contact.node_id)
                    self._nursery.start_soon(self._try, network, circle, acquaintance.contact)
                if tidy:
                    tidied = trio.current_time()
                    await self._close_idle(circle)
                    self._forget_passers_by(network, circle)
            self._woken = trio.Event()
            with trio.move_on_after(INTERVAL):
                await self._woken.wait()

    def _to_dial(self, circle: _Circle) -> list[Acquaintance]:
        at_once = DIALS_AT_ONCE if circle.sessions else KEPT
        lacking = min(KEPT - len(circle.sessions), at_once) - len(circle.trying)
        if lacking <= 0:
            return []
        now = trio.current_time()
        candidates = [
            each
            for each in circle.known.values()
            if each.contact.node_id not in circle.sessions
            and each.contact.node_id not in circle.trying
            and each.contact.addresses
            and each.retry_at <= now
        ]
        self._rng.shuffle(candidates)
        candidates.sort(key=lambda each: (each.failures > 0, each.found is Found.DHT))
        return candidates[:lacking]

    async def _try(self, network: NetworkId, circle: _Circle, contact: Contact) -> None:
        with contained("a dial"):
            try:
                await self.session(network, contact)
            except ForgeError:
                return  # remembered with the acquaintance
            finally:
                circle.trying.discard(contact.node_id)
                self._woken.set()

    async def _close_idle(self, circle: _Circle) -> None:
        now = trio.current_time()
        extra = len(circle.sessions) - OUTGOING_MAX
        for group in list(circle.sessions.values()):
            for number, session in enumerate(list(group)):
                spare = number > 0 or extra > 0
                if spare and session.connection.is_client and not session.busy and now - session.used > IDLE:
                    extra -= number == 0
                    await session.leave(reason="idle")


def addresses_of(contact: Contact) -> list[Address]:
    """Where to dial a contact."""
    return [Address(host, port) for host, port in contact.addresses]
