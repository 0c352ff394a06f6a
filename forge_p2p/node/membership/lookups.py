"""The DHT of one network, driven: its questions go out over sessions with members, its answers come back over them.

The machine (`proto.dht`) decides whom to ask what; a session is dialled for whoever is to be asked and not connected.
What it knows of the network outlives the process in one small file.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from forge_p2p.content.blinding import dht_key
from forge_p2p.content.contact import Contact, means_something_elsewhere, pack_contact, unpack_contact
from forge_p2p.errors import ForgeError, Malformed, PeerError
from forge_p2p.ids import Hash, NetworkId, NodeId
from forge_p2p.node.groups import contained
from forge_p2p.node.membership.peering import Found, Peering
from forge_p2p.node.records import write_record
from forge_p2p.proto.dht import messages as dht
from forge_p2p.proto.dht.machine import Dht
from forge_p2p.proto.hello import STAYS
from forge_p2p.wire import messages as wire
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.node.sessions.peer import PeerSession

ROOT_TTL = 900
"""Seconds for which a root stays announced: agents come and go, and a peer that vanished is asked for no longer."""

SAVE_INTERVAL = 300.0
FAREWELL = 1.0
"""Seconds for taking announcements back on a clean exit."""

Addresses = tuple[tuple[str, int], ...]


class Lookups:
    """One network's DHT. `addresses`: where this node is reached, as it announces itself. `table`: where the routing
    table is kept, `None` for a network that keeps nothing on disk."""

    def __init__(
        self,
        network: NetworkId,
        secret: bytes,
        machine: Dht,
        peering: Peering,
        table: Path | None,
        addresses: Callable[[], Addresses],
        *,
        stays: bool,
    ) -> None:
        self._network = network
        self._secret = secret
        self._machine = machine
        self._peering = peering
        self._table = table
        self._addresses = addresses
        self._announced: set[Hash] = set()
        self._found: dict[int, trio.MemorySendChannel[Contact]] = {}
        self._stays = stays
        self._asking = 0
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def behind(self) -> int:
        """Announcements that are overdue."""
        return self._machine.behind

    @property
    def announced(self) -> int:
        """Roots of this node's that others are told of."""
        return self._machine.announced

    @property
    def size(self) -> int:
        """Nodes in the routing table."""
        return self._machine.size

    async def run(self) -> None:
        """Drives the machine until cancelled; then takes back what was announced, and keeps the table."""
        await self._load()
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._save_now_and_then)
                while True:
                    self._machine.handle_timeout(trio.current_time())
                    self._pump()
                    self._changed = trio.Event()
                    with trio.move_on_at(self._machine.next_deadline()):
                        await self._changed.wait()
        finally:
            self._nursery = None
            with trio.move_on_after(FAREWELL, shield=True):
                await self._save()

    # What happens on sessions

    def joined(self, session: "PeerSession") -> None:
        """A session with a member began."""
        if session.peer_id is not None and (not self._stays or STAYS in session.capabilities):
            self._machine.peer_seen(_contact_of(session, session.peer_id), trio.current_time())
            self._pump()

    async def asked(self, session: "PeerSession", request_id: int, message: wire.DhtQuery) -> None:
        """A member asks; answered at once. Raises `PeerError` when it has gone."""
        if session.peer_id is None:
            return
        sender = _contact_of(session, session.peer_id)
        reply = self._machine.receive_query(sender, _query_in(message), trio.current_time())
        self._pump()
        if isinstance(reply, dht.Declined):
            await session.finish(request_id, Code.BUSY, "no room for the record")
        else:
            await session.reply(request_id, _reply_out(reply))

    # What the node asks

    async def providers(self, root: Hash) -> AsyncGenerator[Contact, None]:
        """Those who have announced `root`, as they are found, each once. Use it in `aclosing`."""
        send, receive = trio.open_memory_channel[Contact](math.inf)
        lookup = self._machine.find_providers(dht_key(self._secret, root), trio.current_time())
        self._found[lookup] = send
        self._pump()
        try:
            async for contact in receive:
                yield contact
        finally:
            self._found.pop(lookup, None)
            self._machine.stop(lookup, trio.current_time())
            self._pump()

    def announce(self, root: Hash, after: float = 0.0) -> None:
        """This node has `root`, or some of it, until `withdraw`. Said `after` seconds, or before along with others."""
        if root not in self._announced:
            self._announced.add(root)
            self._machine.announce(dht_key(self._secret, root), ROOT_TTL, trio.current_time(), after)
            self._pump()

    def withdraw(self, root: Hash) -> None:
        """It has it no more."""
        if root in self._announced:
            self._announced.remove(root)
            self._machine.withdraw(dht_key(self._secret, root), trio.current_time())
            self._pump()

    def moved(self) -> None:
        """This node may have other addresses now."""
        self._machine.move(self._addresses(), trio.current_time())
        self._pump()

    def woke(self) -> None:
        """This machine slept, without this process's clock."""
        self._machine.woke(trio.current_time())
        self._pump()

    async def withdraw_all(self) -> None:
        """Takes everything back, before a clean exit; waits a moment for it to be said."""
        for root in list(self._announced):
            self.withdraw(root)
        with trio.move_on_after(FAREWELL):
            while self._asking:  # noqa: ASYNC110  # whoever asks says so by a number
                await trio.sleep(0.02)

    # The machine's outputs

    def _pump(self) -> None:
        for output in self._machine.take():
            if isinstance(output, dht.SendQuery):
                if self._nursery is not None:
                    self._nursery.start_soon(self._send, output)
                else:
                    self._machine.rpc_failed(output.rpc, trio.current_time())
            elif isinstance(output, dht.ProvidersFound):
                for provider in output.providers:
                    self._tell(output.lookup, provider.contact)
            else:
                send = self._found.pop(output.lookup, None)
                if send is not None:
                    send.close()
        self._changed.set()

    def _tell(self, lookup: int, contact: Contact) -> None:
        send = self._found.get(lookup)
        if send is not None:
            with suppress(trio.BrokenResourceError):
                send.send_nowait(contact)

    async def _send(self, query: dht.SendQuery) -> None:
        """Asks over a session. A dial that takes longer than the answer is worth goes on in the background."""
        self._asking += 1
        with contained("a question to the DHT"):
            reply: dht.Reply | None = None
            with trio.move_on_after(query.timeout):
                try:
                    self._peering.meet(self._network, query.contact, Found.DHT)
                    session = await self._peering.session(self._network, query.contact)
                    answer = await session.query(_query_out(query.message), query.timeout)
                    reply = _reply_in(answer)
                except (PeerError, Malformed):
                    reply = None
            now = trio.current_time()
            if reply is None:
                self._machine.rpc_failed(query.rpc, now)
            else:
                self._machine.receive_reply(query.rpc, reply, now)
            self._pump()
        self._asking -= 1

    # The table on disk

    async def _load(self) -> None:
        if self._table is None:
            return
        try:
            rows = msgspec.msgpack.decode(self._table.read_bytes(), type=list[tuple[bytes, list[tuple[bytes, int]]]])
            contacts = [unpack_contact(node_id, addresses) for node_id, addresses in rows]
        except (OSError, msgspec.DecodeError, ForgeError):
            return  # no table, or one that says nothing: the network is found again in other ways
        for contact in contacts:
            self._peering.meet(self._network, contact, Found.DHT)
        self._machine.restore(contacts, trio.current_time())

    async def _save_now_and_then(self) -> None:
        while True:
            await trio.sleep(SAVE_INTERVAL)
            await self._save()

    async def _save(self) -> None:
        if self._table is None:
            return
        content = msgspec.msgpack.encode([pack_contact(contact) for contact in self._machine.contacts()])
        with suppress(OSError):  # it is a convenience
            await trio.to_thread.run_sync(lambda: write_record(self._table, content, durable=False))  # type: ignore[arg-type]


