"""Whom a node knows, keeps connected and dials, under a virtual clock; sessions and network are stand-ins."""

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from forge_p2p.content.contact import Contact
from forge_p2p.errors import ForgeError, PeerError
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.net.base import Address
from forge_p2p.node.membership.peering import (
    ACQUAINTANCES_MAX,
    IDLE,
    INTERVAL,
    KEPT,
    MET_MAX,
    OUTGOING_MAX,
    RETRY_FIRST,
    RETRY_LATE,
    RETRY_LEFT,
    RETRY_MAX,
    Found,
    Peering,
)
from forge_p2p.proto.hello import STAYS

NETWORK = NetworkId(b"n" * 32)
OWN = NodeId(b"\x80" * 32)


def contact(number: int, host: str = "192.0.2.1") -> Contact:
    return Contact(NodeId(number.to_bytes(32, "big")), ((host, 1000 + number),))


@dataclass(eq=False)
class FakeConnection:
    address: Address
    is_client: bool = True


@dataclass(eq=False)
class FakeSession:
    """What `Peering` sees of a session."""

    peer_id: NodeId
    connection: FakeConnection
    busy: bool = False
    capabilities: frozenset[str] = frozenset({STAYS})
    used: float = field(default_factory=trio.current_time)
    ended: trio.Event = field(default_factory=trio.Event)
    reason: ForgeError | None = None
    has_left: bool = False

    async def leave(self, *_: object, reason: str = "") -> None:
        await trio.lowlevel.checkpoint()
        self.ended.set()


@dataclass
class World:
    """Who can be reached, and what was dialled when."""

    up: set[NodeId] = field(default_factory=set)
    dials: list[tuple[float, NodeId]] = field(default_factory=list)
    sessions: list[FakeSession] = field(default_factory=list)
    delay: float = 0.1

    async def dial(self, network: NetworkId, who: Contact) -> FakeSession:
        self.dials.append((trio.current_time(), who.node_id))
        await trio.sleep(self.delay)
        if who.node_id not in self.up:
            raise PeerError("no answer")
        host, port = who.addresses[0]
        session = FakeSession(who.node_id, FakeConnection(Address(host, port)))
        self.sessions.append(session)
        return session


def peering(world: World, nursery: trio.Nursery) -> Peering:
    found = Peering(OWN, world.dial, nursery, random.Random(1))  # type: ignore[arg-type]  # a stand-in
    found.enter(NETWORK)
    return found


async def test_a_few_of_many_are_kept_connected(autojump_clock: MockClock) -> None:
    world = World({contact(number).node_id for number in range(50)})
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        for number in range(50):
            peers.meet(NETWORK, contact(number), Found.LAN)
        nursery.start_soon(peers.run)
        await trio.sleep(10)
        assert len(peers.sessions(NETWORK)) == KEPT
        assert len(world.dials) == KEPT
        world.sessions[0].ended.set()
        await trio.sleep(10)
        assert len(peers.sessions(NETWORK)) == KEPT
        nursery.cancel_scope.cancel()


async def test_who_does_not_answer_is_tried_less_and_less_often(autojump_clock: MockClock) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        peers.meet(NETWORK, contact(1), Found.STATIC)
        nursery.start_soon(peers.run)
        await trio.sleep(600)
        gaps = [later - earlier for (earlier, _), (later, _) in zip(world.dials, world.dials[1:], strict=False)]
        assert all(later > earlier * 1.4 for earlier, later in pairwise(gaps[:6])), gaps
        assert all(RETRY_MAX <= gap <= RETRY_MAX + 2 for gap in gaps[7:]), gaps
        [known] = peers.known(NETWORK)
        assert known.problem == "no answer"
        world.up.add(contact(1).node_id)
        await trio.sleep(RETRY_MAX + 2)
        assert peers.connected(NETWORK, contact(1).node_id) is not None
        assert known.problem == ""
        nursery.cancel_scope.cancel()


async def test_a_new_address_is_tried_at_once(autojump_clock: MockClock) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        peers.meet(NETWORK, contact(1), Found.LAN)
        nursery.start_soon(peers.run)
        await trio.sleep(100)
        world.up.add(contact(1).node_id)
        peers.meet(NETWORK, contact(1, "192.0.2.99"), Found.LAN)
        await trio.sleep(2)
        session = peers.connected(NETWORK, contact(1).node_id)
        assert session is not None
        assert session.connection.address.host == "192.0.2.99"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("has_left", "first"), [(False, RETRY_FIRST), (True, RETRY_LEFT)])
async def test_who_said_goodbye_is_let_go(autojump_clock: MockClock, has_left: bool, first: float) -> None:
    """Whoever vanished is dialled soon, whoever has gone is not; and it is connected at once when it calls."""
    world = World({contact(1).node_id})
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        session: Any = await peers.session(NETWORK, contact(1))
        nursery.start_soon(peers.run)
        world.dials.clear()
        ended = trio.current_time()
        session.reason, session.has_left = PeerError("it went"), has_left
        session.ended.set()
        await trio.sleep(60)
        assert world.dials
        assert first <= world.dials[0][0] - ended < first + 3 * INTERVAL
        nursery.cancel_scope.cancel()


