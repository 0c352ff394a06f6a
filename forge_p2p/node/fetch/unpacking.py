"""A plan whose content is all in the store, carried out: no network, all in one thread."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from forge_p2p.content import walk
from forge_p2p.content.link import Link
from forge_p2p.content.snapshot import Entry
from forge_p2p.errors import CorruptChunk, NotFound
from forge_p2p.node.fetch.earlier import version_here
from forge_p2p.node.fetch.placing import LargeTarget, Placer, Slot, SmallTarget, Stored
from forge_p2p.node.local import LocalNode
from forge_p2p.workspace.ledger import Outcome
from forge_p2p.workspace.plan import RestorePlan
from forge_p2p.workspace.replaced import ReplacedFile
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.statcache import StatCache

LEAVES = 256
"""Chunks of a large file placed at once."""


def begin(plan: RestorePlan, cache: StatCache) -> RestoreWriter:
    """A writer for `plan`. Raises `DiskFull`, before anything is made, if it cannot fit."""
    try:
        plan.require_space()
    except BaseException:
        plan.close()
        raise
    return RestoreWriter(plan, cache)


def unpack(node: LocalNode, plan: RestorePlan, cache: StatCache, before: Mapping[bytes, Link]) -> Outcome:
    """Writes what `plan` has to write, from the store. What turns out to be missing there is among the failures.
    `before`: what was last seen to stand where files are replaced. Raises `DiskFull` before anything is made if it
    cannot fit, `DiskError`."""
    with begin(plan, cache) as writer, node.store.ingest() as ingest:
        placer = Placer(node.store, ingest)
        placer.destination = writer
        small = [entry for entry in plan.write if entry.level == 0]
        placer.place_stored([(entry.link.hash, entry.size, Slot(SmallTarget(entry))) for entry in small])
        for number, entry in enumerate(entry for entry in plan.write if entry.level > 0):
            target = LargeTarget(entry, number, entry.size)
            with (
                suppress(NotFound, CorruptChunk),
                _replaced(node, plan, entry, before.get(entry.path)) as target.replaced,
            ):
                for batch in stored_batches(node, entry.link, target):
                    if placer.place_stored(batch):
                        break
        return writer.finish()


@contextmanager
def _replaced(node: LocalNode, plan: RestorePlan, entry: Entry, old: Link | None) -> Iterator[ReplacedFile | None]:
    """The large file that stands where `entry` goes, if it is known what it was."""
    version = version_here(node.store, old) if old is not None and entry.path in plan.replaced else None
    if version is None:
        yield None
        return
    with ReplacedFile(os.path.join(plan.place.top, entry.path), version.offset) as replaced:
        yield replaced


def stored_batches(node: LocalNode, link: Link, target: LargeTarget) -> Iterator[list[Stored]]:
    """The chunks of a large file that the store has, in order, each with its place."""
    batch: list[Stored] = []
    offset = 0
    for leaf in walk.leaves(link, node.store.read):
        batch.append((leaf.hash, leaf.size, Slot(target, offset, leaf.size)))
        offset += leaf.size
        if len(batch) == LEAVES:
            yield batch
            batch = []
    if batch:
        yield batch
