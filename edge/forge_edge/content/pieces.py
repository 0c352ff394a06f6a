"""The bytes of a link, piece by piece: from the store where they are there, else through the node as they arrive.

    runs read a moment ago (`content.runs`)
      │ lacking
      ▼
    store ──▶ runs of `STEP`, the next being read while one is sent
      │ lacking
      ▼
    the node: its store, its peers; single flight for each aligned piece (`upstream.flights`)

Every chunk read here is checked: those stored as they are by the store's XXH3 (their content was hashed when it
came in), compressed ones by their hash as well. `sendfile` would serve rotten bytes, and save no more than runs do.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from struct import Struct
from typing import Final

from forge_edge.content.place import Place
from forge_edge.content.runs import STEP, Here, Raw, Runs
from forge_edge.upstream.flights import PIECE, Flights
from forge_edge.upstream.node import NodeLink
from forge_p2p.content.codec import Codec, EncodedChunk, decode
from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.tree import decode_node, overlapping
from forge_p2p.errors import CorruptChunk, NotFound
from forge_p2p.store.base import Store

_FRAME = Struct("<IBI")
_MAGIC: Final = 0xFD2FB528
_DESCRIPTOR: Final = 0xA0
"""Single segment, content size in four bytes, no checksum."""

_BLOCK_MAX: Final = 128 * 1024

_NODES_MAX: Final = 128
"""Decoded list nodes kept, some 60 KB each. They are named by their hash, so they cannot become wrong."""

_nodes: dict[Link, list[Link]] = {}


class Pieces:
    """What one gateway reads. `remembered`: bytes of runs that are kept for a while. `relayed` counts bytes that came
    through the node."""

    def __init__(self, store: Store, node: NodeLink, executor: Executor, remembered: int) -> None:
        self.flights = Flights()
        self.runs = Runs(remembered)
        self.relayed = 0
        self._store = store
        self._node = node
        self._executor = executor

    async def read(
        self, place: Place, link: Link, start: int, stop: int, *, frames: bool = False
    ) -> AsyncGenerator[list[Raw]]:
        """Bytes `[start, stop)` of `link`, in lists of pieces; with `frames` as zstd frames, stored ones as they are,
        and then the range is of whole content. An empty list says that the next comes from afar, and may be long in
        coming. Raises `NotFound` where nobody has them, before the first list with something in it if that is known by
        then, `PeerError`, `DiskError`."""
        at = start
        ahead: asyncio.Future[Here] | None = None
        try:
            while at < stop:
                got, pieces = await (ahead or self._here(place, link, at, stop, frames))
                ahead = None
                if got:
                    at += got
                    if at < stop:
                        ahead = self._here(place, link, at, stop, frames)
                    yield pieces
                    if ahead is not None and ahead.done():
                        await asyncio.sleep(0)  # it waited for nothing: others have their turn
                    continue
                end = min(stop, at - at % PIECE + PIECE)
                async with aclosing(self._relay(place, link, at, end)) as relayed:
                    yield []
                    async for piece in relayed:
                        at += len(piece)
                        yield raw_frames(piece) if frames else [piece]
                        yield []
        finally:
            if ahead is not None:
                ahead.cancel()

    async def encoded(self, place: Place, link: Link) -> EncodedChunk | None:
        """A link of one chunk as it is stored, or `None` unless it is in the store."""
        if not place.held or link.level:
            return None
        loop = asyncio.get_running_loop()
        (chunk,) = await loop.run_in_executor(self._executor, self._store.read_encoded, [link.hash])
        return chunk

    async def begins_compressed(self, place: Place, link: Link) -> bool:
        """Whether the first chunk is here, compressed: the rest of a content is mostly as its beginning."""
        if not place.held:
            return False
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _first_is_compressed, self._store, link)

    def _here(self, place: Place, link: Link, start: int, stop: int, frames: bool) -> "asyncio.Future[Here]":
        """The next bytes from here: of the run that `start` is in, which ends at a multiple of `STEP`; as frames, where
        chunks end, of the run that begins with it."""
        if not place.held:
            return _already((0, []))
        base = start if frames else start - start % STEP
        end = min(link.size, base + STEP)
        key = link, base, end, frames
        kept = self.runs.find(key)
        if kept is not None:
            return _already(kept if frames else _cut(kept, start - base, min(stop, end) - base))
        loop = asyncio.get_running_loop()

        def read() -> "asyncio.Future[Here]":
            return loop.run_in_executor(self._executor, read_here, self._store, link, start, min(stop, end), frames)

        return self.runs.read(key, read) if start == base and stop >= end else read()

    async def _relay(self, place: Place, link: Link, start: int, stop: int) -> AsyncGenerator[Raw]:
        """The rest of the aligned piece that `start` is in, up to `stop`."""
        if not place.network:
            raise NotFound("this content is not in the store")
        base = start - start % PIECE
        end = min(link.size, base + PIECE)
        key = place.network, place.text, link.hash.hex(), str(base)
        async with aclosing(self.flights.read(key, partial(self._fly, place, link, base, end))) as pieces:
            async for piece in pieces:
                wanted = memoryview(piece)[max(start - base, 0) : max(stop - base, 0)]
                base += len(piece)
                if wanted:
                    yield wanted

    async def _fly(self, place: Place, link: Link, start: int, stop: int) -> AsyncIterator[bytes]:
        part = "" if link == place.root.link else format_link(Root(Kind.BLOB, link))
        asked = self._node.stream("relay", what=place.text, part=part, in_network=place.network, start=start, stop=stop)
        async with aclosing(asked) as pieces:
            async for piece in pieces:
                self.relayed += len(piece)
                yield piece


def _already(here: Here) -> "asyncio.Future[Here]":
    done: asyncio.Future[Here] = asyncio.get_running_loop().create_future()
    done.set_result(here)
    return done


def _cut(here: Here, first: int, last: int) -> Here:
    """Bytes `[first, last)` of a run."""
    got, (content,) = here
    return here if (first, last) == (0, got) else (last - first, [memoryview(content)[first:last]])


def read_here(store: Store, link: Link, start: int, stop: int, frames: bool) -> Here:
    """How many bytes of `[start, stop)` are in the store before the first chunk that is not, and these. With `frames`
    the last chunk is not cut at `stop`. Blocks."""
    try:
        leaves = leaves_between(store, link, start, stop)
    except (NotFound, CorruptChunk):
        return 0, []
    pieces: list[Raw] = []
    got = 0
    for (base, leaf), chunk in zip(leaves, store.read_encoded([leaf.hash for _, leaf in leaves]), strict=True):
        if chunk is None or chunk.size != leaf.size:
            break
        if frames and chunk.codec == Codec.ZSTD:
            pieces.append(chunk.data)
            got += leaf.size
            continue
        raw = _decoded(chunk)
        if raw is None:
            break
        first, last = max(start - base, 0), leaf.size if frames else min(stop - base, leaf.size)
        piece = raw if (first, last) == (0, leaf.size) else memoryview(raw)[first:last]
        pieces += raw_frames(piece) if frames else [piece]
        got += last - first
    # One write for all of them: each costs the loop more than copying a chunk costs this thread.
    return got, pieces if len(pieces) < 2 else [b"".join(pieces)]


def _first_is_compressed(store: Store, link: Link) -> bool:
    try:
        leaves = leaves_between(store, link, 0, 1)
    except (NotFound, CorruptChunk):
        return False
    (chunk,) = store.read_encoded([leaves[0][1].hash])
    return chunk is not None and chunk.codec == Codec.ZSTD


def leaves_between(store: Store, link: Link, start: int, stop: int) -> Sequence[tuple[int, Link]]:
    """The chunks that hold any byte of `[start, stop)`, with their offsets. Raises `NotFound`, `CorruptChunk`."""
    spans = [(0, link)]
    for _ in range(link.level):
        spans = [found for base, each in spans for found in overlapping(_children(store, each), base, start, stop)]
    return spans


def _children(store: Store, link: Link) -> list[Link]:
    """The children of a list node. A reader comes to the same node for every `STEP`, and decoding it takes as long as
    checking a megabyte; so the last ones are kept."""
    children = _nodes.get(link)
    if children is None:
        children = decode_node(link, store.read(link.hash))
        if len(_nodes) >= _NODES_MAX:
            _nodes.clear()
        _nodes[link] = children
    return children


def _decoded(chunk: EncodedChunk) -> Raw | None:
    if chunk.codec == Codec.RAW:
        return chunk.data
    try:
        return decode(chunk)
    except CorruptChunk:
        return None


def raw_frames(content: Raw) -> list[Raw]:
    """`content` as one zstd frame of raw blocks (RFC 8878, 3.1.1): for what is not worth compressing."""
    parts: list[Raw] = [_FRAME.pack(_MAGIC, _DESCRIPTOR, len(content))]
    view = memoryview(content)
    for start in range(0, len(view), _BLOCK_MAX):
        block = view[start : start + _BLOCK_MAX]
        is_last = start + _BLOCK_MAX >= len(view)
        parts += [(len(block) << 3 | is_last).to_bytes(3, "little"), block]
    return parts