async def test_those_met_last_are_never_given_up_and_those_who_passed_by_are(autojump_clock: MockClock) -> None:
    world = World({contact(number).node_id for number in range(MET_MAX + 10)})
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        for number in range(MET_MAX + 10):
            session: Any = await peers.session(NETWORK, contact(number))
            session.reason = PeerError("it went")
        passing: Any = FakeSession(
            contact(999).node_id, FakeConnection(Address("192.0.2.1", 9)), capabilities=frozenset()
        )
        peers.admit(NETWORK, passing)
        assert peers.changed == {NETWORK}
        world.up.clear()
        for session in world.sessions:
            session.ended.set()
        nursery.start_soon(peers.run)
        await trio.sleep(24 * 3600)
        silent = [each for each in peers.known(NETWORK) if each.contact.node_id != contact(999).node_id]
        assert len(silent) == MET_MAX
        assert {each.contact.node_id for each in silent} == {each.contact.node_id for each in peers.met(NETWORK)}
        world.up.add(silent[0].contact.node_id)
        await trio.sleep(RETRY_LATE + 60)
        assert peers.connected(NETWORK, silent[0].contact.node_id) is not None
        nursery.cancel_scope.cancel()


async def test_who_was_met_before_a_restart_is_dialled_and_kept_in_mind(autojump_clock: MockClock) -> None:
    world = World({contact(1).node_id})
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        peers.recall(NETWORK, contact(1), 1000.0)
        peers.recall(NETWORK, contact(2), 2000.0)
        nursery.start_soon(peers.run)
        await trio.sleep(5)
        assert [each.contact.node_id for each in peers.met(NETWORK)] == [contact(1).node_id, contact(2).node_id]
        assert peers.met(NETWORK)[1].met == 2000.0
        nursery.cancel_scope.cancel()


async def test_in_a_hurry_everybody_is_dialled_at_once(autojump_clock: MockClock) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        peers.meet(NETWORK, contact(1), Found.STATIC)
        nursery.start_soon(peers.run)
        await trio.sleep(600)
        world.up.add(contact(1).node_id)
        peers.hurry()
        await trio.sleep(1)
        assert peers.connected(NETWORK, contact(1).node_id) is not None
        nursery.cancel_scope.cancel()


async def test_callers_at_once_share_one_dial(autojump_clock: MockClock) -> None:
    world = World({contact(1).node_id})
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        found: list[object] = []

        async def ask() -> None:
            found.append(await peers.session(NETWORK, contact(1)))

        async with trio.open_nursery() as askers:
            for _ in range(5):
                askers.start_soon(ask)
        assert len(world.dials) == 1
        assert len(set(map(id, found))) == 1
        nursery.cancel_scope.cancel()


async def test_all_who_wait_for_a_dial_hear_why_it_failed(autojump_clock: MockClock) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        failures: list[str] = []

        async def ask() -> None:
            with pytest.raises(PeerError) as caught:
                await peers.session(NETWORK, contact(1))
            failures.append(caught.value.message)

        async with trio.open_nursery() as askers:
            for _ in range(3):
                askers.start_soon(ask)
        assert failures == ["no answer"] * 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("other", [1, 0xFF << 248])
async def test_two_that_dialled_each_other_agree_on_one_session(other: int, autojump_clock: MockClock) -> None:
    """Both use the session that the lower id dialled; the second one idles and is closed by who dialled it."""
    world = World()
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        peer_id = NodeId(other.to_bytes(32, "big"))
        ours = FakeSession(peer_id, FakeConnection(Address("192.0.2.1", 1), is_client=True))
        theirs = FakeSession(peer_id, FakeConnection(Address("192.0.2.1", 1), is_client=False))
        for session in (ours, theirs):
            peers.admit(NETWORK, session)  # type: ignore[arg-type]
        chosen = ours if peer_id > OWN else theirs
        used: Any = peers.connected(NETWORK, peer_id)
        assert used is chosen
        nursery.start_soon(peers.run)
        await trio.sleep(IDLE + 5)
        assert ours.ended.is_set() == (chosen is theirs)
        assert not theirs.ended.is_set()
        nursery.cancel_scope.cancel()


async def test_idle_sessions_beyond_the_limit_are_closed_busy_ones_never(autojump_clock: MockClock) -> None:
    count = OUTGOING_MAX + 10
    world = World({contact(number).node_id for number in range(count)})
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        for number in range(count):
            await peers.session(NETWORK, contact(number))
        for session in world.sessions[:5]:
            session.busy = True
        nursery.start_soon(peers.run)
        await trio.sleep(IDLE + 10)
        assert len(peers.sessions(NETWORK)) == OUTGOING_MAX
        assert not any(session.ended.is_set() for session in world.sessions[:5])
        nursery.cancel_scope.cancel()


async def test_acquaintances_are_bounded_and_the_worst_go_first(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        peers = peering(World(), nursery)
        peers.meet(NETWORK, contact(0), Found.STATIC)
        for number in range(1, ACQUAINTANCES_MAX + 100):
            peers.meet(NETWORK, contact(number % 60000), Found.DHT)
        known = peers.known(NETWORK)
        assert len(known) == ACQUAINTANCES_MAX
        assert contact(0) in [each.contact for each in known]
        nursery.cancel_scope.cancel()


async def test_leaving_a_network_ends_its_sessions(autojump_clock: MockClock) -> None:
    world = World({contact(1).node_id})
    async with trio.open_nursery() as nursery:
        peers = peering(world, nursery)
        await peers.session(NETWORK, contact(1))
        await peers.leave(NETWORK)
        assert world.sessions[0].ended.is_set()
        with pytest.raises(PeerError, match="not in that network"):
            await peers.session(NETWORK, contact(1))
        nursery.cancel_scope.cancel()
