"""The names of a node's networks while it is up, or while a command runs: their homes reached, their logs brought up to
date, questions of members answered, heads told and heard."""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from forge_p2p.content.link import hash_bytes
from forge_p2p.content.ref import BadRef, RefFlaw, RefRecord, decode_record
from forge_p2p.errors import ForgeError, Malformed, PeerError
from forge_p2p.ids import Hash, NetworkId, NodeId
from forge_p2p.node.groups import contained
from forge_p2p.node.membership.peering import Found
from forge_p2p.node.refs.book import Authority, Book
from forge_p2p.node.refs.homes import BucketHome, LocalHome, RefHome, RemoteHome, Since, all_names
from forge_p2p.node.refs.patience import Patience
from forge_p2p.proto.membership import encode_head
from forge_p2p.proto.reflog import Exists, Stored, Tip
from forge_p2p.proto.timers import TokenBucket

if TYPE_CHECKING:
    from forge_p2p.node.edge.opened import Edge
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.sessions.peer import PeerSession

LOG = logging.getLogger("forge")

REACH_FACTOR: Final = 1.5
"""Dial timeouts within which a home has to be reached."""

HEARSAY_ASKED: Final = 4
"""Other members who are asked when the home of a name cannot be."""

HEADS_REMEMBERED: Final = 4096
"""Heads heard lately, so that none goes round and round."""

RECORDS_REMEMBERED: Final = 256
"""Of those heads, the ones that are kept as a whole: half a kilobyte each."""

PASSED_RATE: Final = 16.0
PASSED_BURST: Final = 256.0
"""Heads a second that are passed on, so that no session's outbox grows; beyond it a follower hears at its next poll."""

_LIES: Final = frozenset({RefFlaw.BROKEN_SIGNATURE, RefFlaw.FOREIGN, RefFlaw.NOT_A_WRITER})
"""What no honest member passes on."""

Heard = Callable[[RefRecord], None]


class HomeUnreachable(PeerError):
    """The home of a name cannot be asked."""


