"""A node that outsiders call: it has made a network, shared content into it, and is in a second one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from forge_p2p.content.linktext import parse_link
from forge_p2p.content.membership import Role
from forge_p2p.ids import Hash
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.membership.members import Members
from forge_p2p.node.network import Network
from forge_p2p.node.operations import networking, sharing
from tests.content.networks import Member, World, key
from tests.node.harness import noise, running
from tests.node.test_members import MEMBER

ABSENT = Hash(bytes(32))


@dataclass
class Scene:
    """A node, its network and what it shares there, and its second network."""

    node: Network
    world: World
    other: World
    root: Hash

    async def revoke(self, revoked: bytes) -> None:
        """By the network's key; back when the node has taken it in."""
        members = await self.node.members()
        revocation = self.world.revoke(revoked)
        await trio.to_thread.run_sync(members.networks.keep_revocations, self.world.id, [revocation])
        with trio.fail_after(30):
            while not is_revoked(members, self.world, revoked):
                await trio.sleep(0.02)


def is_revoked(members: Members, world: World, revoked: bytes) -> bool:
    """Whether a running node knows it."""
    return revoked in members.memberships._circles[world.id].state.revoked


@asynccontextmanager
async def scene(home: Path) -> AsyncIterator[Scene]:
    """A node that is up."""
    async with running(home, MEMBER) as node:
        for name in ("team", "other"):
            await trio.to_thread.run_sync(partial(networking.create, node.node, name=name, report=ignore_progress))
        members = await node.members()
        with trio.fail_after(30):
            while len(members.lookups) < 2:
                await trio.sleep(0.02)
        found = await trio.to_thread.run_sync(members.networks.all)
        other, team = (World.of(joined, int(time.time())) for joined in found)
        content = home.parent / "content"
        content.write_bytes(noise(5, 100_000))
        shared = await sharing.share(node, path=str(content), in_network="team", report=ignore_progress)
        yield Scene(node, team, other, parse_link(shared.link).link.hash)


def reader_of(world: World) -> Member:
    return world.member(5, world.token(4))


def by_a_reader(here: Scene) -> Member:
    """Joined by a token that a reader has signed."""
    reader = reader_of(here.world)
    token = here.world.certificate(reader.private, 8, Role.READER, delegable=True)
    return Member(key(9), (*reader.chain, token, here.world.certificate(key(8), 9, Role.READER)))
