"""The node on the network: its endpoint, opened when first needed, and the sessions over it."""

import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from forge_p2p import __version__
from forge_p2p.errors import ForgeError, PeerError
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Address, Connection, Endpoint
from forge_p2p.node.addresses import parse_listen, reachable
from forge_p2p.node.edge.settings import edge_capability, load_record
from forge_p2p.node.groups import contained, unwrapped
from forge_p2p.node.local import LocalNode
from forge_p2p.node.network_results import PeerStatus
from forge_p2p.node.results import UpResult
from forge_p2p.proto.auth import NOTHING
from forge_p2p.proto.hello import NETWORK, REFS, SETS, STAYS, ClientRole, ServerRole, SessionConfig
from forge_p2p.proto.hints import DELTA

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.sessions.peer import PeerSession
    from forge_p2p.node.sessions.serving import Server

DIAL_STAGGER = 0.25
"""Seconds until the next address is tried beside those under way (RFC 8305's connection attempt delay)."""

FAREWELL_TIMEOUT = 1.0
"""Seconds. A peer that does not read is not waited for."""


class Network:
    """A node's sessions. Use `open_network`."""

    def __init__(self, node: LocalNode, nursery: trio.Nursery, *, stays: bool) -> None:
        self.node = node
        self.sessions: set[PeerSession] = set()
        self._stays = stays
        self._capabilities = _capabilities(node, stays=stays)
        self._members: Members | None = None
        self._nursery = nursery
        self._opening = trio.Lock()
        self._endpoint: Endpoint | None = None
        self._server: Server | None = None
        self._started = time.time()

    async def endpoint(self) -> Endpoint:
        """The node's endpoint; opens it, and accepts peers on it, when it is first asked for."""
        async with self._opening:
            if self._endpoint is None:
                from forge_p2p.node.membership.waking import Waking
                from forge_p2p.node.sessions.serving import Server

                self._endpoint = await self._nursery.start(self._hold_endpoint)
                self._server = Server(self.node, self._nursery)
                self._nursery.start_soon(Waking(self).run)
            return self._endpoint

    async def _hold_endpoint(self, task_status: trio.TaskStatus[Endpoint]) -> None:
        """Owns the endpoint: a task of its own, because whoever asks first may be gone before it is closed."""
        from forge_p2p.net.quic import open_endpoint

        listen = parse_listen(self.node.config.listen)
        async with open_endpoint(listen, self.node.key, self.node.config.net) as endpoint:
            task_status.started(endpoint)
            await trio.sleep_forever()

    async def listen(self) -> None:
        """Opens the endpoint and begins to serve peers."""
        await self.endpoint()
        self._nursery.start_soon(self._accept)

    async def members(self) -> "Members":
        """The node as a member of its networks. When this is first asked for it begins to serve peers, if it did not
        yet: who fetches from members also gives."""
        if self._members is None:
            from forge_p2p.node.membership.members import Members

            if not self._stays:
                await self.listen()
            self._members = Members(self, self._nursery, stays=self._stays)
            self._nursery.start_soon(self._members.run)
        await self._members.ready.wait()
        return self._members

    @property
    def stays(self) -> bool:
        """Whether this process is a node that is up, and not a command that ends."""
        return self._stays

    async def afterwards(self, work: Callable[[], object]) -> None:
        """Does what a command need not wait for, in a worker thread: a node that stays does it when it comes to it."""
        if not self._stays:
            await trio.to_thread.run_sync(work)
            return

        async def later() -> None:
            with contained("what was left to do after a command"):
                await trio.to_thread.run_sync(work)

        self._nursery.start_soon(later)

    def heard(self, session: "PeerSession", prefixes: Iterable[int]) -> None:
        """A member has these chunks, by the first 64 bits of their hashes."""
        if self._server is not None:
            self._server.heard(session, prefixes)

    def reachable_addresses(self) -> list[Address]:
        """Where peers reach this node. The endpoint must be open."""
        if self._endpoint is None:
            raise PeerError("this node does not listen")
        return reachable(self._endpoint.address)

    def up_result(self) -> UpResult:
        """The node as `forge up` reports it."""
        return UpResult(
            node_id=self.node.node_id.hex(),
            home=str(self.node.home.path),
            pid=os.getpid(),
            addresses=[f"{address.host} port {address.port}" for address in self.reachable_addresses()],
        )

    @property
    def member_side(self) -> "Members | None":
        """The node as a member of its networks, once it was asked for."""
        return self._members

    @property
    def lan_problem(self) -> str:
        """Why nobody is found on the LAN, in one line; empty when all seems well, or nobody is looked for."""
        lan = self._members.lan if self._members is not None else None
        return lan.problem if lan is not None else ""

    @property
    def uptime(self) -> float:
        """Seconds since the node started."""
        return time.time() - self._started

    def peers(self) -> list[PeerStatus]:
        """Those connected now."""
        found = []
        for session in self.sessions:
            counts = session.connection.statistics()
            found.append(
                PeerStatus(
                    node_id=(session.peer_id or b"").hex(),
                    address=session.where,
                    connected=trio.current_time() - session.since,
                    sent=counts.bytes_sent,
                    received=counts.bytes_received,
                    round_trip=counts.round_trip,
                )
            )
        return found

    def served(self, share_id: str) -> int:
        """Stored bytes sent for a share since the node started."""
        return self._server.served[share_id] if self._server is not None else 0

    async def dial(
        self, addresses: Sequence[Address], server_id: NodeId, credentials: bytes, *, mutual: bool = False
    ) -> "PeerSession":
        """A session with `server_id`, by whichever address answers first; its first requests may be made at once.
        `mutual`: the server may ask, too, once `Session.grant` has said what. Raises `PeerError` naming what was
        tried."""
        if not addresses:
            raise PeerError("there is no address to try", hint="give one with --peer ADDR:PORT")
        connection = await self._first_to_answer(addresses, server_id)
        scope = None if mutual else NOTHING
        role = ClientRole(self.node.node_id, server_id, self.node.key.sign, credentials, scope)
        return self._start(connection, role)

    async def _first_to_answer(self, addresses: Sequence[Address], server_id: NodeId) -> Connection:
        endpoint = await self.endpoint()
        winners: list[Connection] = []
        failures: list[str] = []
        async with trio.open_nursery() as nursery:

            async def attempt(address: Address, failed: trio.Event) -> None:
                try:
                    connection = await endpoint.dial(address, server_id)
                except ForgeError as error:
                    failures.append(error.message)
                    failed.set()
                else:
                    winners.append(connection)
                    nursery.cancel_scope.cancel()

            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(DIAL_STAGGER):
                    await failed.wait()
        for late in winners[1:]:
            await late.aclose()
        if not winners:
            raise PeerError(
                "; ".join(dict.fromkeys(failures)),
                hint="is the other side up, and does a firewall drop UDP on the way?",
            )
        return winners[0]

    async def _accept(self) -> None:
        endpoint = await self.endpoint()
        if self._server is None:
            return
        while True:
            connection = await endpoint.accept()
            self._start(connection, ServerRole(self.node.node_id, secrets.token_bytes(32), self._server.rights))

    def _start(self, connection: Connection, role: ClientRole | ServerRole) -> "PeerSession":
        from forge_p2p.node.sessions.peer import PeerSession
        from forge_p2p.proto.session import Session

        if self._server is None:
            raise PeerError("this node does not listen")
        net = self.node.config.net
        patience = SessionConfig(
            agent=f"forge {__version__}",
            capabilities=self._capabilities,
            hello_timeout=net.dial_timeout,
            stall_timeout=net.stall_timeout,
        )
        session = PeerSession(connection, Session(role, patience), self._server)
        session.members = self._members
        self.sessions.add(session)
        self._nursery.start_soon(self._run, session)
        return session

    async def _run(self, session: "PeerSession") -> None:
        try:
            if session.connection.is_client:
                await session.run()
            else:
                with contained("a peer's session"):
                    await session.run()
        finally:
            self.sessions.discard(session)

    async def leave(self) -> None:
        """Tells all peers that this node goes away."""
        from forge_p2p.wire.codes import Code

        if self._members is not None:
            await self._members.leave()

        with trio.move_on_after(FAREWELL_TIMEOUT):
            async with trio.open_nursery() as nursery:
                for session in list(self.sessions):
                    nursery.start_soon(session.leave, Code.LEAVING, "the node is shutting down")


def _capabilities(node: LocalNode, *, stays: bool) -> frozenset[str]:
    """What this node says of itself to everybody; site and bucket only as hashes, since strangers hear it, too."""
    found = {NETWORK, REFS, SETS, DELTA}
    if stays:
        found.add(STAYS)
    if node.config.net.site:
        from forge_p2p.content.link import hash_bytes

        found.add(f"site.{hash_bytes(node.config.net.site.encode()).hex()[:16]}")
    record = load_record(node.home)
    if record is not None:
        found.add(edge_capability(record))
    return frozenset(found)


@asynccontextmanager
async def open_network(node: LocalNode, *, serve: bool) -> AsyncIterator[Network]:
    """The network of `node`, listening at once if it is to `serve`; sessions end with the context, and peers are told,
    also if it ends by an error."""
    with unwrapped():
        async with trio.open_nursery() as nursery:
            network = Network(node, nursery, stays=serve)
            if serve:
                await network.listen()
                await network.members()
            try:
                yield network
            except (ForgeError, KeyboardInterrupt):
                with trio.move_on_after(2 * FAREWELL_TIMEOUT, shield=True):
                    await network.leave()
                raise
            await network.leave()
            nursery.cancel_scope.cancel()
