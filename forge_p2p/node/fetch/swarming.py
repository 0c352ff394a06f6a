"""A fetch from many: finds who holds a root, follows it there, and hands sessions and holdings to the receiver.

    members connected ┐
    LAN, DHT          ├─▶ follow ─▶ told: holdings ─▶ receiver
    other followers   ┘           └▶ told: others who follow ─▶ follow

What arrives is at the same time told to those who follow the root here (`following`), so that all who fetch it give
each other what they have.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from forge_p2p.content.contact import Contact
from forge_p2p.content.link import Root
from forge_p2p.errors import ForgeError, NotFound, PeerError
from forge_p2p.ids import Hash, NetworkId, NodeId, unpack_prefixes
from forge_p2p.node.fetch.bases import Previous
from forge_p2p.node.fetch.finding import Supply
from forge_p2p.node.fetch.likely import Likely, LikelySink
from forge_p2p.node.groups import contained
from forge_p2p.node.membership.holdings import LINGER, Holding
from forge_p2p.node.membership.peering import Found
from forge_p2p.node.membership.reconciling import compare
from forge_p2p.node.membership.waking import probe
from forge_p2p.proto.hello import SETS
from forge_p2p.proto.swarm import Distance
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.sessions.peer import PeerSession

FOLLOWED_MAX = 12
"""Nodes at which a root is followed at once. Kraken's graphs have 10 connections a node."""

RETRY_FIRST, RETRY_MAX, RETRIES = 0.5, 8.0, 8
"""Seconds until a node that was lost is followed again, doubled each time, and how often in a row."""

FIND_FACTOR = 1.5
"""Dial timeouts after which nobody having been found at all ends the fetch: 15 s as configured by default."""


class Sink(LikelySink, Protocol):
    """The receiver's side."""

    def add_source(self, session: "PeerSession", *, distance: Distance, complete: bool, origin: bool) -> None: ...

    def holds(self, session: "PeerSession", prefixes: Sequence[int]) -> None: ...

    def completed(self, session: "PeerSession", *, origin: bool) -> None: ...

    def lacks_bases(self, session: "PeerSession") -> None: ...

    def hides_bases(self, session: "PeerSession") -> None: ...


@dataclass(slots=True, eq=False)
class _Followed:
    """A node at which the root is followed; the handler of that FOLLOW. `over`: nothing more will be told."""

    swarming: "Swarming"
    over: trio.Event
    number: int = 0
    """Of the FOLLOW, for `unfollow`."""
    code: Code = Code.OK
    told_anything: bool = False

    def told(self, session: "PeerSession", message: messages.Told) -> None:
        if isinstance(message, messages.Holdings):
            self.swarming.told_holdings(session, message, first=not self.told_anything)
            self.told_anything = True
            if message.withheld:
                self.swarming.compare(session, self, message.withheld)
        else:
            for contact in message.contacts:
                self.swarming.meet(session, contact)

    def unfollowed(self, session: "PeerSession", code: Code) -> None:
        self.code = code
        self.over.set()


