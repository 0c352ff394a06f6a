"""The asking side of deltas: which chunk here is likely to be much like one that is wanted.

Whoever expands a new version beside an older one says so in pairs. What is named to a peer was looked for in the store
first; a peer that lacks a base is given its signature instead, and is taken to lack the other bases too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

import trio

from forge_p2p.content.align import Pair
from forge_p2p.content.codec import EncodedChunk, encode
from forge_p2p.content.delta import DeltaChunk, apply, sign
from forge_p2p.content.link import Root
from forge_p2p.errors import CorruptChunk, NotFound
from forge_p2p.ids import Hash, NodeId
from forge_p2p.proto.hints import DELTA, Hints
from forge_p2p.proto.swarm import Item
from forge_p2p.store.base import Store
from forge_p2p.wire import limits

if TYPE_CHECKING:
    from forge_p2p.node.sessions.handlers import ChunkSource


@dataclass(frozen=True, slots=True)
class Previous:
    """An earlier version that is here. `known_to`: the nodes and networks that may be told of it, beside the networks
    that it belongs to; `None`: all who will be asked, on the caller's word."""

    root: Root
    known_to: frozenset[bytes] | None = None


class Bases:
    """The bases of one fetch. `poisoners`: peers whose deltas were wrong, in this fetch or before; they are asked for
    whole chunks alone."""

    def __init__(self, store: Store, poisoners: set[NodeId]) -> None:
        self.poisoners = poisoners
        self._store = store
        self._bases: dict[Hash, Hash] = {}
        self._lacking: WeakSet[ChunkSource] = WeakSet()
        self._outsiders: WeakSet[ChunkSource] = WeakSet()

    def pair(self, pairs: Iterable[Pair]) -> None:
        """Each chunk's base, from now on."""
        self._bases.update(pairs)

    def drop(self, chunks: Iterable[Hash]) -> None:
        """These are to be fetched whole."""
        for chunk in chunks:
            self._bases.pop(chunk, None)

    def lacks(self, session: "ChunkSource") -> None:
        """The peer does not have a base that it was told of."""
        self._lacking.add(session)

    def hide_from(self, session: "ChunkSource") -> None:
        """The peer is told of no base: the earlier version is none of its business."""
        self._outsiders.add(session)

    async def hints(self, session: "ChunkSource", items: Sequence[Item]) -> Hints | None:
        """What to say of bases in a request for `items`; `None`: nothing."""
        if not self._bases or (session.ready.is_set() and DELTA not in session.capabilities):
            return None
        if session.peer_id in self.poisoners or session in self._outsiders:
            return None
        named = {index: self._bases[item.hash] for index, item in enumerate(items) if item.hash in self._bases}
        if not named:
            return None
        return await trio.to_thread.run_sync(self._hints, named, session in self._lacking)

    def _hints(self, named: dict[int, Hash], lacking: bool) -> Hints | None:
        absent = set(self._store.missing(named.values()))
        bases = {index: base for index, base in named.items() if base not in absent}
        if not lacking:
            bases = dict(list(bases.items())[: limits.BASES_MAX])
            return Hints(bases=bases, signs=True) if bases else None
        signatures: dict[int, bytes] = {}
        room = limits.SIGNATURES_BYTES
        for index, base in list(bases.items())[: limits.BASES_MAX]:
            try:
                signature = sign(self._store.read(base))
            except (CorruptChunk, NotFound):
                continue
            room -= len(signature)
            if room < 0:
                break
            signatures[index] = signature
        return Hints(signatures=signatures) if signatures else None

    def resolve(self, delta: DeltaChunk) -> EncodedChunk | None:
        """The chunk itself, verified, in stored form; `None` if its base is not here any more. Blocks. Raises
        `CorruptChunk` for what the peer is to blame for."""
        base = self._bases.get(delta.hash)
        if base is None:
            return None
        try:
            known = self._store.read(base)
        except (CorruptChunk, NotFound):
            return None
        return encode(delta.hash, apply(delta, known))
