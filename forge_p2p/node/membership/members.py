"""The private-network half of a node: everything it does as a member, put together.

`networks` says which networks it is in, `peering` holds the sessions, `lookups` is each network's DHT, `holdings` what
belongs to whom, `following` who is told of it. What members say arrives here and goes to the one it is for.
"""

import logging
import random
from collections import OrderedDict
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import trio

from forge_p2p.content.blinding import lan_tag
from forge_p2p.content.contact import ADDRESSES_MAX, Contact
from forge_p2p.content.membership import Role
from forge_p2p.errors import ForgeError, PeerError, UsageError
from forge_p2p.ids import Hash, NetworkId, NodeId
from forge_p2p.net.lan import Lan, Sighting, lan_discovery
from forge_p2p.node.addresses import parse_listen, parse_peer
from forge_p2p.node.membership.following import Following
from forge_p2p.node.membership.hearing import Hearing
from forge_p2p.node.membership.holdings import Holding, Holdings, MemberScope
from forge_p2p.node.membership.lookups import Lookups
from forge_p2p.node.membership.memberships import Memberships
from forge_p2p.node.membership.networks import Networks
from forge_p2p.node.membership.peering import Found, Peering, addresses_of
from forge_p2p.node.membership.reconciling import Reconciler
from forge_p2p.node.membership.remembering import Remembering
from forge_p2p.node.membership.summaries import Summaries
from forge_p2p.node.membership.waking import probe
from forge_p2p.node.refs.follower import Keeper
from forge_p2p.node.refs.names import Names
from forge_p2p.node.refs.serving import Clerk
from forge_p2p.node.repositories.ahead import Ahead
from forge_p2p.node.sessions.containing import Serve, contain
from forge_p2p.node.sessions.peer import MemberSide, PeerSession
from forge_p2p.proto import outputs
from forge_p2p.proto.auth import Refusal
from forge_p2p.proto.dht.machine import Dht
from forge_p2p.proto.swarm import Distance
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import RefQuery
from forge_p2p.wire.sets import Reconcile, SummaryQuery

if TYPE_CHECKING:
    from forge_p2p.node.fetch.swarming import Swarming
    from forge_p2p.node.network import Network

LOG = logging.getLogger("forge")

NETWORKS_INTERVAL = 1.0
"""Seconds until a network that another process joined or left is noticed."""

SITE = "site."
"""Prefix of the capability that two nodes of one site have in common."""


