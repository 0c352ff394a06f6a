"""Several processes and several openings on one store at once."""

import os
import resource
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_p2p.errors import StoreError
from forge_p2p.store.environment import open_environment
from tests.store.inputs import big, blob, fill, hashes, items, open_bare, put_blob


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a forked child; its exit status is 0 if it returned."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def wait(children: list[int]) -> None:
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def test_processes_add_the_same_and_different_things_at_once(tmp_path: Path) -> None:
    path = tmp_path / "store"
    shared = items(200, 3000) + big(1, 5 << 20)

    def add(number: int) -> None:
        store = open_bare(path)
        own = items(50, 2000, seed=10 + number)
        for step in range(3):
            with store.ingest(shared[0][0] if step == 1 else None) as ingest:
                chunks = [*shared, *own] if step else own
                for at in range(0, len(chunks), 25):
                    ingest.put(chunks[at : at + 25], group=1)
                store.pin(f"process {number}", put_blob(ingest, chunks))
                ingest.commit()
            assert store.read_many(hashes(own)) == [raw for _, raw in own]
            store.collect()
        store.close()

    wait([in_child(lambda number=number: add(number)) for number in range(4)])  # type: ignore[misc]
    store = open_bare(path)
    for number in range(4):
        own = items(50, 2000, seed=10 + number)
        assert store.read_many(hashes(own)) == [raw for _, raw in own]
    assert store.read_many(hashes(shared)) == [raw for _, raw in shared]
    assert store.verify().corrupt == []
    assert store.collect().incomplete == []
    assert store.missing(hashes(shared)) == []
    assert store.rebuild().chunks == store.statistics().total.chunks
    store.close()


def test_what_one_process_commits_another_reads_at_once(tmp_path: Path) -> None:
    chunks = items(30) + big(1, 5 << 20)
    go, opened = os.pipe(), os.pipe()

    def add() -> None:
        other = open_bare(tmp_path / "store")
        os.write(opened[1], b"x")
        os.read(go[0], 1)
        fill(other, chunks)
        other.pin("theirs", blob(chunks[0]))

    child = in_child(add)
    os.read(opened[0], 1)
    store = open_bare(tmp_path / "store")
    assert store.missing(hashes(chunks)) == hashes(chunks)
    os.write(go[1], b"x")
    wait([child])
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    assert [pin.name for pin in store.pins()] == ["theirs"]
    store.close()


def test_two_openings_in_one_process(tmp_path: Path) -> None:
    one, two = open_bare(tmp_path / "store"), open_bare(tmp_path / "store")
    fill(one, items(5))
    one.close()
    one.close()
    assert two.missing(hashes(items(5))) == []
    two.close()
    three = open_bare(tmp_path / "store")
    assert three.missing(hashes(items(5))) == []
    three.close()


def test_store_of_the_parent_is_refused_in_a_forked_child(tmp_path: Path) -> None:
    store = open_bare(tmp_path / "store")
    fill(store, items(3))

    def use() -> None:
        with pytest.raises(StoreError, match="fork"):
            store.has(items(1)[0][0])
        with pytest.raises(StoreError, match="fork"):
            open_bare(tmp_path / "store")
        store.close()
        other = open_bare(tmp_path / "other")
        fill(other, items(3))
        other.close()

    wait([in_child(use)])
    assert store.missing(hashes(items(3))) == []
    store.close()


def test_stores_are_made_by_many_processes_at_once(tmp_path: Path) -> None:
    def make() -> None:
        store = open_bare(tmp_path / "store")
        fill(store, items(2, seed=os.getpid()))
        store.close()

    wait([in_child(make) for _ in range(8)])
    store = open_bare(tmp_path / "store")
    assert store.statistics().total.chunks == 16
    store.close()


def test_map_grows_where_address_space_is_short(tmp_path: Path) -> None:
    """With little address space the map is small, and grows while readers of this and of other processes go on."""

    def add() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 30), used + (6 << 30)))
        environment = open_environment(tmp_path / "database", ["table"])
        table = environment.tables["table"]
        stop = threading.Event()

        def read_on() -> None:
            while not stop.is_set():
                with environment.read() as transaction:
                    transaction.get(b"0", db=table)

        reader = threading.Thread(target=read_on)
        reader.start()
        small = environment._env.info()["map_size"]
        assert small <= 4 << 30
        environment._resize(1 << 20)
        for number in range(64):
            environment.write(
                lambda transaction, key=number: transaction.put(b"%d" % key, bytes(60_000), db=table)  # type: ignore[misc]
            )
        assert environment._env.info()["map_size"] >= 4 << 20
        stop.set()
        reader.join()
        environment.release()

    wait([in_child(add)])
    environment = open_environment(tmp_path / "database", ["table"])
    with environment.read() as transaction:
        assert transaction.stat(environment.tables["table"])["entries"] == 64
    environment.release()
