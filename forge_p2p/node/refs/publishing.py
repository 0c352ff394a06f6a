"""Operation: publish. A directory becomes what a name stands for.

add -> pin -> record put at the home -> (a command that ends: until somebody else has the content)
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.ref import RefRecord
from forge_p2p.errors import ForgeError, PeerError, UsageError
from forge_p2p.ids import NodeId
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.operations.adding import add
from forge_p2p.node.refs.naming import Named, parse_name
from forge_p2p.node.refs.results import PublishResult
from forge_p2p.node.refs.writing import Change, Intent, Written, describe, require_writer, write
from forge_p2p.node.results import AddResult, Progress
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network
    from forge_p2p.node.sessions.peer import PeerSession

BUCKET = "bucket"
"""Written for a node's id: the bucket of this node."""

ASK_AGAIN = 0.1
"""Seconds until the home is asked again whether it has begun to fetch."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a name is published. `protect`: whether only admins may write it from now on; `None`: as it was. `expires`:
    seconds until it stands for nothing; 0: never. `after`: see `write`. `home`: the id of the node that keeps the name
    from now on, or `BUCKET`; empty: as it was."""

    protect: bool | None = None
    expires: float = 0.0
    after: int = -1
    home: str = ""


async def publish(
    network: "Network",
    *,
    name: str,
    path: str,
    in_network: str = "",
    report: Report,
    **options: Any,
) -> PublishResult:
    """Adds `path` and makes `name` stand for it. `options`: see `Options`. Raises `UsageError`, `Refused`, `Conflict`,
    `HomeUnreachable`, `BadRef`, and what `add` does."""
    started = time.monotonic()
    members = await network.members()
    named = parse_name(members.memberships.joined(), name, in_network)
    if named.seq:
        raise UsageError(f"{name!r} names a record; publishing makes the next one", hint="leave @ and its number out")
    require_writer(named)
    wanted = Options(**options)
    new_home = await trio.to_thread.run_sync(_new_home, network.node, wanted.home)
    added = await _add(network, path, report)
    root = parse_link(added.link)
    await _offer(members, named, root, path, added)
    report(Progress("publish"))
    written = await write(members, named, _intent(root, wanted, new_home), after=wanted.after)
    _announce(members, named, root)
    notes = [*added.notes, *(f"{describe(each)} came first; this one is after it" for each in written.lost_to)]
    held = await held_elsewhere(network, members, named, written, report)
    if not held and not network.stays:
        notes.append("nobody else has the content yet, and this command ends: forge up keeps it within reach")
    return published(named, written, held=held, started=started, notes=notes, added=added)


def published(
    named: Named, written: Written, *, held: bool, started: float, notes: list[str], added: AddResult | None = None
) -> PublishResult:
    """The result of an operation that wrote a record."""
    from forge_p2p.content.linktext import format_link

    record = written.record
    return PublishResult(
        ref=named.ref(record.seq),
        network=named.joined.name,
        name=named.name,
        seq=record.seq,
        link=format_link(record.target),
        unchanged=written.unchanged,
        held=held,
        files=added.files if added else 0,
        bytes=added.bytes if added else 0,
        new_bytes=added.new_bytes if added else 0,
        seconds=time.monotonic() - started,
        notes=notes,
    )


def _intent(root: Root, wanted: Options, home: NodeId | None) -> Intent:
    until = int(time.time() + wanted.expires) if wanted.expires else 0

    def intent(head: RefRecord | None) -> Change | None:
        protected = wanted.protect if wanted.protect is not None else bool(head and head.protected)
        before = (head.target, head.protected, head.expires, head.home) if head else None
        if head is not None and before == (root, protected, until, home or head.home):
            return None
        return Change(root, protected, until, home=home)

    return intent


async def _add(network: "Network", path: str, report: Report) -> AddResult:
    token = trio.lowlevel.current_trio_token()

    def report_from_thread(progress: Progress) -> None:
        trio.from_thread.check_cancelled()
        token.run_sync_soon(report, progress)

    node = network.node
    return await trio.to_thread.run_sync(lambda: add(node, path=path, report=report_from_thread, keep=False))


async def _offer(members: "Members", named: Named, root: Root, path: str, added: AddResult) -> None:
    """Lets the members of the network have the content, before anybody hears of it."""
    keep = partial(members.holdings.keep, named.network, root, origin=True, path=path, size=added.bytes, pinned=False)
    members.holdings.tell(await trio.to_thread.run_sync(keep))


def _announce(members: "Members", named: Named, root: Root) -> None:
    """Tells the DHT, too: right after the record, so that who hears of both answers them together."""
    if named.network in members.lookups:
        members.lookups[named.network].announce(root.link.hash)


# Until somebody else has it


async def held_elsewhere(
    network: "Network", members: "Members", named: Named, written: Written, report: Report
) -> bool:
    """Whether the home has all of the content of a record. A command that ends waits until it has, as long as it goes
    on; a node that stays looks no further than itself. A bucket is given it. Raises what that does."""
    record = written.record
    edge = await trio.to_thread.run_sync(network.node.find_edge)
    if edge is not None and record.home == edge.node_id:
        from forge_p2p.node.edge.pushing import push

        await push(network, what=named.ref(record.seq), in_network="", report=report)
        return True
    if network.stays or record.home == members.own_id:
        return False
    session = members.peering.connected(named.network, record.home)
    if session is None:
        return False
    report(Progress("hand-over"))
    if written.unchanged:  # it may have been put by somebody who went before the home had the content
        with suppress(ForgeError):
            await members.names.put(record)
    try:
        return await _Watch(members, record.target).until_held(session, network.node.config.net.stall_timeout)
    except PeerError:
        return False


class _Watch:
    """Follows a root at the home; the handler of that FOLLOW."""

    def __init__(self, members: "Members", root: Root) -> None:
        self._members = members
        self._root = root
        self._complete = False
        self._heard_at = trio.current_time()
        self._changed = trio.Event()
        self._over = False

    async def until_held(self, session: "PeerSession", patience: float) -> bool:
        """Whether all of it came there; `False` when nothing more of it did for `patience` seconds."""
        question = messages.Follow.of(self._root.link.hash, self._members.addresses(), follow_back=False)
        while not self._complete and trio.current_time() - self._heard_at < patience:
            self._over = False
            number = await session.follow(question, self)
            while not (self._over or self._complete):
                self._changed = trio.Event()
                with trio.move_on_at(self._heard_at + patience) as waiting:
                    await self._changed.wait()
                if waiting.cancelled_caught:
                    break
            await session.unfollow(number)
            if self._over:
                await trio.sleep(ASK_AGAIN)
        return self._complete

    def told(self, session: "PeerSession", message: messages.Told) -> None:
        if isinstance(message, messages.Holdings):
            self._complete |= message.complete
            self._heard_at = trio.current_time()
        self._changed.set()

    def unfollowed(self, session: "PeerSession", code: Code) -> None:
        self._over = True
        self._changed.set()


def _new_home(node: LocalNode, text: str) -> NodeId | None:
    if not text:
        return None
    if text == BUCKET:
        return node.edge.node_id
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise UsageError(f"{text!r} is no node's id", hint="forge status shows the node's own")
    return NodeId(found)