class Members:
    """`run` does the work; `ready` is set once the networks that there are have been entered. `stays`: this process is
    a node that is up, and worth remembering by others."""

    def __init__(self, network: "Network", nursery: trio.Nursery, *, stays: bool) -> None:
        node = network.node
        self.node = node
        self.own_id = node.node_id
        self.networks = Networks(node.home, node.node_id, node.config.token)
        self.memberships = Memberships(self.networks, node.node_id, nursery)
        self.holdings = Holdings(node, self.networks.held_folder)
        self.peering = Peering(node.node_id, self._dial, nursery)
        self.remembering = Remembering(self.peering, self.networks.contacts)
        self.following = Following(self.holdings)
        self._hearing = Hearing(network.heard)
        self.summaries = Summaries(node, self.holdings)
        self.lookups: dict[NetworkId, Lookups] = {}
        self.fetching: dict[Hash, Swarming] = {}
        self.prefetching: WeakValueDictionary[Hash, trio.Lock] = WeakValueDictionary()
        self.proven: OrderedDict[tuple[NetworkId, Hash], None] = OrderedDict()
        """Roots that a member has proven to have in a network (`relaying`)."""
        self.ready = trio.Event()
        self.lan: Lan | None = None
        self._secrets: tuple[bytes, ...] = ()
        self._network = network
        self._nursery = nursery
        self._stays = stays
        self._scopes: dict[NetworkId, trio.CancelScope] = {}
        self._entered = trio.Event()
        self._stamp: tuple[int, ...] | None = None
        self._unread = ""
        self.peering.joined.append(self._joined)
        self.names = Names(self, nursery)
        self.keeper = Keeper(network, self, nursery)
        self.ahead = Ahead(network, self, nursery)
        self._clerk = Clerk(node, self.names)
        self._reconciler = Reconciler()

    async def run(self) -> None:
        """Does all of it until cancelled."""
        async with trio.open_nursery() as nursery:
            await self._follow_networks(nursery)
            self.ready.set()
            nursery.start_soon(self.peering.run)
            nursery.start_soon(self.following.run)
            if self._stays:
                nursery.start_soon(self.keeper.run)
            if self._network.node.config.net.lan:
                nursery.start_soon(self._find_on_lan)
            while True:
                await trio.sleep(NETWORKS_INTERVAL)
                self.memberships.check_times()
                self.holdings.expire(trio.current_time())
                if self.memberships.dirty:
                    await trio.to_thread.run_sync(self.memberships.save)
                await self.remembering.save()
                await self._follow_networks(nursery)

    # Networks come and go

    async def _follow_networks(self, nursery: trio.Nursery) -> None:
        """Enters those that were joined, leaves those that were left, hears what other processes wrote down."""
        stamp = await trio.to_thread.run_sync(self.networks.stamp)
        if stamp == self._stamp:
            return
        try:
            take_over = await trio.to_thread.run_sync(self.memberships.read)
        except ForgeError as error:
            if error.message != self._unread:  # it is tried again every second
                LOG.error("%s", error)
            self._unread = error.message
            return
        self._stamp = stamp
        entered, left = take_over()
        for joined in entered:
            self._entered.set()
            await nursery.start(self._be_in, joined.network, joined.secret, joined.contacts)
        for network in left:
            self._scopes.pop(network).cancel()
            self.holdings.drop_network(network)
            self.summaries.leave(network)
            self.keeper.leave(network)
            await self.peering.leave(network)
        for network in self._scopes:
            await self._load_holdings(network)
        if self.lan is not None and (entered or left):
            self.lan.update(self._tags())

    async def _be_in(
        self,
        network: NetworkId,
        secret: bytes,
        contacts: tuple[Contact, ...],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Is in a network until it is left."""
        machine = Dht(self.own_id, random.Random(), trio.current_time(), self.addresses() if self._stays else ())
        table = self.networks.table(network)
        lookups = Lookups(network, secret, machine, self.peering, table, self.addresses, stays=self._stays)
        self.lookups[network] = lookups
        self.peering.enter(network)
        for contact in contacts:
            self.peering.meet(network, contact, Found.TOKEN)
        for text in self._network.node.config.net.peers:
            self.peering.meet(network, parse_peer(text), Found.STATIC)
        await self.remembering.recall(network)
        with trio.CancelScope() as self._scopes[network]:
            task_status.started()
            await lookups.run()
        del self.lookups[network]

    async def _load_holdings(self, network: NetworkId) -> None:
        try:
            for gone in await trio.to_thread.run_sync(self.holdings.load, network):
                self.lookups[network].withdraw(gone.root.link.hash)
        except ForgeError as error:
            LOG.error("%s", error)
        for holding in self.holdings.of(network):
            if holding.complete:
                self.lookups[network].announce(holding.root.link.hash)

    def _tags(self) -> list[bytes]:
        self._secrets = tuple(joined.secret for joined in self.memberships.joined())
        return [lan_tag(secret, self.own_id) for secret in self._secrets]

    async def _find_on_lan(self) -> None:
        """Tells the LAN, once there is a network to be found by, and meets who tells."""
        await self._entered.wait()
        port = self._network.reachable_addresses()[0].port
        host = parse_listen(self._network.node.config.listen).host
        async with lan_discovery(self.own_id, port, self._tags(), host=host, is_ours=self._is_ours) as self.lan:
            async for news in self.lan.sightings:
                if isinstance(news, Sighting):
                    self._sighted(news)

    def _is_ours(self, node_id: NodeId, tags: frozenset[bytes]) -> bool:
        """From the LAN's thread, hence the copy of what may change meanwhile."""
        return any(lan_tag(secret, node_id) in tags for secret in self._secrets)

    def _sighted(self, sighting: Sighting) -> None:
        places = tuple((address.host, address.port) for address in sighting.addresses)
        for joined in self.memberships.joined():
            if lan_tag(joined.secret, sighting.node_id) in sighting.tags:
                self.peering.meet(joined.network, Contact(sighting.node_id, places), Found.LAN)

    # Sessions

    async def _dial(self, network: NetworkId, contact: Contact) -> PeerSession:
        """The interface `Dial`."""
        credentials = self.memberships.credentials(network, contact.node_id)
        session = await self._network.dial(addresses_of(contact), contact.node_id, credentials, mutual=True)
        session.members = self
        await session.ready.wait()
        if session.ended.is_set():
            raise session.reason or PeerError(f"the session with {session.where} ended before it began")
        try:
            membership, chain = self.memberships.check_server(network, contact.node_id, session.credentials)
        except ForgeError as error:
            session.blame(error, Code.DENIED)
            raise
        session.member = MemberSide(network, membership, MemberScope())
        session.session.grant(session.member.scope, trio.current_time())
        await session.flush()
        self.memberships.started(session, network, membership, chain)
        return session

    async def admit(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None:
        """Decides about a client that shows sealed credentials. Raises `PeerError` when it has gone."""
        verdict = self.memberships.check_client(client_id, credentials)
        if isinstance(verdict, Refusal):
            session.session.decide(verdict, trio.current_time())
            await session.flush()
            return
        session.member = MemberSide(verdict.network, verdict.membership, MemberScope())
        session.session.decide(session.member.scope, trio.current_time(), verdict.reply)
        await session.flush()
        self.memberships.started(session, verdict.network, verdict.membership, verdict.chain)
        self.peering.admit(verdict.network, session)

    def _joined(self, network: NetworkId, session: PeerSession) -> None:
        """A session in a network began, whoever dialled."""
        session.connection.keep_alive = session.connection.is_client
        if network in self.lookups:
            self.lookups[network].joined(session)
        others = self.peering.beside(network, session)
        if others:
            self._nursery.start_soon(probe, others)

    def woke(self) -> None:
        """This machine slept: nobody who did not answer meanwhile is to blame."""
        self.peering.hurry()
        for lookups in self.lookups.values():
            lookups.woke()

    def moved(self) -> None:
        """This machine has other addresses."""
        self.peering.hurry()
        for lookups in self.lookups.values():
            lookups.moved()

    async def leave(self) -> None:
        """Takes back what this node announced, before it goes down, and writes down whom it has met: commands that end
        within a second learn who made a network, too."""
        if self.memberships.dirty:
            await trio.to_thread.run_sync(self.memberships.save)
        await self.remembering.save(at_once=True)
        async with trio.open_nursery() as nursery:
            for lookups in self.lookups.values():
                nursery.start_soon(lookups.withdraw_all)

    def chosen(self, name: str = "") -> list[NetworkId]:
        """The networks meant by `name`: all when it is empty. Raises `UsageError`."""
        joined = self.memberships.joined()
        matching = [each.network for each in joined if not name or name in (each.name, each.network.hex())]
        if name and not matching:
            names = ", ".join(sorted(each.name for each in joined)) or "none"
            raise UsageError(f"this node is in no network {name!r}", hint=f"it is in: {names}")
        return matching

    def name(self, network: NetworkId) -> str:
        """What this node calls a network."""
        joined = self.memberships.get(network)
        return joined.name if joined else network.hex()[:16]

    @property
    def dial_timeout(self) -> float:
        """Seconds that reaching somebody may take."""
        return self._network.node.config.net.dial_timeout

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where this node is reached, as it tells other members."""
        found = [(address.host, address.port) for address in self._network.reachable_addresses()]
        return tuple(found[:ADDRESSES_MAX])

    def distance(self, session: PeerSession) -> Distance:
        """How far away a member is."""
        assert session.member is not None
        found = self.peering.found(session.member.network, session.peer_id)
        if session.member.membership.role is Role.SEED:
            return Distance.SEED
        if found is Found.LAN:
            return Distance.LAN
        if any(capability.startswith(SITE) for capability in session.capabilities):
            return Distance.SITE
        return Distance.OTHER

    # What members say: the interface `MemberHandler`

    def asked(self, session: PeerSession, query: outputs.QueryReceived) -> None:
        lookups = self.lookups.get(session.member.network) if session.member else None
        message = query.message
        serve: Serve | None = lookups.asked if lookups is not None else None
        if isinstance(message, RefQuery):
            serve = self._clerk.asked
        elif isinstance(message, SummaryQuery):
            serve = self.summaries.asked
        elif isinstance(message, Reconcile):
            serve = self._reconciler.asked
        if serve is not None:
            self._nursery.start_soon(contain, session, serve, query.request_id, message)

    def followed(self, session: PeerSession, follow: outputs.FollowReceived) -> None:
        self._nursery.start_soon(contain, session, self.following.followed, follow)
        if not follow.message.follow_back:
            return
        swarming = self.fetching.get(Hash(follow.message.root))
        if swarming is not None:
            swarming.followed_by(session)
            return
        holding = self.holdings.find(session.member.network, Hash(follow.message.root)) if session.member else None
        if holding is not None and self._is_spared(holding):
            self._nursery.start_soon(contain, session, self._hearing.followed, follow, holding)

    def _is_spared(self, holding: Holding) -> bool:
        """Whether others ask here only for what they do not have of one another."""
        joined = self.memberships.get(holding.network)
        return holding.origin or (joined is not None and joined.membership.role is Role.SEED)

    def told_news(self, session: PeerSession, news: outputs.NewsReceived) -> None:
        if session.member is not None:
            self.memberships.receive_news(session, news.items)

    def unfollowed(self, session: PeerSession, request_id: int) -> None:
        self.following.cancelled(session, request_id)
        self._hearing.cancelled(session, request_id)

    def gone(self, session: PeerSession) -> None:
        self.following.gone(session)
        self._hearing.gone(session)
        self.memberships.ended(session)