def _contact_of(session: "PeerSession", peer_id: NodeId) -> Contact:
    """A member where it was seen, as far as that means something to others."""
    address = session.connection.address
    places = ((address.host, address.port),) if means_something_elsewhere(address.host) else ()
    return Contact(peer_id, places)


def _query_out(message: dht.Query) -> wire.DhtQuery:
    match message:
        case dht.FindNode():
            return wire.FindNode(message.target)
        case dht.FindProviders():
            return wire.FindProviders(message.key)
        case dht.Announce():
            return wire.Announce.of(message.key, message.ttl, message.addresses)


def _query_in(message: wire.DhtQuery) -> dht.Query:
    match message:
        case wire.FindNode():
            return dht.FindNode(message.target)
        case wire.FindProviders():
            return dht.FindProviders(message.key)
        case wire.Announce():
            return dht.Announce(message.key, message.ttl, message.addresses)


def _reply_out(message: dht.Nodes | dht.Providers | dht.Accepted) -> wire.DhtReply:
    match message:
        case dht.Nodes():
            return wire.Nodes.of(message.contacts)
        case dht.Providers():
            return wire.Providers.of([(each.contact, each.ttl) for each in message.providers], message.closer)
        case dht.Accepted():
            return wire.Done(Code.OK, "")


def _reply_in(message: wire.Reply) -> dht.Reply | None:
    match message:
        case wire.Nodes():
            return dht.Nodes(message.contacts)
        case wire.Providers():
            return dht.Providers(
                tuple(dht.Provider(contact, ttl) for contact, ttl in message.providers), message.closer
            )
        case wire.Done():
            return dht.Accepted() if message.code == Code.OK else None
        case _:
            return None
