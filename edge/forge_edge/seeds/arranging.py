"""What a seed's file asks of its node: networks joined, names followed, a bucket set, names mirrored to it."""

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from forge_edge.seeds.file import FollowEntry, NetworkEntry, SeedFile
from forge_edge.upstream.node import NodeLink
from forge_p2p.content.invite import parse_token
from forge_p2p.errors import DiskError, ForgeError, UsageError
from forge_p2p.node.control import NoNode
from forge_p2p.node.home import Home
from forge_p2p.node.membership.networks import Networks
from forge_p2p.node.results import Result

LOG = logging.getLogger("forge.seed")

PATIENCE: Final = 60.0
"""Seconds for a node to be up, or to notice a network that it was just made a member of."""

_AGAIN: Final = 0.2


class Arranging:
    """One seed's node, asked by its control socket."""

    def __init__(self, seed: SeedFile) -> None:
        self._seed = seed
        self._node = NodeLink(Home(seed.home))

    async def arrange(self) -> None:
        """Makes the node what the file says. What was done before is left as it is. Raises what the node refuses."""
        for network in self._seed.networks:
            await self._join(network)
        for follow in self._seed.follow:
            await self._patiently("follow", name=follow.name, watch=False, keep=follow.keep)
            LOG.info("following %s", follow.name)
        if self._seed.bucket is not None:
            await self._patiently("edge_set", url=self._seed.bucket.url, **self._seed.bucket.options)
            LOG.info("bucket %s", self._seed.bucket.url)

    async def mirror(self) -> None:
        """Pushes names to the bucket, their records, too, now and then, until cancelled. What fails is tried again the
        next time."""
        bucket = self._seed.bucket
        mirrored = [each for each in self._seed.follow if each.mirror]
        while bucket is not None and mirrored:
            for follow in mirrored:
                await self._push(follow)
            await asyncio.sleep(bucket.every)

    async def _push(self, follow: FollowEntry) -> None:
        try:
            await self._node.call("edge_push", what=follow.name, records=True)
        except NoNode:
            LOG.error("%s was not mirrored: the node is down", follow.name)
        except ForgeError as error:
            LOG.error("%s was not mirrored: %s", follow.name, error)

    async def _join(self, entry: NetworkEntry) -> None:
        arguments = joining(Home(self._seed.home), entry)
        if arguments is not None:
            await self._patiently("network_join", **arguments)
            LOG.info("in network %s", entry.name or parse_token(arguments["token"]).name)

    async def _patiently(self, operation: str, **arguments: Any) -> Result:
        """An operation of a node that may be about to come up, or to notice what it is about."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while True:
            try:
                return await self._node.call(operation, **arguments)
            except (NoNode, UsageError) as error:
                if loop.time() > end:
                    raise error if isinstance(error, UsageError) else _not_up() from error
            await asyncio.sleep(_AGAIN)


def joining(home: Home, entry: NetworkEntry) -> dict[str, str] | None:
    """What the operation `network_join` takes; `None` for a network that was made by this node. Raises as
    `read_token_file`, and `UsageError` for what is no token."""
    token = read_token_file(entry.token_file)
    network = parse_token(token).network
    if any(each.network == network and each.seed for each in Networks.on_disk(home).all()):
        return None
    return {"token": token, "label": entry.label, "name": entry.name}


def read_token_file(name: str) -> str:
    """The invite token in a file. Raises `DiskError`, or `UsageError` for one that others can read."""
    path = Path(name)
    try:
        if path.stat().st_mode & 0o077:
            raise UsageError(f"{name} can be read by others", hint=f"chmod 600 {name}")
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DiskError(f"cannot read the token in {name}: {getattr(error, 'strerror', 'it is not text')}") from error


def _not_up() -> ForgeError:
    return ForgeError(f"the node did not come up within {PATIENCE:.0f} s", hint="what it said is above")
