"""Operation: edge gc. What no pin reaches leaves the bucket, in two steps that each bear any interruption.

First a record of the catalogue says that blobs are *dropped*: whoever writes a later record knows, and relies on none
of them. So it does no harm that somebody pushes meanwhile: either their record comes first, and the collector thinks
again with what it says, or the collector's does, and they upload again what it has dropped. Only some time later, so
that readers who have not heard of it come to an end, are dropped blobs deleted. Blobs that no record names are left
over from pushes that were cut, or belong to one under way; after the same time they are dropped, too, and who still
meant to name them in a record learns it by that."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from forge_p2p.bucket.base import BLOBS, CHECKPOINTS, blob_key, blob_of, step_key
from forge_p2p.bucket.racing import FOLDER as RACES
from forge_p2p.content.bundle import Held, Slice
from forge_p2p.content.catalogue import CatalogueRecord, State
from forge_p2p.content.codec import decode
from forge_p2p.content.link import Root
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.walk import reach_by_level
from forge_p2p.errors import BucketError, CorruptChunk, NotFound
from forge_p2p.ids import Hash
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.edge.replacing import Replacement, read_slices, repacked, replaced
from forge_p2p.node.edge.results import EdgeGc
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.results import Progress
from forge_p2p.store.base import Store

GRACE: Final = 86400.0
"""Seconds: longer than a push of what one uploads in an evening, and than any fetch."""

SPARSE: Final = 0.5
"""A bundle of which less than this share is needed is written anew."""

TINY: Final = 1 << 20
TINIES: Final = 32
"""Bundles of less than a megabyte are made one when there are more than so many: each is a range of its own to read."""

INDEXES: Final = 16
"""Indexes from which on the small ones are made one: each costs who comes first a request."""

TRIES: Final = 32


def gc(node: LocalNode, *, grace: float = GRACE, report: Report) -> EdgeGc:
    """Collects. Raises `BucketError` when something that is kept is not there, and what the bucket does."""
    started = time.monotonic()
    report(Progress("collect"))
    collector = Collector(node.edge, node.store, grace)
    collector.run()
    return EdgeGc(
        deleted=len(collector.deleted),
        freed_bytes=sum(collector.deleted.values()),
        dropped=collector.dropped,
        rewritten=collector.rewritten,
        seconds=time.monotonic() - started,
    )


@dataclass(slots=True)
class Collector:
    """One collection. `store`: where chunks of listings are looked for before the bucket is asked. `clock`: Unix
    time."""

    edge: Edge
    store: Store
    grace: float
    clock: Callable[[], float] = time.time
    deleted: dict[str, int] = field(default_factory=dict)
    """Blobs that are gone, with their sizes as far as they were seen."""
    dropped: int = 0
    rewritten: int = 0
    _walked: dict[str, set[Hash]] = field(default_factory=dict)
    """What each root reaches."""

    def run(self) -> None:
        """Until it has the next record, or there is nothing to say in one."""
        catalogue = self.edge.catalogue
        for _ in range(TRIES):
            state = catalogue.refresh()
            seq = state.seq
            there = {blob_of(meta.key): meta for meta in self.edge.bucket.list(BLOBS)}
            swept = self._sweep(state, {blob: meta.size for blob, meta in there.items()})
            plan = self._plan(state)
            old = self.clock() - self.grace
            known = state.blobs()
            orphans = [blob for blob, meta in there.items() if blob and blob not in known and meta.written <= old]
            if not (plan.dropped or plan.indexes or swept or orphans):
                break
            record = catalogue.record(state, indexes=[*plan.indexes], dropped=[*plan.dropped, *orphans], swept=[*swept])
            if catalogue.commit(lambda now, record=record, seq=seq: _unless_moved(now, seq, record)) is not None:  # type: ignore[misc]
                self.dropped = len(record.dropped)
                break
        else:
            raise BucketError(
                f"others wrote into the catalogue of {self.edge.where} all the time", hint="collect when it is quieter"
            )
        self._tidy()

    # What goes

    def _plan(self, state: State) -> Replacement:
        live = self._live(state)
        indexes = self.edge.catalogue.every_index()
        held: dict[str, Sequence[Held]] = {blob: index.bundles for blob, index in indexes.items()}
        gone: set[str] = set()
        moved: list[Slice] = []
        bundles = {bundle.name: bundle for part in held.values() for bundle in part}.values()
        tiny = {bundle.name for bundle in bundles if bundle.size < TINY}
        for each in bundles:
            needed = [place for place in each.slices() if place.hash in live]
            sparse = len(needed) < each.count and sum(place.length for place in needed) < SPARSE * each.size
            if sparse or (len(tiny) > TINIES and each.name in tiny):
                gone.add(each.name.hex())
                moved += needed
            else:
                live.difference_update(place.hash for place in needed)  # what is there twice is needed once
        moved = list({place.hash: place for place in moved if place.hash in live}.values())
        small = sorted(state.indexes, key=lambda blob: state.indexes[blob].rows)[: -INDEXES // 2]
        merged = small if len(state.indexes) > INDEXES else []
        if not gone and not merged:
            return Replacement()
        self.rewritten = len({place.bundle for place in moved})
        fresh = repacked(self.edge, read_slices(self.edge, moved))
        return replaced(self.edge, state, gone, fresh, held, merged)

    def _live(self, state: State) -> set[Hash]:
        """Every chunk that a pin reaches."""
        roots = {pin.root: pin.name for pin in state.pins.values()}
        for text, name in roots.items():
            if text not in self._walked:
                self._walked[text] = self.reach(parse_link(text), name)
        return set().union(*(self._walked[text] for text in roots))

    def reach(self, root: Root, name: str) -> set[Hash]:
        """Every chunk of what is kept under `name`. Raises `BucketError` if some are not there."""
        try:
            found = set(reach_by_level(root, self._read))
            absent = found - self.edge.catalogue.locate(found).keys()
        except (NotFound, CorruptChunk) as error:
            raise _incomplete(self.edge.where, name, error.message) from error
        if absent:
            raise _incomplete(self.edge.where, name, f"{len(absent)} of its chunks are not there")
        return found

    def _read(self, chunks: Sequence[Hash]) -> list[bytes | memoryview]:
        absent = set(self.store.missing(chunks))
        found: dict[Hash, bytes | memoryview] = {}
        for chunk in chunks:
            if chunk not in absent:
                found[chunk] = self.store.read(chunk)
        for part in self.edge.read_encoded([chunk for chunk in chunks if chunk in absent]):
            found.update((each.hash, decode(each)) for each in part)
        lost = [chunk for chunk in chunks if chunk not in found]
        if lost:
            raise NotFound(f"chunk {lost[0].hex()[:16]} is not there")
        return [found[chunk] for chunk in chunks]

    # Deleting

    def _sweep(self, state: State, sizes: dict[str, int]) -> list[str]:
        """Deletes what was dropped long enough ago."""
        old = self.clock() - self.grace
        due = [blob for blob, since in state.dropped.items() if since <= old]
        self.edge.bucket.delete([blob_key(blob) for blob in due])
        self.deleted.update((blob, sizes[blob]) for blob in due if blob in sizes)
        return due

    def _tidy(self) -> None:
        """Leaves two checkpoints, and nothing of races that were cut."""
        bucket = self.edge.bucket
        newest = self.edge.catalogue.write_checkpoint().seq
        older = [meta.key for meta in bucket.list(CHECKPOINTS) if meta.key < step_key(CHECKPOINTS, newest)]
        races = [meta.key for meta in bucket.list(RACES) if meta.written <= self.clock() - GRACE]
        bucket.delete([*older[:-1], *races])


def _unless_moved(state: State, seq: int, record: CatalogueRecord) -> CatalogueRecord | None:
    return record if state.seq == seq else None


def _incomplete(where: str, name: str, reason: str) -> BucketError:
    return BucketError(
        f"nothing was collected in {where}: {name} is kept there and not whole: {reason}",
        hint="forge edge check --repair puts it right from what is here",
    )
