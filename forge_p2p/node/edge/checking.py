"""Operation: edge check. Is everything there that the catalogue says, and is it what it says? With --repair it is put
right, as far as what is needed can be had: from the bucket's own copies, from this node's store, from its peers.

    one winner? -> catalogue readable? -> every blob whole? -> every pin whole?
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from forge_p2p.bucket.base import blob_key
from forge_p2p.bucket.faults import TooLarge
from forge_p2p.bucket.racing import require_one_winner
from forge_p2p.content.bundle import BUNDLE_MAX, TAIL_SIZE, Held, checked_rows, rows_size
from forge_p2p.content.catalogue import BlobName, CatalogueRecord, IndexEntry, PinEntry, State
from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.link import hash_bytes
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.walk import reach
from forge_p2p.errors import BucketError, CorruptChunk, ForgeError, Malformed, NoSuchObject, NotFound
from forge_p2p.ids import Hash
from forge_p2p.node.edge.collecting import Collector
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.edge.replacing import repacked, replaced
from forge_p2p.node.edge.results import EdgeCheck
from forge_p2p.node.edge.uploading import Uploader
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.results import Progress
from forge_p2p.store.base import Store

AT_ONCE: Final = 4
"""Blobs read at the same time: up to 64 MiB each."""

SHOWN: Final = 100


def check(node: LocalNode, *, repair: bool = False, quick: bool = False, report: Report) -> EdgeCheck:
    """Looks at everything in the bucket. `quick`: at what there is and how long it is, without reading it. Raises
    `BucketRefused` for a bucket that lets two win, `BucketError` when it cannot be asked."""
    started = time.monotonic()
    edge = node.edge
    report(Progress("check"))
    require_one_winner(edge.bucket)
    edge.catalogue.forget()
    checker = Checker(edge, node.store, quick, lambda done, total: report(Progress("check", done, total)))
    checker.run()
    problems = checker.problems()
    repaired = 0
    if repair and problems:
        Repair(edge, node.store, checker).run()
        again = Checker(edge, node.store, quick, lambda done, total: None)
        again.run()
        left = again.problems()
        repaired = len(problems) - len(set(left) & set(problems))
        unrepaired = len(left)
    else:
        unrepaired = len(problems)
    return EdgeCheck(
        objects=checker.objects,
        bytes=checker.bytes,
        problems=problems[:SHOWN],
        repaired=repaired,
        unrepaired=unrepaired,
        seconds=time.monotonic() - started,
    )


@dataclass(slots=True)
class Checker:
    """One look at everything. `bad`: blobs that are missing or damaged, with the reason."""

    edge: Edge
    store: Store
    quick: bool
    tell: Callable[[int, int], None]
    bad: dict[str, str] = field(default_factory=dict)
    broken_pins: dict[str, str] = field(default_factory=dict)
    objects: int = 0
    bytes: int = 0

    def run(self) -> None:
        """Raises `BucketError` when the bucket cannot be asked, or its catalogue cannot be read."""
        state = self.edge.catalogue.refresh()
        names = [BlobName(blob, size) for blob, size in state.bundles.items()]
        for entry in state.indexes.values():
            names += [entry.index] if entry.summary is None else [entry.index, entry.summary]
        look = self._look if self.quick else self._read
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for name, problem in zip(names, pool.map(look, names), strict=True):
                self.objects += 1
                self.tell(self.objects, len(names))
                if problem:
                    self.bad[name.blob] = problem
        self._check_pins(state)

    def problems(self) -> list[str]:
        """All of them, a line each."""
        return [*self.blob_problems(), *(f"{pin}: {problem}" for pin, problem in sorted(self.broken_pins.items()))]

    def blob_problems(self) -> list[str]:
        """Those of single blobs."""
        return [f"{blob_key(blob)}: {problem}" for blob, problem in sorted(self.bad.items())]

    def _look(self, name: BlobName) -> str:
        found = self.edge.bucket.head(blob_key(name.blob))
        if found is None:
            return "missing"
        return "" if found.size == name.size else f"{found.size} bytes instead of {name.size}"

    def _read(self, name: BlobName) -> str:
        try:
            data = self.edge.bucket.get(blob_key(name.blob))
        except NoSuchObject:
            return "missing"
        except TooLarge:
            return "damaged"
        self.bytes += len(data)
        return "" if hash_bytes(data).hex() == name.blob else "damaged"

    def _check_pins(self, state: State) -> None:
        if any(entry.index.blob in self.bad for entry in state.indexes.values()):
            return  # what is where cannot be told; the indexes come first
        gone = {blob for blob in self.bad if blob in state.bundles}
        collector = Collector(self.edge, self.store, 0.0)
        for pin in state.pins.values():
            try:
                reached = collector.reach(parse_link(pin.root), pin.name)
            except ForgeError as error:
                self.broken_pins[pin.name] = error.message
                continue
            places = self.edge.catalogue.locate(reached).values()
            lost = sum(1 for place in places if place.bundle.hex() in gone)
            if lost:
                self.broken_pins[pin.name] = f"{lost} of its {len(reached)} chunks lie in what is missing or damaged"


@dataclass(slots=True)
class Repair:
    """Puts right what a `Checker` found."""

    edge: Edge
    store: Store
    found: Checker

    def run(self) -> None:
        """Drops what is bad, keeps of it what is right, and uploads again what this node has."""
        state = self.edge.catalogue.refresh()
        held = {blob: self._held(entry) for blob, entry in state.indexes.items()}
        gone = {blob for blob in self.found.bad if blob in state.bundles}
        gone |= {
            each.blob for entry in state.indexes.values() for each in entry.bundles if self._lost(entry, each, held)
        }
        bad_indexes = [
            blob
            for blob, entry in state.indexes.items()
            if blob in self.found.bad or (entry.summary is not None and entry.summary.blob in self.found.bad)
        ]
        if gone or bad_indexes:
            saved = [
                chunk
                for part in held.values()
                for each in part
                if each.name.hex() in gone
                for chunk in self._rest(each)
            ]
            fresh = repacked(self.edge, {chunk.hash: chunk for chunk in saved}.values())
            change = replaced(self.edge, state, gone, fresh, held, bad_indexes)
            record = self.edge.catalogue.record(state, indexes=[*change.indexes], dropped=[*change.dropped])
            self.edge.catalogue.commit(lambda now: _if_same(now, record))
        for pin in list(self.edge.catalogue.refresh().pins.values()):
            self._upload_again(pin)

    def _held(self, entry: IndexEntry) -> Sequence[Held]:
        """What an index has; if it is bad itself, what the ends of its bundles say."""
        if entry.index.blob not in self.found.bad:
            return list(self.edge.catalogue.index(entry).bundles)
        found = []
        for bundle in entry.bundles:
            try:
                found.append(self._from_end(bundle))
            except (BucketError, Malformed):
                continue
        return found

    def _from_end(self, bundle: BlobName) -> Held:
        key, size = blob_key(bundle.blob), bundle.size
        if not TAIL_SIZE < size <= BUNDLE_MAX:
            raise Malformed(f"no bundle has {size} bytes")
        tail = bytes(self.edge.bucket.get_range(key, size - TAIL_SIZE, TAIL_SIZE))
        length = rows_size(size, tail)
        rows = bytes(self.edge.bucket.get_range(key, size - TAIL_SIZE - length, length))
        return Held(_name(bundle), size, checked_rows(size, rows, tail))

    def _lost(self, entry: IndexEntry, bundle: BlobName, held: dict[str, Sequence[Held]]) -> bool:
        """Whether nothing says any more what is in a bundle."""
        return all(each.name.hex() != bundle.blob for each in held[entry.index.blob])

    def _rest(self, bundle: Held) -> list[EncodedChunk]:
        """The chunks of a bad bundle that are right, from it or from this node's store."""
        try:
            data = memoryview(self.edge.bucket.get(blob_key(bundle.name)))
        except (NoSuchObject, TooLarge):
            data = memoryview(b"")
        found = []
        for place in bundle.slices():
            try:
                found.append(place.chunk(data[place.offset :][: place.length]))
            except CorruptChunk:
                found += [chunk for chunk in self.store.read_encoded([place.hash]) if chunk is not None]
        return found

    def _upload_again(self, pin: PinEntry) -> None:
        """Uploads of a pin's content what is not there, if it is here."""
        link = parse_link(pin.root)
        try:
            needed = list(dict.fromkeys(reach(link, self.store.read)))
        except (NotFound, CorruptChunk):
            return
        if len(self.edge.catalogue.locate(needed)) < len(needed):
            try:
                Uploader(self.edge, self.store, link, pin.name, record=pin.record, again=True).run()
            except NotFound:
                return


def _name(bundle: BlobName) -> Hash:
    return Hash(bytes.fromhex(bundle.blob))


def _if_same(state: State, record: CatalogueRecord) -> CatalogueRecord | None:
    if state.seq + 1 != record.seq:
        raise BucketError("somebody wrote into the catalogue while it was being repaired", hint="run the repair again")
    return record
