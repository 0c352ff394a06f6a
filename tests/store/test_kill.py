"""SIGKILL at random moments: what was acknowledged stays, no pin dangles, nothing is unreadable, transfers resume."""

import random
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest

from forge_p2p.store.disk import DiskStore
from tests.store.inputs import hashes, open_bare
from tests.store.victims import content, keep_busy, key_of, run_and_kill


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_kills_lose_nothing_acknowledged(tmp_path: Path, kills: int) -> None:
    moments = random.Random(kills)
    pins: set[int] = set()
    got: dict[int, set[int]] = defaultdict(set)
    for kill in range(kills):
        lines = run_and_kill(partial(keep_busy, tmp_path / "store", kill + 1), moments.uniform(0, 0.3))
        for line in lines:
            word, *rest = line.split()
            if word == "pin":
                pins.add(int(rest[1]))
            elif word == "unpin" and rest[0] == "blob":
                pins.discard(int(rest[1]))
            elif word == "got":
                got[int(rest[0])].update(map(int, rest[1:]))
            elif word == "commit":  # from now on it is a pin, soon to be set, that holds the chunks
                got.pop(int(rest[0]), None)
        store = open_bare(tmp_path / "store")
        try:
            check(store, pins if kill % 20 == 19 else set(sorted(pins)[-4:]), got)
            if kill % 5 == 4:
                check_all(store)
        finally:
            store.close()


def check(store: DiskStore, pins: set[int], got: dict[int, set[int]]) -> None:
    named = {pin.name for pin in store.pins()}
    for number in pins:
        assert f"blob {number}" in named
        chunks = content(number)
        assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    for number, received in got.items():
        with store.ingest(key_of(number)) as ingest:
            chunks = content(number)
            assert ingest.missing(chunks[at][0] for at in received) == []


def check_all(store: DiskStore) -> None:
    assert store.verify().corrupt == []
    assert store.collect().incomplete == []
    assert store.statistics().condemned == 0
