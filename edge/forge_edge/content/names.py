"""What a name stands for: its home is asked by way of the node, now and then, else what is on disk counts."""

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from forge_edge.access.grants import Grant
from forge_edge.upstream.node import NodeLink
from forge_p2p.content.link import Root
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.ref import RefRecord, written_seq
from forge_p2p.content.refname import fault_of
from forge_p2p.errors import ForgeError, NotFound
from forge_p2p.node.control import NoNode
from forge_p2p.node.membership.networks import Joined
from forge_p2p.node.results import ResolveResult
from forge_p2p.store.refs import RefStore

NAME_PARTS: Final = 4
"""Words of a name that is not known here and is looked for at its home; known ones may have any number."""

_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Standing:
    """What a name stands for by record `seq`."""

    joined: Joined
    name: str
    seq: int
    root: Root


@dataclass(frozen=True, slots=True)
class Found:
    """A name, and what of the URL is left for the path. `pinned`: the record was named, so it will not change."""

    standing: Standing
    path: bytes
    pinned: bool


class Names:
    """`age`: seconds for which an answer is repeated."""

    def __init__(self, refs: RefStore, node: NodeLink, executor: Executor, age: float) -> None:
        self._refs = refs
        self._node = node
        self._executor = executor
        self._age = age
        self._known: OrderedDict[tuple[bytes, str, int], tuple[float, asyncio.Future[Standing | None]]] = OrderedDict()

    async def find(self, parts: tuple[bytes, ...], joined: tuple[Joined, ...], grant: Grant) -> Found | None:
        """The name at the front of `parts`, among those that `grant` opens; the longest one that there is. `None`:
        there is none, or none of those."""
        try:
            words = [part.decode() for part in parts]
        except UnicodeDecodeError:
            return None
        for network, rest in _networks(words, joined):
            skipped = len(words) - len(rest)
            for count, seq in await self._splits(network, rest, grant):
                name = "/".join(rest[:count]).partition("@")[0]
                standing = await self._standing(network, name, seq)
                if standing is not None:
                    return Found(standing, b"/".join(parts[skipped + count :]), pinned=seq > 0)
        return None

    async def _splits(self, network: Joined, words: list[str], grant: Grant) -> list[tuple[int, int]]:
        """How many words may be the name, with the record's number, in the order to try them."""
        for at, word in enumerate(words, 1):
            if "@" in word:
                name, _, number = "/".join(words[:at]).partition("@")
                seq = written_seq(number)
                return [(at, seq)] if seq and _may(grant, network, name) else []
        counts = [at for at in range(len(words), 0, -1) if _may(grant, network, "/".join(words[:at]))]
        loop = asyncio.get_running_loop()
        known = await loop.run_in_executor(self._executor, self._known_here, network, words, counts)
        unknown = [count for count in reversed(counts) if count <= NAME_PARTS and count not in known]
        return [(count, 0) for count in known or unknown]

    def _known_here(self, network: Joined, words: list[str], counts: list[int]) -> list[int]:
        return [at for at in counts if self._refs.head(network.network, "/".join(words[:at])) is not None]

    async def _standing(self, joined: Joined, name: str, seq: int) -> Standing | None:
        key, now = (bytes(joined.network), name, seq), time.monotonic()
        known = self._known.get(key)
        if known is None or (known[0] <= now and known[1].done()):
            known = now + self._age, asyncio.ensure_future(self._ask(joined, name, seq))
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return await asyncio.shield(known[1])

    async def _ask(self, joined: Joined, name: str, seq: int) -> Standing | None:
        text = f"{name}@{seq}" if seq else name
        try:
            result = await self._node.call("resolve", name=text, in_network=joined.network.hex())
        except NotFound:
            return None
        except (NoNode, ForgeError):
            loop = asyncio.get_running_loop()
            record = await loop.run_in_executor(self._executor, self._here, joined, name, seq)
            return None if record is None else Standing(joined, record.name, record.seq, record.target)
        assert isinstance(result, ResolveResult)
        return Standing(joined, result.name, result.seq, parse_link(result.link))

    def _here(self, joined: Joined, name: str, seq: int) -> RefRecord | None:
        if seq:
            return next(iter(self._refs.range(joined.network, name, seq, 1)), None)
        head = self._refs.head(joined.network, name)
        return None if head is None or head.has_expired(time.time()) else head


def _networks(words: list[str], joined: tuple[Joined, ...]) -> list[tuple[Joined, list[str]]]:
    """Networks that may be meant, with the words after: the one that the first word names; else, if there is only one,
    that."""
    named = [(each, words[1:]) for each in joined if each.name == words[0] and len(words) > 1]
    return named + ([(joined[0], words)] if len(joined) == 1 else [])


def _may(grant: Grant, joined: Joined, name: str) -> bool:
    return not fault_of(name) and grant.reads_name(joined, name)
