"""The logs of names on disk."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forge_p2p.content.ref import BadRef, RefFlaw, RefRecord, decode_record
from forge_p2p.errors import StoreError
from forge_p2p.ids import NetworkId
from forge_p2p.proto.reflog import Exists, Stored
from forge_p2p.store.refs import RefStore
from tests.content.logs import NAME, log, record, root, writer
from tests.content.networks import World

WORLD = World()
WRITER = writer(WORLD)
LOG = log(WORLD, WRITER, 5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RefStore]:
    opened = RefStore(tmp_path / "refs.lmdb")
    yield opened
    opened.close()


def fill(store: RefStore, records: list[RefRecord]) -> None:
    for each in records:
        assert store.put(each) == Stored()


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    for cut in (2, 5):
        store = RefStore(tmp_path / "refs.lmdb")
        head = store.head(WORLD.id, NAME)
        fill(store, LOG[head.seq if head else 0 : cut])
        assert store.head(WORLD.id, NAME) == LOG[cut - 1]
        assert store.range(WORLD.id, NAME, 1, 100) == LOG[:cut]
        store.close()


def test_a_record_is_put_once(store: RefStore) -> None:
    fill(store, LOG[:2])
    assert store.put(LOG[1]) == Stored(), "the same again, as after an answer that was lost"
    rival = record(WORLD, WRITER, LOG[0], target=root(50))
    assert store.put(rival) == Exists(LOG[1])
    assert store.head(WORLD.id, NAME) == LOG[1]


def test_gaps_and_forks_are_refused(store: RefStore) -> None:
    fill(store, LOG[:2])
    for wrong, flaw in [
        (LOG[3], RefFlaw.DOES_NOT_FOLLOW),
        (record(WORLD, WRITER, record(WORLD, WRITER, LOG[0], target=root(9))), RefFlaw.FORKED),
    ]:
        with pytest.raises(BadRef) as caught:
            store.put(wrong)
        assert caught.value.flaw is flaw
    assert store.range(WORLD.id, NAME, 1, 9) == LOG[:2]


def test_names_do_not_run_into_each_other(store: RefStore) -> None:
    names = ["a", "a/b", "a!", "ab", "z", "ß"]
    other = World(2000)
    for name in names:
        fill(store, [record(WORLD, WRITER, name=name)])
    fill(store, [record(other, writer(other), name="a/b/c")])
    assert store.names(WORLD.id, "", 100) == sorted(names, key=str.encode)
    assert store.names(WORLD.id, "a/b", 2) == sorted(names, key=str.encode)[3:5]
    assert store.names(other.id, "", 100) == ["a/b/c"]
    assert store.names(NetworkId(bytes(32)), "", 100) == []
    for name in names:
        head = store.head(WORLD.id, name)
        assert head is not None
        assert (head.name, head.seq) == (name, 1)
    assert store.head(WORLD.id, "a/") is store.head(WORLD.id, "b") is None


def test_a_long_log_and_its_ends(store: RefStore) -> None:
    records = log(WORLD, WRITER, 300)
    fill(store, records)
    assert store.head(WORLD.id, NAME) == records[-1]
    assert store.range(WORLD.id, NAME, 254, 4) == records[253:257]
    assert store.range(WORLD.id, NAME, 300, 9) == records[299:]
    assert store.range(WORLD.id, NAME, 301, 9) == []
    assert store.range(WORLD.id, NAME, 0, 9) == []


def test_following(store: RefStore) -> None:
    assert store.follow(WORLD.id, NAME)
    assert not store.follow(WORLD.id, NAME)
    assert store.followed() == [(WORLD.id, NAME)]
    assert store.keeps(WORLD.id, NAME) == 0
    for said, kept in ((None, 0), (30, 30), (None, 30), (2, 2), (0, 0), (1000, 1000)):
        assert not store.follow(WORLD.id, NAME, said)
        assert store.keeps(WORLD.id, NAME) == kept
    assert store.unfollow(WORLD.id, NAME)
    assert not store.unfollow(WORLD.id, NAME)
    assert store.keeps(WORLD.id, NAME) == 0
    assert store.followed() == []


def test_a_network_that_was_left_is_forgotten(store: RefStore) -> None:
    other = World(2000)
    fill(store, LOG)
    fill(store, [record(other, writer(other))])
    store.follow(WORLD.id, NAME)
    store.drop(WORLD.id)
    assert store.head(WORLD.id, NAME) is None
    assert store.followed() == []
    assert store.head(other.id, NAME) is not None


def test_threads_race_for_a_number_and_one_wins(store: RefStore) -> None:
    fill(store, LOG[:1])
    rivals = [record(WORLD, WRITER, LOG[0], target=root(100 + number)) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(store.put, rivals))
    winner = store.range(WORLD.id, NAME, 2, 1)[0]
    assert [answer for answer in answers if isinstance(answer, Stored)] == [Stored()]
    assert {answer.record.hash for answer in answers if isinstance(answer, Exists)} == {winner.hash}


def put_all(path: Path, rivals: list[bytes]) -> int:
    """In a process of its own: how many of these it could put."""
    store = RefStore(path)
    won = sum(isinstance(store.put(decode_record(each)), Stored) for each in rivals)
    store.close()
    return won


def test_processes_race_for_a_number_and_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "refs.lmdb"
    rivals = [record(WORLD, WRITER, target=root(100 + number)).encode() for number in range(12)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        won = pool.starmap(put_all, [(path, rivals[start::3]) for start in range(3)])
    assert sum(won) == 1


def test_a_damaged_record_is_named(store: RefStore, tmp_path: Path) -> None:
    fill(store, LOG[:3])
    store.close()
    path = tmp_path / "refs.lmdb"
    content = path.read_bytes()
    body = LOG[1].encode()
    assert body in content
    path.write_bytes(content.replace(body, body[:90] + bytes([body[90] ^ 1]) + body[91:]))
    again = RefStore(path)
    assert again.head(WORLD.id, NAME) == LOG[2]
    with pytest.raises(StoreError, match=r"refs\.lmdb is damaged"):
        again.range(WORLD.id, NAME, 1, 3)
    again.close()
    RefStore(path)  # for the fixture to close
