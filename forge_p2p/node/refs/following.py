"""Operations: follow, and its --stop and --list. A running node keeps what a name stands for in its store."""

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from forge_p2p.config import KEEP_MAX
from forge_p2p.content.linktext import format_link
from forge_p2p.content.ref import RefRecord
from forge_p2p.errors import NotFound, PeerError, UsageError
from forge_p2p.ids import NetworkId
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.membership.networks import Networks
from forge_p2p.node.refs.follower import let_go
from forge_p2p.node.refs.naming import Named, parse_name
from forge_p2p.node.refs.results import FollowedChange, FollowedResult, FollowEntry, FollowResult
from forge_p2p.node.refs.retention import retained

if TYPE_CHECKING:
    from forge_p2p.node.network import Network

Emit = Callable[[bytes], Awaitable[None]]


async def follow(
    network: "Network",
    *,
    name: str,
    in_network: str = "",
    watch: bool = True,
    keep: int | None = None,
    emit: Emit,
    report: Report,  # noqa: ARG001
) -> FollowResult:
    """Has the node follow a name from now on, also after it was down; with `watch` emits a line of JSON
    (`FollowedChange`) for what it stands for now and whenever that changes, until cancelled. `keep`: as
    `RefStore.follow` takes it. Raises `UsageError`."""
    if keep is not None and not 0 <= keep <= KEEP_MAX:
        raise UsageError(f"{keep} versions cannot be kept", hint=f"at least 1, at most {KEEP_MAX}")
    if not network.stays:
        raise PeerError("names are followed by a node that is up, and none is", hint="forge up --detach starts one")
    members = await network.members()
    named = _newest(parse_name(members.memberships.joined(), name, in_network))
    send, receive = trio.open_memory_channel[FollowedChange](math.inf)

    def changed(record: RefRecord, problem: str) -> None:
        send.send_nowait(_change(named, record, problem))

    end = members.keeper.listen(named.network, named.name, changed)
    try:
        await trio.to_thread.run_sync(network.node.refs.follow, named.network, named.name, keep)
        members.keeper.follow(named.network, named.name)
        if watch:
            async for change in receive:
                await emit(msgspec.json.encode(change) + b"\n")
    finally:
        end()
    head = await trio.to_thread.run_sync(network.node.refs.head, named.network, named.name)
    entry = _entry(network.node, named.network, named.joined.name, named.name, head)
    return FollowResult(entry.network, entry.name, entry.seq, entry.link)


def stop(node: LocalNode, *, name: str, in_network: str = "", report: Report) -> FollowedResult:  # noqa: ARG001
    """Follows a name no more. Raises `NotFound` when it is not followed."""
    named = _newest(parse_name(Networks(node.home, node.node_id, node.config.token).all(), name, in_network))
    head = node.refs.head(named.network, named.name)
    entry = _entry(node, named.network, named.joined.name, named.name, head)
    if not node.refs.unfollow(named.network, named.name):
        raise NotFound(f"{named.name!r} is not followed here", hint="forge follow --list shows what is")
    return FollowedResult([entry])


async def running_stop(network: "Network", *, name: str, in_network: str = "", report: Report) -> FollowedResult:
    """As `stop`; what was kept of the name may go."""
    stopped = await trio.to_thread.run_sync(lambda: stop(network.node, name=name, in_network=in_network, report=report))
    members = await network.members()
    named = _newest(parse_name(members.memberships.joined(), name, in_network))
    members.keeper.stop(named.network, named.name)
    await let_go(members, named.network, named.name)
    return stopped


def listed(node: LocalNode, *, report: Report) -> FollowedResult:  # noqa: ARG001
    """What is followed here."""
    names: dict[NetworkId, str] = {
        joined.network: joined.name for joined in Networks(node.home, node.node_id, node.config.token).all()
    }
    return FollowedResult(
        [
            _entry(node, network, names[network], name, node.refs.head(network, name))
            for network, name in node.refs.followed()
            if network in names
        ]
    )


def _newest(named: Named) -> Named:
    if named.seq:
        raise UsageError("a name is followed, not one of its records", hint="leave @ and its number out")
    return named


def _entry(node: LocalNode, network: NetworkId, title: str, name: str, head: RefRecord | None) -> FollowEntry:
    link = format_link(head.target) if head else ""
    return FollowEntry(title, name, head.seq if head else 0, link, retained(node, network, name))


def _change(named: Named, record: RefRecord, problem: str) -> FollowedChange:
    return FollowedChange(
        ref=named.ref(record.seq),
        network=named.joined.name,
        name=named.name,
        seq=record.seq,
        link=format_link(record.target),
        time=float(record.time),
        author=record.author.hex(),
        complete=not problem,
        problem=problem,
    )
