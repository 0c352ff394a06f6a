"""What a repository has become, brought to a node that is up before anybody here asks for it.

A push is told to the network at once, and who has fetched from a repository lately is going to fetch what was pushed.
So its manifest comes when it is heard of, and new packs with it where they are small, as they would with the next
`git fetch`: that asks the home whether there is anything newer, and has all the rest.
"""

import time
from collections import OrderedDict
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import trio

from forge_p2p.content.link import Kind
from forge_p2p.content.ref import RefRecord
from forge_p2p.errors import ForgeError
from forge_p2p.ids import NetworkId
from forge_p2p.node.groups import contained
from forge_p2p.node.target import Target
from forge_p2p.proto.timers import TokenBucket

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network

LATELY: Final = 24 * 3600.0
"""Seconds: who has not fetched for longer is not waiting for anything."""

REPOSITORIES_MAX: Final = 64
"""Those read last, which are remembered."""

BROUGHT_MAX: Final = 256 << 20
"""Bytes that are brought in an hour, about: whoever may push can have that much put into other people's stores."""

Key = tuple[NetworkId, str]


class Ahead:
    """Of one node, in all of its networks."""

    def __init__(self, network: "Network", members: "Members", nursery: trio.Nursery) -> None:
        self._network = network
        self._members = members
        self._nursery = nursery
        self._read_at: OrderedDict[Key, float] = OrderedDict()
        self._bringing: dict[Key, RefRecord] = {}
        """The newest that was heard of, of each that something is being brought of."""
        self._room = TokenBucket.full(BROUGHT_MAX / 3600, BROUGHT_MAX)
        members.names.told.append(self._heard)

    def was_read(self, network: NetworkId, name: str) -> None:
        """Somebody here has asked what this repository is."""
        self._read_at[network, name] = time.monotonic()
        self._read_at.move_to_end((network, name))
        if len(self._read_at) > REPOSITORIES_MAX:
            self._read_at.popitem(last=False)

    def _heard(self, record: RefRecord) -> None:
        key = (record.network, record.name)
        waited_for = time.monotonic() < self._read_at.get(key, -LATELY) + LATELY
        foreign = record.author != self._members.own_id and record.target.kind is Kind.GIT
        if waited_for and foreign and self._network.stays and not self._members.keeper.keeps(record):
            if key not in self._bringing:
                self._nursery.start_soon(self._bring, key)
            self._bringing[key] = max(record, self._bringing.get(key, record), key=attrgetter("seq"))

    async def _bring(self, key: Key) -> None:
        """One after the other, until there is nothing newer; nothing while too much has come."""
        from forge_p2p.node.repositories.reading import bring_what_is_small

        brought = None
        while brought is not self._bringing[key]:
            brought = self._bringing[key]
            if self._room.debt(trio.current_time()):
                continue
            with contained("what a repository has become"), suppress(ForgeError):  # it comes when it is asked for
                target = Target(brought.target, None, (), self._members.name(brought.network))
                await bring_what_is_small(self._network, target, self._spent)
        del self._bringing[key]

    def _spent(self, fetched: int) -> None:
        self._room.take(fetched, trio.current_time())
