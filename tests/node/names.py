"""Names in the tests of nodes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NetworkId
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.membership.networks import Joined
from forge_p2p.node.network import Network
from forge_p2p.node.refs import history, publishing, pulling
from forge_p2p.node.refs.results import PublishResult, PullResult
from tests.node.test_members import founder

PATIENCE = 30.0


async def publish(network: Network, name: str, path: Path, **options: Any) -> PublishResult:
    with trio.fail_after(PATIENCE):
        return await publishing.publish(network, name=name, path=str(path), report=ignore_progress, **options)


async def pull(network: Network, name: str, destination: Path, **options: Any) -> PullResult:
    with trio.fail_after(PATIENCE):
        return await pulling.pull(network, name=name, destination=str(destination), report=ignore_progress, **options)


async def rollback(network: Network, name: str, seq: int) -> PublishResult:
    with trio.fail_after(PATIENCE):
        return await history.rollback(network, name=name, seq=seq, report=ignore_progress)


async def links(network: Network, name: str) -> list[str]:
    """What a name stood for, the newest first."""
    with trio.fail_after(PATIENCE):
        return [each.link for each in (await history.log(network, name=name, report=ignore_progress)).records]


async def joined(network: Network) -> Joined:
    """The one network that a node is in."""
    (found,) = (await network.members()).memberships.joined()
    return found


async def network_id(network: Network) -> NetworkId:
    return (await joined(network)).network


@dataclass(frozen=True)
class Brief:
    """A node that can be stopped before the test is over."""

    network: Network
    scope: trio.CancelScope
    over: trio.Event

    async def stop(self) -> None:
        self.scope.cancel()
        await self.over.wait()


async def brief_founder(home: Path, task_status: trio.TaskStatus[Brief] = trio.TASK_STATUS_IGNORED) -> None:
    """The node that made the network "team", until it is stopped."""
    over = trio.Event()
    try:
        with trio.CancelScope() as scope:
            async with founder(home) as network:
                task_status.started(Brief(network, scope, over))
                await trio.sleep_forever()
    finally:
        over.set()


async def meet(one: Network, other: Network) -> None:
    """Connects two members."""
    address = other.reachable_addresses()[0]
    contact = Contact(other.node.node_id, ((address.host, address.port),))
    members = await one.members()
    with trio.fail_after(PATIENCE):
        await members.peering.session(await network_id(one), contact)