class Names:
    """`told` are called with every head that is news here: heard of, or put here."""

    def __init__(self, members: "Members", nursery: trio.Nursery) -> None:
        self.told: list[Heard] = []
        self.book = Book(members.node, self._authority)
        self._members = members
        self._nursery = nursery
        self._heard: OrderedDict[Hash, None] = OrderedDict()
        self._newest_heard: OrderedDict[tuple[NetworkId, str], RefRecord] = OrderedDict()
        """Of each name the record that members told last: verified, and not known to be at its home."""
        self._passed = TokenBucket.full(PASSED_RATE, PASSED_BURST)
        self._announced: set[NetworkId] = set()
        self._patience = Patience()
        members.memberships.heard_head = self._hear

    # The home of a name

    async def refresh(self, network: NetworkId, name: str, *, reading: bool = False) -> RefRecord | None:
        """Brings the log of a name up to its home's; the newest record then. `reading`: who only reads does not wait
        long for its home. Raises `HomeUnreachable`, `BadRef`."""
        while True:
            head, edge = await trio.to_thread.run_sync(self._known, network, name)
            home = await self._home(network, name, head)
            if home == self._members.own_id:
                return head
            place = await (self._place_to_read if reading else self._place)(network, name, home, edge)
            since = await self._since(place, network, name, head)
            vouched = not isinstance(place, BucketHome)
            adopt = partial(self.book.adopt, network, name, since, home, vouched=vouched)
            newest = await trio.to_thread.run_sync(adopt)
            if newest == head or newest is None or (newest.seq == since.tip.seq and newest.home == home):
                return newest

    async def _since(self, place: RefHome, network: NetworkId, name: str, head: RefRecord | None) -> Since:
        """What the home has after `head`. What members told already need not come again: the home says whether it is
        the newest that it has, by its hash."""
        heard = self._newest_heard.get((network, name))
        if heard is not None and head is not None and heard.previous == head.hash:
            since = await place.since(name, heard.seq + 1)
            if since.tip == Tip(heard.seq, heard.hash):
                return Since(since.tip, [heard])
        return await place.since(name, head.seq + 1 if head else 1)

    async def names(self, network: NetworkId) -> list[str]:
        """Those at the node that made the network. Raises `HomeUnreachable`."""
        what = "new names"
        home = await self._home(network, what, None)
        if home == self._members.own_id:
            return []
        edge = await trio.to_thread.run_sync(self._members.node.find_edge)
        return await all_names(await self._place(network, what, home, edge))

    async def put(self, record: RefRecord) -> Stored | Exists:
        """Puts a record at the home of its name, which has just been refreshed. Raises `HomeUnreachable`, `NotHome`,
        `BadRef`, `Refused`."""
        head, edge = await trio.to_thread.run_sync(self._known, record.network, record.name)
        home = await self._home(record.network, record.name, head)
        if home == self._members.own_id:
            return await self.accept(record, None)
        place = await self._place(record.network, record.name, home, edge)
        if isinstance(place, BucketHome) and head is not None and self.book.has_just_moved(head):
            await place.fill(await trio.to_thread.run_sync(self.book.whole, record.network, record.name))
        answer = await place.put_if_absent(record)
        if isinstance(answer, Stored):
            await trio.to_thread.run_sync(self._members.node.refs.put, record)
            self._news(record)
        return answer

    async def hearsay(self, network: NetworkId, name: str) -> RefRecord | None:
        """The newest record that other members or this node's bucket tell, where the home cannot be asked; `None` if
        none is newer than what is known here."""
        head = await trio.to_thread.run_sync(self.book.head, network, name)
        best: RefRecord | None = None
        places: list[RefHome] = [
            RemoteHome(session) for session in self._members.peering.sessions(network)[:HEARSAY_ASKED]
        ]
        edge = await trio.to_thread.run_sync(self._members.node.find_edge)
        for place in [*places, *([] if edge is None else [self._bucket(edge, network)])]:
            try:
                since = await place.since(name, head.seq + 1 if head else 1)
                found = await trio.to_thread.run_sync(self.book.believable, network, name, since)
            except ForgeError as error:
                LOG.info("what somebody else than its home says of %s is no help: %s", name, error)
                continue
            if found is not None and (best is None or found.seq > best.seq):
                best = found
        return best

    async def listed(self, network: NetworkId, prefix: str, count: int) -> list[str]:
        """Up to `count` names that begin with `prefix` and are longer, in the order of their bytes, at the home of
        those that were never moved. Raises `HomeUnreachable`."""
        home = await self._home(network, prefix, None)
        place: RefHome = LocalHome(self._members.node.refs.log(network))
        if home != self._members.own_id:
            edge = await trio.to_thread.run_sync(self._members.node.find_edge)
            place = await self._place(network, prefix, home, edge)
        found: list[str] = []
        after = prefix
        while len(found) < count:
            names = await place.names(after)
            found += [name for name in names if name.startswith(prefix)]
            if not names or not names[-1].startswith(prefix):
                break
            after = names[-1]
        return found[:count]

    async def _home(self, network: NetworkId, name: str, head: RefRecord | None) -> NodeId:
        """Whom to ask. Who made the network may have to be heard of first."""
        home = self.book.home_of(network, head)
        with trio.move_on_after(REACH_FACTOR * self._members.dial_timeout):
            while home is None:
                await trio.sleep(0.05)
                home = self.book.home_of(network, head)
        if home is None:
            raise HomeUnreachable(
                f"no member could be reached who knows which node keeps {name!r}, the one that made network "
                f"{self._members.name(network)!r}",
                hint="forge peers shows who can be reached; forge doctor says why others cannot",
            )
        return home

    def _known(self, network: NetworkId, name: str) -> "tuple[RefRecord | None, Edge | None]":
        """What is known here before anybody is asked: the newest record of a name, and this node's bucket, if the home
        may be that. Blocks."""
        head = self.book.head(network, name)
        is_home = self.book.home_of(network, head) == self._members.own_id
        return head, None if is_home else self._members.node.find_edge()

    async def _place_to_read(
        self, network: NetworkId, name: str, home: NodeId, edge: "Edge | None"
    ) -> BucketHome | RemoteHome:
        """As `_place`, for who can go on with what is known elsewhere."""
        patience = self._patience.for_home(home, trio.current_time())
        try:
            place = await self._place(network, name, home, edge, patience)
        except HomeUnreachable:
            self._patience.missed(home, patience, trio.current_time())
            raise
        self._patience.reached(home)
        return place

    async def _place(
        self, network: NetworkId, name: str, home: NodeId, edge: "Edge | None", patience: float = math.inf
    ) -> BucketHome | RemoteHome:
        """The home itself: `edge`, this node's bucket, if it is that, else a member. Raises as `_reach`."""
        if edge is None or edge.node_id != home:
            return RemoteHome(await self._reach(network, name, home, patience))
        return self._bucket(edge, network)

    def _bucket(self, edge: "Edge", network: NetworkId) -> BucketHome:
        from forge_p2p.bucket.reflog import BucketLog

        return BucketHome(BucketLog(edge.bucket, network))

    async def _reach(self, network: NetworkId, name: str, node_id: NodeId, patience: float = math.inf) -> "PeerSession":
        """A session with the home of a name, within `patience` seconds. Raises `HomeUnreachable`."""
        peering = self._members.peering
        problem = ""
        with trio.move_on_after(min(patience, REACH_FACTOR * self._members.dial_timeout)):
            async with trio.open_nursery() as nursery:
                if peering.connected(network, node_id) is None:
                    nursery.start_soon(self._look_for, network, node_id)
                has_dialled = False  # however it was with the last dial: somebody waits for this one
                while (session := peering.connected(network, node_id)) is None:
                    known = next((each for each in peering.known(network) if each.contact.node_id == node_id), None)
                    due = known is not None and (not has_dialled or known.retry_at <= trio.current_time())
                    if known is not None and due and known.contact.addresses:
                        has_dialled = True
                        with suppress(PeerError):
                            await peering.session(network, known.contact)
                    problem = known.problem if known is not None else problem
                    await trio.sleep(0.02)
                nursery.cancel_scope.cancel()
                return session
        reason = f": {problem}" if problem else ""
        raise HomeUnreachable(
            f"the home of {name!r}, node {node_id.hex()[:16]}, cannot be reached{reason}",
            hint="is it up (forge up there)? forge peers shows who is; if it is a bucket: forge edge set URL",
        )

    async def _look_for(self, network: NetworkId, node_id: NodeId) -> None:
        """Asks the DHT where a home is."""
        lookups = self._members.lookups.get(network)
        with contained("looking for a home"):
            while lookups is not None:
                async with aclosing(lookups.providers(_beacon(node_id))) as providers:
                    async for contact in providers:
                        if contact.node_id == node_id:
                            self._members.peering.meet(network, contact, Found.DHT)
                await trio.sleep(1.0)

    def announce(self, network: NetworkId) -> None:
        """Lets members find this node in the DHT, as it is the home of names."""
        if network not in self._announced and network in self._members.lookups:
            self._announced.add(network)
            self._members.lookups[network].announce(_beacon(self._members.own_id))

    def _authority(self, network: NetworkId) -> Authority:
        memberships = self._members.memberships
        return Authority(memberships.revocations(network), memberships.founder(network))

    # As a home

    async def accept(self, record: RefRecord, session: "PeerSession | None") -> Stored | Exists:
        """A record is put here; tells everybody. Raises `BadRef`, `NotAMember`, `NotHome`."""
        head = await trio.to_thread.run_sync(self.book.head, record.network, record.name)
        if session is not None and record.seq > (head.seq if head else 0) + 1:
            with suppress(ForgeError):  # this node may have become the home by a record that it has not heard of
                await self.refresh(record.network, record.name)
        answer = await trio.to_thread.run_sync(self.book.accept, self._members.own_id, record)
        if isinstance(answer, Stored):
            self.announce(record.network)
            self._news(record)
        return answer

    # Heads

    def _news(self, record: RefRecord, heard_from: "PeerSession | None" = None) -> None:
        """A head that was not known before."""
        self._remember(record.hash)
        if heard_from is None or self._passed.try_take(1.0, trio.current_time()):
            self._members.memberships.tell(record.network, [encode_head(record.encode())], heard_from)
        for tell in list(self.told):
            tell(record)

    def _hear(self, session: "PeerSession", data: bytes) -> None:
        """A member says what the newest record of a name is."""
        digest = hash_bytes(data)
        if digest not in self._heard:
            self._remember(digest)
            self._nursery.start_soon(self._weigh, session, data)

    async def _weigh(self, session: "PeerSession", data: bytes) -> None:
        with contained("a head that was heard"):
            network = session.member.network if session.member else None
            if network is None:
                return
            try:
                record = decode_record(data)
                await trio.to_thread.run_sync(self.book.judge(network).verify_one, record.name, record, time.time())
            except (Malformed, BadRef) as error:
                if isinstance(error, Malformed) or error.flaw in _LIES:
                    LOG.warning("ended the session with %s, which lied about a name: %s", session.where, error.message)
                    session.blame(PeerError(f"{session.where} lied about a name: {error.message}"))
                return
            self._newest_heard[(network, record.name)] = record
            if len(self._newest_heard) > RECORDS_REMEMBERED:
                self._newest_heard.popitem(last=False)
            self._news(record, session)

    def _remember(self, digest: Hash) -> None:
        self._heard[digest] = None
        if len(self._heard) > HEADS_REMEMBERED:
            self._heard.popitem(last=False)


def _beacon(node_id: NodeId) -> Hash:
    """What a home announces in the DHT beside its roots."""
    return hash_bytes(b"forge home v1\0" + node_id)
