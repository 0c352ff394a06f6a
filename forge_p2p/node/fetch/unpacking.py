"""A plan whose content is all in the store, carried out: no network, all in one thread."""

from collections.abc import Iterator

from forge_p2p.content import walk
from forge_p2p.content.link import Link
from forge_p2p.errors import CorruptChunk, NotFound
from forge_p2p.node.fetch.placing import LargeTarget, Placer, Slot, SmallTarget, Stored
from forge_p2p.node.local import LocalNode
from forge_p2p.workspace.ledger import Outcome
from forge_p2p.workspace.plan import RestorePlan
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


def unpack(node: LocalNode, plan: RestorePlan, cache: StatCache) -> Outcome:
    """Writes what `plan` has to write, from the store. What turns out to be missing there is among the failures. Raises
    `DiskFull` before anything is made if it cannot fit, `DiskError`."""
    with begin(plan, cache) as writer, node.store.ingest() as ingest:
        placer = Placer(node.store, ingest)
        placer.destination = writer
        small = [entry for entry in plan.write if entry.level == 0]
        placer.place_stored([(entry.link.hash, entry.size, Slot(SmallTarget(entry))) for entry in small])
        for number, entry in enumerate(entry for entry in plan.write if entry.level > 0):
            target = LargeTarget(entry, number, entry.size)
            try:
                for batch in stored_batches(node, entry.link, target):
                    if placer.place_stored(batch):
                        break
            except (NotFound, CorruptChunk):
                continue
        return writer.finish()


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
