"""A store against a dictionary: any order of operations, crashes of the mind included, gives what the model says."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.ids import Hash
from forge_p2p.store.base import Keep
from tests.store.inputs import Item, blob, encoded, hashes, named, noise, open_bare, put_blob, text

KEY = named(b"key")[0]
POOL: list[Item] = [
    *(named(noise(n, 40)) for n in range(6)),
    *(named(text(n, 3000)) for n in range(6)),
    *(named(noise(n, CHUNK_MAX)) for n in range(6)),
    *(named(noise(n, 100_000)) for n in range(6)),
]
choices = st.lists(st.integers(0, len(POOL) - 1), min_size=1, max_size=12)
groups = st.sampled_from([None, 1, 2])


class StoreMachine(RuleBasedStateMachine):
    """`stored` is what has to be there, `pins` what keeps it; an interrupted session keeps `arrived` under its key.
    What was `collected` may be there again after a rebuild."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = open_bare(self.folder / "store")
        self.stored: set[Hash] = set()
        self.arrived: set[Hash] = set()
        self.collected: set[Hash] = set()
        self.pins: dict[str, set[Hash]] = {}

    @rule(which=choices, group=groups, raw=st.booleans())
    def add(self, which: list[int], group: int | None, raw: bool) -> None:
        chunks = [POOL[at] for at in which]
        with self.store.ingest() as ingest:
            if raw:
                ingest.put(chunks, group)
            else:
                assert ingest.put_encoded(encoded(chunks), group) == [content for _, content in chunks]
            assert ingest.missing(hashes(chunks)) == []
            ingest.commit()
        self.stored.update(hashes(chunks))

    @rule(which=choices, group=groups)
    def abandon(self, which: list[int], group: int | None) -> None:
        with self.store.ingest() as ingest:
            ingest.put([POOL[at] for at in which], group)

    @rule(which=choices, group=groups)
    def interrupt(self, which: list[int], group: int | None) -> None:
        chunks = [POOL[at] for at in which]
        with self.store.ingest(KEY) as ingest:
            missing = ingest.missing(hashes(chunks))
            assert set(missing) == set(hashes(chunks)) - self.stored - self.arrived
            ingest.put(chunks, group)
        self.arrived.update(missing)

    @rule(which=choices)
    def resume(self, which: list[int]) -> None:
        with self.store.ingest(KEY) as ingest:
            assert ingest.missing(self.arrived) == []
            ingest.put([POOL[at] for at in which])
            ingest.commit()
        self.stored |= self.arrived | {POOL[at][0] for at in which}
        self.arrived = set()

    @rule(name=st.sampled_from("abc"), which=choices, keep=st.sampled_from(Keep))
    def pin(self, name: str, which: list[int], keep: Keep) -> None:
        chunks = [POOL[at] for at in which]
        with self.store.ingest() as ingest:
            root = put_blob(ingest, chunks) if len(chunks) > 1 else blob(chunks[0])
            ingest.put(chunks)
            ingest.commit()
            self.store.pin(name, root, keep)
        self.pins[name] = {*hashes(chunks), root.link.hash}
        self.stored |= self.pins[name]

    @precondition(lambda self: self.pins)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pins)))
        assert self.store.unpin(name)
        del self.pins[name]

    @rule()
    def collect(self) -> None:
        kept: set[Hash] = set().union(*self.pins.values())
        collected = self.store.collect()
        assert collected.chunks == len(self.stored - kept)
        self.collected |= self.stored - kept
        self.stored &= kept

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_bare(self.folder / "store")

    @rule()
    def lose_the_index(self) -> None:
        self.store.close()
        (self.folder / "store" / "index.lmdb").unlink()
        self.store = open_bare(self.folder / "store")
        self._see_what_came_back()

    @rule()
    def rebuild(self) -> None:
        self.store.rebuild()
        self._see_what_came_back()

    def _see_what_came_back(self) -> None:
        """A journal still names dead slices: rebuilding makes garbage of them again."""
        self.stored |= self.collected - set(self.store.missing(self.collected))

    @rule()
    def recompress(self) -> None:
        assert self.store.recompress(-1.0, 60.0).done

    @rule()
    def verify(self) -> None:
        assert self.store.verify().corrupt == []

    @invariant()
    def everything_reads_right(self) -> None:
        if not hasattr(self, "store"):
            return
        contents = dict(POOL)
        wanted = [chunk for chunk in contents if chunk in self.stored]
        assert self.store.read_many(wanted) == [contents[chunk] for chunk in wanted]
        assert set(self.store.missing(contents)) == set(contents) - self.stored
        assert {pin.name for pin in self.store.pins()} == set(self.pins)
        assert self.store.statistics().total.chunks == len(self.stored)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("examples", [12, pytest.param(1000, marks=pytest.mark.soak)])
def test_any_order_of_operations(examples: int) -> None:
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=examples, stateful_step_count=20))
