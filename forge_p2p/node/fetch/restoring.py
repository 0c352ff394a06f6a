"""The producing side of `get`: reads the listing, plans, and wants what the plan has to write."""

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, aclosing

import trio

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.link import CHUNK_MAX, Kind, Root
from forge_p2p.content.pathtext import path_bytes
from forge_p2p.content.snapshot import Entry
from forge_p2p.ids import Hash
from forge_p2p.node.acquainted import Acquainted
from forge_p2p.node.fetch.bases import Previous
from forge_p2p.node.fetch.earlier import Earlier
from forge_p2p.node.fetch.expanding import NODES_AHEAD, Leaf, fetch_ahead, leaves_below, listing
from forge_p2p.node.fetch.fetching import Fetching
from forge_p2p.node.fetch.placing import LargeTarget, Slot, SmallTarget
from forge_p2p.node.fetch.receiving import Counts, Receiver, Wanted
from forge_p2p.node.fetch.unpacking import begin
from forge_p2p.node.local import Report
from forge_p2p.node.operations.getting import Options, plan_destination
from forge_p2p.node.results import Progress
from forge_p2p.store.base import Ingest
from forge_p2p.workspace.ledger import Outcome
from forge_p2p.workspace.replaced import ReplacedFile
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.reuse import PresentFile

WANTS = 512
"""Small files wanted at once."""


class Restoring:
    """One restore under way. `entries`: everything the snapshot holds, once `produce` has read the listing."""

    def __init__(
        self,
        fetch: Fetching,
        root: Root,
        destination: str,
        options: Options,
        report: Report,
        previous: Root | None = None,
    ) -> None:
        self.entries: list[Entry] = []
        self._fetch = fetch
        self._root = root
        self._destination = destination
        self._options = options
        self._report = report
        self._replaced: dict[bytes, bytes] = {}
        """Files at the destination that other content takes the place of: where they are."""
        self._writer: RestoreWriter | None = None
        self._total: int | None = None
        self._has_zeros = False
        self._previous = previous
        self._earlier: Earlier | None = None

    async def produce(self, receiver: Receiver) -> None:
        """Wants everything that is not at the destination yet."""
        self._earlier = await trio.to_thread.run_sync(self._find_earlier)
        await self._read_listing(receiver)
        await trio.to_thread.run_sync(self._options.beforehand, self.entries)
        node = self._fetch.node
        plan = await trio.to_thread.run_sync(
            plan_destination, node, self._root, self.entries, self._destination, self._options
        )
        self.entries = list(plan.entries)
        self._replaced = {path: os.path.join(plan.place.top, path) for path in plan.replaced}
        self._writer = await trio.to_thread.run_sync(begin, plan, node.stat_cache)
        receiver.restore_to(self._writer)
        self._total = plan.bytes_needed
        small = [entry for entry in plan.write if entry.level == 0]
        await self._pair_whole(receiver, small)
        for start in range(0, len(small), WANTS):
            await receiver.want(
                [(entry.link.hash, entry.size, Slot(SmallTarget(entry))) for entry in small[start : start + WANTS]]
            )
        await self._want_large(receiver, [entry for entry in plan.write if entry.level > 0])

    async def _pair_whole(self, receiver: Receiver, entries: Sequence[Entry]) -> None:
        """Pairs the first chunk of each file: all of a small one, the list of a large one."""
        if self._earlier is not None:
            receiver.pair(await trio.to_thread.run_sync(self._earlier.pairs, entries))

    def progress(self, counts: Counts) -> None:
        """Reports how much is in place."""
        self._report(Progress("fetch", counts.placed, self._total))

    def finish(self) -> Outcome:
        """Puts everything in place. All that was wanted must have arrived."""
        if self._writer is None:
            raise ValueError("nothing was produced")
        return self._writer.finish()

    def close(self) -> None:
        """Lets the destination go; what was written out of sight stays for the next run."""
        if self._writer is not None:
            self._writer.close()

    def _find_earlier(self) -> Earlier | None:
        """The version that the caller knows of, or that is at the destination. The issuer of a ticket may be anybody:
        it is told of what is at the destination only if that came by a ticket of its own."""
        node, issuer = self._fetch.node, self._fetch.issuer
        known = self._previous or node.stat_cache.load(os.path.realpath(path_bytes(self._destination))).root
        if known is None or known == self._root or known.kind is not self._root.kind:
            return None
        known_to = None if self._previous is not None else Acquainted(node.home).of(known)
        if issuer is not None and known_to is not None and issuer not in known_to:
            return None
        self._fetch.previous = Previous(known, known_to)
        return Earlier(node.store, known)

    async def _read_listing(self, receiver: Receiver) -> None:
        if self._root.kind is Kind.BLOB:
            return  # it has none: the plan makes its one entry
        old = None if self._earlier is None else await trio.to_thread.run_sync(self._earlier.root)
        self.entries = await listing(receiver, self._root.link, old)

    async def _want_large(self, receiver: Receiver, entries: Sequence[Entry]) -> None:
        number = 0
        await self._pair_whole(receiver, entries)
        async with aclosing(fetch_ahead(receiver, (entry.link for entry in entries), NODES_AHEAD)) as nodes:
            async for link, node in nodes:
                entry, earlier = entries[number], self._earlier
                target = LargeTarget(entry, number, link.size)
                number += 1
                old = None if earlier is None else await trio.to_thread.run_sync(earlier.version_of, entry)
                with ExitStack() as opened:
                    present = None
                    replaced = self._replaced.get(entry.path)
                    if replaced is not None and old is not None:
                        there = await trio.to_thread.run_sync(ReplacedFile, replaced, old.offset)
                        target.replaced = opened.enter_context(there)
                    elif replaced is not None:
                        present = opened.enter_context(await trio.to_thread.run_sync(PresentFile, replaced))
                    async with aclosing(leaves_below(receiver, link, node, old)) as batches:
                        async for batch in batches:
                            await self._reuse(present, batch, target.group)
                            await receiver.want(await self._wanted(target, batch))

    async def _reuse(self, present: PresentFile | None, batch: Sequence[Leaf], group: int) -> None:
        """Takes into the store what of a batch is in the file that stands at the destination."""
        here = [] if present is None else present.among([chunk for chunk, _, _ in batch])
        if present is not None and here:
            await trio.to_thread.run_sync(_put_present, self._fetch.ingest, present, here, group)

    async def _wanted(self, target: LargeTarget, batch: Iterable[Leaf]) -> list[Wanted]:
        wanted = [(chunk, size, Slot(target, offset, size)) for chunk, size, offset in batch]
        if not self._has_zeros and any(chunk == ZERO_CHUNK for chunk, _, _ in wanted):
            # Everybody knows this one: holes cross no network.
            await trio.to_thread.run_sync(self._fetch.ingest.put, [(ZERO_CHUNK, bytes(CHUNK_MAX))])
            self._has_zeros = True
        return wanted


def _put_present(ingest: Ingest, present: PresentFile, chunks: Sequence[Hash], group: int) -> None:
    for found in present.read(ingest.missing(chunks)):
        ingest.put(found, group)
