"""Who in a network says that they hold a root: the members connected are asked, and those whom the DHT names."""

from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final

import trio

from forge_p2p.content.contact import Contact
from forge_p2p.errors import ForgeError, PeerError
from forge_p2p.ids import PREFIX_SIZE, Hash, NetworkId
from forge_p2p.node.membership.peering import Found
from forge_p2p.node.network_results import HolderEntry
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.sessions.peer import PeerSession

ASKED: Final = 16
LOOK_FOR: Final = 2.0
"""Nodes asked, and seconds they are looked for."""

Told = Callable[[HolderEntry], bool]
"""Given each answer; returns whether that is enough."""


async def ask_holders(members: "Members", network: NetworkId, root: Hash, told: Told) -> None:
    """Asks until `told` has heard enough, nobody is left to ask, or `LOOK_FOR` is over."""
    asked: set[bytes] = set()
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + LOOK_FOR

        async def ask_one(contact: Contact) -> None:
            answer = await _ask(members, network, contact, root)
            if answer is not None and told(answer):
                nursery.cancel_scope.cancel()

        def ask(contact: Contact) -> None:
            if contact.node_id not in asked and contact.node_id != members.own_id and len(asked) < ASKED:
                asked.add(contact.node_id)
                nursery.start_soon(ask_one, contact)

        for session in members.peering.sessions(network):
            if session.peer_id is not None:
                ask(Contact(session.peer_id, ()))
        async with aclosing(members.lookups[network].providers(root)) as providers:
            async for contact in providers:
                members.peering.meet(network, contact, Found.DHT)
                ask(contact)


class _Answer:
    """The handler of one FOLLOW: the first that is told of holdings."""

    def __init__(self) -> None:
        self.first: messages.Holdings | None = None
        self.over = trio.Event()

    def told(self, session: "PeerSession", message: messages.Told) -> None:
        if isinstance(message, messages.Holdings):
            self.first = message
            self.over.set()

    def unfollowed(self, session: "PeerSession", code: Code) -> None:
        self.over.set()


async def _ask(members: "Members", network: NetworkId, contact: Contact, root: Hash) -> HolderEntry | None:
    """What one node says; `None`: it has nothing of it."""
    answer, problem, where = _Answer(), "", first_address(contact)
    try:
        session = await members.peering.session(network, contact)
        where = session.where
        question = messages.Follow.of(root, members.addresses(), follow_back=False)
        number = await session.follow(question, answer)
        await answer.over.wait()
        with suppress(PeerError):
            await session.unfollow(number)
    except ForgeError as error:
        problem = error.message
    told = answer.first
    if told is None and not problem:
        return None
    chunks = len(told.prefixes) // PREFIX_SIZE if told else 0
    complete, origin = (told.complete, told.origin) if told else (False, False)
    return HolderEntry(members.name(network), contact.node_id.hex(), where, complete, origin, chunks, problem)


def first_address(contact: Contact) -> str:
    """Where a contact says that it is, in words; empty if it does not."""
    if not contact.addresses:
        return ""
    host, port = contact.addresses[0]
    return f"{host} port {port}"
