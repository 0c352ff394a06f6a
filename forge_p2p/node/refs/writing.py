"""One more record of a name: made, signed, put, and put again on top of whoever was faster."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from forge_p2p.content.link import Root
from forge_p2p.content.membership import Role
from forge_p2p.content.moment import since
from forge_p2p.content.ref import NOTHING, RefRecord, sign_record, verify_step
from forge_p2p.errors import Conflict, Refused
from forge_p2p.ids import NodeId
from forge_p2p.node.refs.homes import NotHome
from forge_p2p.node.refs.naming import Named
from forge_p2p.node.refs.retention import pin_target, sweep
from forge_p2p.proto.reflog import Exists

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members

TRIES: Final = 16
"""Records that may come first, one after the other, before this is told to whoever wants to write."""

Intent = Callable[[RefRecord | None], "Change | None"]
"""From the newest record to what is to be written after it; `None`: nothing, it says that already."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a new record says. `pinned`: all of the content is here, and has to stay. `home`: where the next record
    goes; `None`: where this one went."""

    target: Root
    protected: bool = False
    expires: int = 0
    pinned: bool = True
    home: NodeId | None = None


@dataclass(slots=True)
class Written:
    """`record` is the newest, made here unless `unchanged`. `lost_to`: records that came first."""

    record: RefRecord
    unchanged: bool
    lost_to: list[RefRecord] = field(default_factory=list)


def require_writer(named: Named) -> None:
    """Raises `Refused` for a member who may only read, before anything is done."""
    role = named.joined.membership.role
    if not role.covers(Role.WRITER):
        raise Refused(
            f"this node is a {role.name.lower()} in network {named.joined.name!r} and may not publish there",
            hint="an admin can invite it as a writer: forge network invite --role writer",
        )


async def write(members: "Members", named: Named, intent: Intent, *, after: int = -1, sweeps: bool = True) -> Written:
    """Adds a record to a name. Who is faster is built upon: `intent` is asked again. `after`: the record that has to be
    the newest (0: the name has to be new), or -1 for any. `sweeps`: lets go what the record replaces, or else the
    caller does. Raises `Conflict`, `HomeUnreachable`, `Refused`, `BadRef`."""
    lost_to: list[RefRecord] = []
    names = members.names
    node, network, name = members.node, named.network, named.name
    for number in range(TRIES):
        head = await _newest(members, named, after if number == 0 else -1)
        if after >= 0 and (head.seq if head else 0) != after:
            raise _too_late(named, after, head)
        change = intent(head)
        if change is None:
            assert head is not None
            return Written(head, unchanged=True, lost_to=lost_to)
        record = _record(members, named, head, change)
        if change.pinned:
            await trio.to_thread.run_sync(pin_target, node, network, name, record.seq, change.target)
        try:
            answer = await names.put(record)
        except NotHome:
            continue  # it has just been moved
        if not isinstance(answer, Exists):
            if sweeps:
                await trio.to_thread.run_sync(sweep, node, members.holdings, network, name)
            return Written(record, unchanged=False, lost_to=lost_to)
        lost_to.append(answer.record)
    raise Conflict(
        f"{TRIES} other records of {named.name!r} came first, one after the other",
        hint="somebody publishes it all the time; try again later",
    )


async def _newest(members: "Members", named: Named, expected: int) -> RefRecord | None:
    """The newest record. One that is here and is the `expected` needs no question: the home says at the next record
    whether it is the newest."""
    if expected > 0:
        head = await trio.to_thread.run_sync(members.names.book.head, named.network, named.name)
        if head is not None and head.seq == expected:
            return head
    return await members.names.refresh(named.network, named.name)


def describe(record: RefRecord) -> str:
    """A record in a few words."""
    return f"record {record.seq} by node {record.author.hex()[:16]}, {since(record.time, time.time())}"


def _record(members: "Members", named: Named, head: RefRecord | None, change: Change) -> RefRecord:
    joined, node = named.joined, members.node
    home = change.home or members.names.book.home_of(named.network, head)
    assert home is not None, "the log has just been read there"
    unsigned = RefRecord(
        named.network,
        named.name,
        head.seq + 1 if head else 1,
        head.hash if head else NOTHING,
        change.target,
        max(int(time.time()), head.time if head else 0),
        change.expires,
        change.protected,
        home,
        joined.chain,
        b"",
    )
    record = sign_record(node.key, unsigned)
    verify_step(record, head)
    return record


def _too_late(named: Named, after: int, head: RefRecord | None) -> Conflict:
    if head is None:
        return Conflict(f"{named.name!r} has no record {after}: it has none at all", hint="leave --after out")
    return Conflict(
        f"{named.name!r} is at {describe(head)}, not at number {after}",
        hint=f"forge pull {named.name} gets what is there now",
    )