class Swarming:
    """One fetch of `root` through networks. `run` ends by being cancelled, or raises `NotFound` or `PeerError` when
    nobody has it or all who had it are gone for `patience` seconds."""

    def __init__(
        self,
        members: "Members",
        root: Root,
        networks: list[NetworkId],
        sink: Sink,
        patience: float,
        previous: Previous | None = None,
    ) -> None:
        self.held_in: set[NetworkId] = set()
        """Networks in which somebody held it."""
        self.used: set[PeerSession] = set()
        """Sessions that content was asked for in."""
        self._members = members
        self._root = root
        self._networks = networks
        self._sink = sink
        self._patience = patience
        self._previous = b"" if previous is None else bytes(previous.root.link.hash)
        self._known_to = None if previous is None else previous.known_to
        self._find_timeout = FIND_FACTOR * members.dial_timeout
        self._followed: dict[tuple[NetworkId, NodeId], _Followed | None] = {}
        self._supply = Supply()
        self._problem: ForgeError | None = None
        self._nursery: trio.Nursery | None = None
        self._likely = Likely(members, sink, self.held_in, self.used)
        self.holdings: list[Holding] = [members.holdings.begin(network, root) for network in networks]

    async def run(self) -> None:
        """Finds and follows until cancelled."""
        self._members.fetching[self._root.link.hash] = self
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for network in self._networks:
                    nursery.start_soon(self._search, network)
                try:
                    await self._watch()
                finally:
                    self._nursery = None  # it may be closed before members hear that nobody is followed any more
        finally:
            if self._members.fetching.get(self._root.link.hash) is self:  # another fetch of it may have begun
                del self._members.fetching[self._root.link.hash]

    def stored(self, chunks: Sequence[Hash]) -> None:
        """These chunks are in the store: members may have them from here."""
        for holding in self.holdings:
            holding.arrive(chunks)

    async def keep(self) -> None:
        """All of it is here: it belongs to the networks that it came from."""
        for network in self.held_in:
            self._supply.announce(self._members.lookups[network], self._root.link.hash)
            keep = partial(self._members.holdings.keep, network, self._root, origin=False)
            self._members.holdings.tell(await trio.to_thread.run_sync(keep))

    def end(self, *, kept: bool) -> None:
        """The fetch is over. What did not become whole is offered for a moment more, if it was `kept`."""
        for holding in self.holdings:
            self._members.holdings.leave(holding, linger=LINGER if kept else 0.0)
            if not holding.complete and holding.network in self._members.lookups:
                self._members.lookups[holding.network].withdraw(self._root.link.hash)

    def names(self) -> str:
        """The networks that it came through."""
        return ", ".join(sorted(self._members.name(network) for network in self.held_in))

    def how_found(self, session: "PeerSession") -> str:
        """How a member came to be known, in a word."""
        if session.member is None:
            return ""
        found = self._members.peering.found(session.member.network, session.peer_id)
        return found.name.lower() if found is not None else ""

    def fellows(self, capability: str) -> list[NodeId]:
        """Nodes that fetch the same now and have a capability."""
        return [
            session.peer_id
            for session in self._supply.sessions
            if session.peer_id is not None
            and capability in session.capabilities
            and self._root.link.hash not in session.opened
        ]

    # What is learned

    def told_holdings(self, session: "PeerSession", told: messages.Holdings, *, first: bool) -> None:
        """A followed node says what it has."""
        assert session.member is not None
        self.held_in.add(session.member.network)
        for holding in self.holdings:
            holding.confirmed = holding.confirmed or holding.network == session.member.network
        if self._supply.add(session, complete=told.complete) or first:
            self.used.add(session)
            if self._previous and not self._may_hear(session.member.network):
                self._sink.hides_bases(session)
            elif self._previous and not told.previous and self._previous not in session.opened:
                self._sink.lacks_bases(session)
            self._sink.add_source(
                session, distance=self._members.distance(session), complete=told.complete, origin=told.origin
            )
        elif told.complete:
            self._sink.completed(session, origin=told.origin)
        if told.complete:
            session.opened.add(self._root.link.hash)
        if told.prefixes:
            self._sink.holds(session, unpack_prefixes(told.prefixes))

    def compare(self, session: "PeerSession", followed: _Followed, withheld: int) -> None:
        """A followed node has much to tell, of which much may be here, too."""
        if self._nursery is not None:
            self._nursery.start_soon(self._compare, session, followed, withheld)

    async def _compare(self, session: "PeerSession", followed: _Followed, withheld: int) -> None:
        with contained("comparing holdings"), suppress(PeerError):
            here = next(each for each in self.holdings if session.member and each.network == session.member.network)
            missing = await compare(session, here, withheld)
            if missing is not None:
                self._sink.holds(session, missing)
                return
            if not followed.over.is_set():
                before, followed.number = followed.number, await session.follow(self._question(session), followed)
                await session.unfollow(before)

    def _may_hear(self, network: NetworkId) -> bool:
        """Whether members of a network may learn of the earlier version: what belongs to another is none of theirs."""
        holding = self._members.holdings.find(network, Hash(self._previous))
        return self._known_to is None or network in self._known_to or (holding is not None and holding.complete)

    def meet(self, session: "PeerSession", contact: Contact) -> None:
        """A followed node names another follower."""
        if session.member is not None:
            self._members.peering.meet(session.member.network, contact, Found.SWARM)
            self._consider(session.member.network, contact)

    def followed_by(self, session: "PeerSession") -> None:
        """Somebody follows the root here and wants to be followed back."""
        if session.member is not None and session.peer_id is not None and session.member.network in self._networks:
            self._consider(session.member.network, Contact(session.peer_id, ()))

    # Finding

    async def _search(self, network: NetworkId) -> None:
        with contained("a search"):
            sessions = self._members.peering.sessions(network)[:FOLLOWED_MAX]
            for session in sessions:
                if session.peer_id is not None:
                    self._consider(network, Contact(session.peer_id, ()))
            if self._nursery is not None:
                self._nursery.start_soon(probe, sessions, self._members.dial_timeout / 2)
            self._members.peering.joined.append(self._joined)
            try:
                found = partial(self._met_by_dht, network)
                lookups = self._members.lookups[network]
                await self._supply.look(lookups, self._root.link.hash, lambda: bool(self._followed), found)
            finally:
                self._members.peering.joined.remove(self._joined)

    def _met_by_dht(self, network: NetworkId, contact: Contact) -> None:
        self._members.peering.meet(network, contact, Found.DHT)
        self._consider(network, contact)

    def _joined(self, network: NetworkId, session: "PeerSession") -> None:
        """A member connected just now: if nobody has been found yet, it may be the one. Else it may have something."""
        if network not in self._networks or session.peer_id is None:
            return
        if not self._supply.sessions:
            self._consider(network, Contact(session.peer_id, ()))
        elif (network, session.peer_id) not in self._followed and self._nursery is not None:
            self._nursery.start_soon(self._likely.ask, session)

    def _consider(self, network: NetworkId, contact: Contact) -> None:
        key = (network, contact.node_id)
        if contact.node_id == self._members.own_id or key in self._followed or self._nursery is None:
            return
        if len(self._followed) < FOLLOWED_MAX:
            self._followed[key] = None
            self._nursery.start_soon(self._keep_following, network, contact)

    async def _keep_following(self, network: NetworkId, contact: Contact) -> None:
        """Follows at one node; again when the session is lost, until it has nothing or cannot be reached."""
        key = (network, contact.node_id)
        failures = 0
        try:
            with contained("following a member"):
                while failures < RETRIES:
                    delay = min(RETRY_FIRST * 2**failures, RETRY_MAX)
                    try:
                        session = await self._members.peering.session(network, contact)
                        followed = await self._follow(session)
                    except PeerError as error:
                        self._problem = error
                        failures += 1
                    else:
                        if followed.code is Code.OK and not followed.told_anything:
                            # It does not know it. Should it begin to fetch it, it follows us, and is followed back.
                            if self._nursery is not None:
                                self._nursery.start_soon(self._likely.ask, session)
                            return
                        failures = 0 if followed.told_anything else failures + 1
                    await trio.sleep(delay)
        finally:
            self._followed.pop(key, None)
            self._supply.until.changed()

    async def _follow(self, session: "PeerSession") -> _Followed:
        followed = _Followed(self, trio.Event())
        question = self._question(session, withhold=SETS in session.capabilities)
        followed.number = await session.follow(question, followed)
        try:
            await followed.over.wait()
        finally:
            if self._supply.remove(session):
                self._sink.remove_source(session, _why_gone(session))
            with trio.move_on_after(1.0, shield=True):
                with suppress(PeerError):
                    await session.unfollow(followed.number)
        return followed

    def _question(self, session: "PeerSession", *, withhold: bool = False) -> messages.Follow:
        may_hear = session.member is not None and self._may_hear(session.member.network)
        previous = self._previous if may_hear and self._previous not in session.opened else b""
        return messages.Follow.of(self._root.link.hash, self._members.addresses(), True, previous, withhold=withhold)

    # Giving up

    async def _watch(self) -> None:
        """Waits as long as there is a source, or hope for one. That somebody had nothing puts nothing off."""
        supply = self._supply
        with trio.move_on_after(self._find_timeout):
            await supply.until.true(lambda: supply.ever)
        hope = supply.ever
        while hope:
            await supply.until.true(lambda: not supply.sessions)
            with trio.move_on_after(self._patience):
                await supply.until.true(lambda: bool(supply.sessions))
            hope = bool(supply.sessions)
        raise self._nobody()

    def _nobody(self) -> ForgeError:
        if self._supply.ever:
            return PeerError(
                f"everybody who had the content has gone: {self._problem or 'no reason given'}",
                hint="what has arrived is kept: the same command goes on where this one stopped",
            )
        connected = sum(len(self._members.peering.sessions(network)) for network in self._networks)
        if not connected:
            reason = f" ({self._problem.message})" if self._problem else ""
            return PeerError(
                f"no other member of the network can be reached{reason}", hint="forge doctor and forge peers say more"
            )
        return NotFound(
            f"none of the {connected} members connected has this content, and the DHT names nobody who does",
            hint="is the node up that shared it? forge why LINK says more",
        )


def _why_gone(session: "PeerSession") -> str:
    """Why a source is none any more; empty if that is our doing."""
    if session.reason is not None:
        return session.reason.message
    return "it has left" if session.ended.is_set() else ""
