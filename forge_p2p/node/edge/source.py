"""The bucket as a source of a fetch: asked as a peer is, answering with ranges of bundles.

A request names chunks and how many bytes of them may come, and the source chooses, as an origin does: those that lie
beside each other, so that they come in few ranges. Where several agents fetch the same at once, each leaves to the
others what is theirs: of every piece of a bundle one agent is the first to ask, told by a hash of both that all of them
compute alike (rendezvous hashing). What another should bring is answered with `Code.ELSEWHERE`, as an origin does with
what it has just sent to others, and so is asked for again when it does not come."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import trio
from xxhash import xxh3_64_intdigest

from forge_p2p.bucket.reading import Span, spans
from forge_p2p.content.bundle import Slice
from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import BucketError, CorruptChunk, ForgeError, Malformed, NoSuchObject, PeerError
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.groups import contained
from forge_p2p.node.sessions.handlers import RequestHandler
from forge_p2p.proto.hints import Hints
from forge_p2p.wire.codes import Code

LOG = logging.getLogger("forge")

PIECE: Final = 1 << 20
"""Bytes of a bundle that one agent is first to ask for. Small enough to divide a bundle among many, large enough to be
worth a request."""

TURN: Final = 3.0
"""Seconds: as long as an agent takes to bring some pieces and to tell of them."""

FAILURES: Final = 3
"""Requests in a row that fail before the bucket is given up; each of them was tried again several times."""

Fellows = Callable[[], Sequence[NodeId]]


class EdgeSource:
    """`fellows` names who else fetches the same now. `nursery`: where its requests run."""

    def __init__(self, edge: Edge, own_id: NodeId, fellows: Fellows, nursery: trio.Nursery) -> None:
        self.where = f"the bucket {edge.where}"
        self.peer_id: NodeId | None = None
        self.capabilities: frozenset[str] = frozenset()
        self.ready = trio.Event()
        self.ready.set()
        self.ended = trio.Event()
        self.reason: ForgeError | None = None
        self._edge = edge
        self._own_id = own_id
        self._fellows = fellows
        self._nursery = nursery
        self._scopes: dict[int, trio.CancelScope] = {}
        self._limiter = trio.CapacityLimiter(_RANGES)
        self._failures = 0
        self._idle_since = trio.current_time()
        """When there was last something that is this agent's."""

    async def request(
        self,
        number: int,
        hashes: Sequence[Hash],
        urgent: bool,
        handler: RequestHandler,
        *,
        max_bytes: int,
        sparing: bool,
        hints: Hints | None = None,
    ) -> None:
        """Asks the bucket for chunks. Raises `PeerError` when it has been given up."""
        if self.ended.is_set():
            raise PeerError(str(self.reason or "the bucket is not asked any more"))
        scope = self._scopes[number] = trio.CancelScope()
        self._nursery.start_soon(self._answer, scope, number, hashes, handler, max_bytes, sparing)

    def give_up(self, number: int) -> None:
        """Reports nothing more of a request."""
        scope = self._scopes.pop(number, None)
        if scope is not None:
            scope.cancel()

    def blame(self, error: ForgeError) -> None:
        """It holds wrong bytes."""
        self.reason = error
        self.ended.set()

    async def _answer(
        self,
        scope: trio.CancelScope,
        number: int,
        hashes: Sequence[Hash],
        handler: RequestHandler,
        max_bytes: int,
        sparing: bool,
    ) -> None:
        code = Code.STORE
        with contained("a request to the bucket"), scope:
            try:
                found = await trio.to_thread.run_sync(self._located, hashes, abandon_on_cancel=True)
                indexes = {chunk: index for index, chunk in enumerate(hashes)}
                missing = [index for chunk, index in indexes.items() if chunk not in found]
                if missing:
                    handler.missing(number, missing)
                chosen, code = self._choose(found.values(), max_bytes, sparing=sparing)
                gone = await self._read(spans(chosen), indexes, number, handler)
                if gone:
                    asked = [each.hash for each in gone]
                    now = await trio.to_thread.run_sync(self._located_anew, asked, abandon_on_cancel=True)
                    # What is elsewhere by now is asked for again; the rest is not there, whatever the catalogue says.
                    handler.missing(number, [indexes[each.hash] for each in gone if now.get(each.hash) == each])
                self._failures = 0
            except (BucketError, CorruptChunk, Malformed) as error:
                self._failed(error)
                code = Code.STORE
        if self._scopes.pop(number, None) is not None:
            handler.ended(number, code)

    def _located(self, hashes: Sequence[Hash]) -> dict[Hash, Slice]:
        """Where chunks are. Blocks."""
        try:
            return self._edge.catalogue.locate(hashes)
        except NoSuchObject as error:
            LOG.info("the bucket was collected meanwhile, its catalogue is read again: %s", error)
            return self._located_anew(hashes)

    def _located_anew(self, hashes: Sequence[Hash]) -> dict[Hash, Slice]:
        """As `_located`, with the newest records. Blocks."""
        self._edge.catalogue.refresh()
        return self._edge.catalogue.locate(hashes)

    def _choose(self, found: Iterable[Slice], max_bytes: int, *, sparing: bool) -> tuple[list[Slice], Code]:
        """What to read for a request, and how the request ends then."""
        ordered = sorted(found, key=lambda each: (each.bundle, each.offset))
        mine = self._mine(ordered) if sparing else ordered
        chosen: list[Slice] = []
        left = max_bytes
        for each in mine:
            if each.size > left:
                return chosen, Code.BUDGET
            left -= each.size
            chosen.append(each)
        return chosen, Code.OK if len(mine) == len(ordered) else Code.ELSEWHERE

    def _mine(self, ordered: list[Slice]) -> list[Slice]:
        """What of this is for this agent to ask for: that of which it is the first; when for `TURN` seconds there was
        none of that, also what it is the second of, and so on, so that no slow agent holds up all others."""
        fellows = self._fellows()
        ranks = [_rank(each, self._own_id, fellows) for each in ordered]
        now = trio.current_time()
        if 0 in ranks:
            self._idle_since = now
        turn = int((now - self._idle_since) / TURN)
        return [each for each, rank in zip(ordered, ranks, strict=True) if rank <= turn]

    async def _read(
        self, wanted: Sequence[Span], indexes: dict[Hash, int], number: int, handler: RequestHandler
    ) -> list[Slice]:
        """Hands over what is there; what lies in bundles that are not. Raises `BucketError`."""
        problems: list[ForgeError] = []
        gone: list[Slice] = []

        async def read(span: Span) -> None:
            try:
                chunks = await trio.to_thread.run_sync(
                    self._edge.reader.span, span, abandon_on_cancel=True, limiter=self._limiter
                )
            except CorruptChunk as error:
                chunks = await self._what_is_right(span, error)
            except NoSuchObject as error:
                LOG.info("the bucket was collected meanwhile, its catalogue is read again: %s", error)
                gone.extend(span.slices)
                return
            except BucketError as error:
                problems.append(error)
                return
            right = {chunk.hash for chunk in chunks}
            handler.chunks(self, number, [(indexes[chunk.hash], chunk) for chunk in chunks])
            wrong = [indexes[each.hash] for each in span.slices if each.hash not in right]
            if wrong:
                handler.missing(number, wrong)

        async with trio.open_nursery() as nursery:
            for span in wanted:
                nursery.start_soon(read, span)
        if problems:
            raise problems[0]
        return gone

    async def _what_is_right(self, span: Span, error: CorruptChunk) -> list[EncodedChunk]:
        """Of a range with something damaged in it that which is not."""
        LOG.warning("%s holds what is damaged: %s", self.where, error)
        found: list[EncodedChunk] = []
        for each in spans_of_one(span):
            try:
                found += await trio.to_thread.run_sync(self._edge.reader.span, each, abandon_on_cancel=True)
            except (CorruptChunk, BucketError):
                continue
        return found

    def _failed(self, error: ForgeError) -> None:
        LOG.warning("the bucket was of no help: %s", error)
        self._failures += 1
        if self._failures >= FAILURES and not self.ended.is_set():
            self.blame(error)


_RANGES: Final = 16
"""Ranges read at once."""


def spans_of_one(span: Span) -> list[Span]:
    """A range for each chunk."""
    return [Span(span.bundle, each.offset, each.length, (each,)) for each in span.slices]


def _rank(each: Slice, own_id: NodeId, fellows: Sequence[NodeId]) -> int:
    """How many others are to ask before this agent for the piece that a chunk lies in."""
    piece = each.bundle + (each.offset // PIECE).to_bytes(4)
    own = xxh3_64_intdigest(piece + own_id)
    return sum(1 for fellow in fellows if xxh3_64_intdigest(piece + fellow) > own)
