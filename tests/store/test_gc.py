"""Collecting beside writers of this and of other processes, and what crashes leave behind."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.store.disk import DiskStore
from forge_p2p.store.leases import oldest_epoch
from tests.store.inputs import big, blob, fill, hashes, items, open_bare, put_blob
from tests.store.victims import run_and_kill


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    made = open_bare(tmp_path / "store")
    yield made
    made.close()


def data_files(store: DiskStore) -> list[Path]:
    return sorted(store.context.layout.files.glob("*/*.data"))


class Elsewhere:
    """Another process with the store open, which does what it is told."""

    def __init__(self, path: Path) -> None:
        self._requests, self._answers = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                self._serve(path)
            finally:
                os._exit(1)

    def _serve(self, path: Path) -> None:
        store = open_bare(path)
        session = store.ingest()
        ingest = session.__enter__()
        while True:
            command = os.read(self._requests[0], 1)
            if command == b"m":
                answer = len(ingest.missing(hashes(items(20))))
            elif command == b"p":
                root = put_blob(ingest, items(20))
                ingest.commit()
                store.pin("elsewhere", root)
                answer = 0
            elif command == b"e":
                session.__exit__(None, None, None)
                answer = 0
            else:
                os._exit(0)
            os.write(self._answers[1], bytes([answer]))

    def do(self, command: bytes) -> int:
        os.write(self._requests[1], command)
        return os.read(self._answers[0], 1)[0]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    fill_store = open_bare(tmp_path / "store")
    fill(fill_store, items(20))
    fill_store.close()
    process = Elsewhere(tmp_path / "store")
    yield process
    process.kill()


def test_writer_of_another_process_holds_what_it_has_seen(elsewhere: Elsewhere, tmp_path: Path) -> None:
    assert elsewhere.do(b"m") == 0
    store = open_bare(tmp_path / "store")
    collected = store.collect()
    assert (collected.chunks, collected.condemned) == (0, 20)
    assert store.missing(hashes(items(20))) == []
    assert elsewhere.do(b"p") == 0
    assert elsewhere.do(b"e") == 0
    store.collect()
    assert store.missing(hashes(items(20))) == []
    assert store.statistics().condemned == 0
    store.close()


def test_condemned_goes_when_the_last_older_writer_has_ended(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.do(b"m")
    store = open_bare(tmp_path / "store")
    assert store.collect().condemned == 20
    elsewhere.do(b"e")
    assert store.collect().chunks == 20
    assert len(store.missing(hashes(items(20)))) == 20
    store.close()


def test_killed_writer_holds_nothing(tmp_path: Path) -> None:
    store = open_bare(tmp_path / "store")
    fill(store, items(20))
    store.close()
    process = Elsewhere(tmp_path / "store")
    process.do(b"m")
    process.kill()
    store = open_bare(tmp_path / "store")
    assert store.collect().chunks == 20
    assert oldest_epoch(store.context.layout.leases) is None
    assert list(store.context.layout.leases.iterdir()) == []
    store.close()


def test_later_writer_takes_condemned_chunks_back(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.do(b"m")
    store = open_bare(tmp_path / "store")
    assert store.collect().condemned == 20
    with store.ingest() as ingest:
        assert ingest.missing(hashes(items(10))) == []
        assert store.statistics().condemned == 10
        elsewhere.do(b"e")
        assert store.collect().chunks == 10
        store.pin("kept", put_blob(ingest, items(10)))
        ingest.commit()
    store.collect()
    assert store.missing(hashes(items(20))) == hashes(items(20)[10:])
    store.close()


def test_pin_set_after_condemning_saves(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.do(b"m")
    store = open_bare(tmp_path / "store")
    assert store.collect().condemned == 20
    store.pin("late", blob(items(20)[7]))
    elsewhere.do(b"e")
    assert store.collect().chunks == 19
    assert store.read(items(20)[7][0]) == items(20)[7][1]
    store.close()


def test_sparse_data_files_are_rewritten_and_empty_ones_go(store: DiskStore) -> None:
    chunks = big(1, 40 * CHUNK_MAX)
    with store.ingest() as ingest:
        kept = put_blob(ingest, chunks[:8])
        ingest.put(chunks[8:])
        ingest.commit()
        store.pin("kept", kept)
    before = store.statistics()
    (old,) = data_files(store)
    assert store.collect().freed_bytes >= 31 * CHUNK_MAX
    (new,) = data_files(store)
    assert new != old
    assert new.stat().st_size < 9 * CHUNK_MAX
    assert store.read_many(hashes(chunks[:8])) == [raw for _, raw in chunks[:8]]
    assert store.statistics().disk_bytes < before.disk_bytes - 31 * CHUNK_MAX
    rebuilt = store.rebuild()
    assert (rebuilt.chunks, rebuilt.lost) == (store.statistics().total.chunks, [])
    store.unpin("kept")
    store.collect()
    assert data_files(store) == []
    assert store.statistics().files == 0


def test_reader_survives_a_file_being_rewritten(store: DiskStore) -> None:
    """The place a reader found is gone when it comes there: it looks again."""
    chunks = big(1, 40 * CHUNK_MAX)
    with store.ingest() as ingest:
        store.pin("kept", put_blob(ingest, chunks[:8]))
        ingest.put(chunks[8:])
        ingest.commit()
    stop = threading.Event()
    failures: list[object] = []

    def read_on() -> None:
        while not stop.is_set():
            if store.read_many(hashes(chunks[:8])) != [raw for _, raw in chunks[:8]]:
                failures.append("wrong bytes")

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(3):
        store.context.files.close()
        store.collect()
        fill(store, big(2, 40 * CHUNK_MAX) + chunks[:1])
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert store.statistics().quarantined == 0


def test_collector_beside_writers_in_threads(store: DiskStore) -> None:
    """Every writer adds, pins and checks what it shares with the others while a collector runs all the time."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for step in range(12):
                chunks = items(30, 900, seed=step) + items(5, 900, seed=100 + number)
                with store.ingest() as ingest:
                    root = put_blob(ingest, chunks)
                    ingest.commit()
                    store.pin(f"writer {number}", root)
                assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
                store.unpin(f"writer {number}")
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    def collect() -> None:
        while not stop.is_set():
            try:
                store.collect()
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
                return

    collector = threading.Thread(target=collect)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in (collector, *writers):
        thread.start()
    for writer in writers:
        writer.join()
    stop.set()
    collector.join()
    assert failures == []
    store.collect()
    assert store.statistics().total.chunks == 0


def test_data_file_that_a_crash_left_unindexed_is_adopted(store: DiskStore, tmp_path: Path) -> None:
    chunks = big(1, 5 * CHUNK_MAX)
    fill(store, chunks)
    (data,) = data_files(store)
    for path in (data, data.with_suffix(".slices")):
        shutil.copy(path, tmp_path / path.name)
    store.collect()
    assert data_files(store) == []
    for name in (data.name, data.with_suffix(".slices").name):
        shutil.copy(tmp_path / name, data.parent / name)
    collected = store.collect(grace=3600)
    assert collected.chunks == 0
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]


@pytest.mark.parametrize("moved", ["journal", "both"])
def test_commit_cut_off_between_its_renames_is_resumed(store: DiskStore, moved: str) -> None:
    chunks = big(1, 20 * CHUNK_MAX)
    key = chunks[0][0]
    with store.ingest(key) as ingest:
        ingest.put(chunks)
    (data,) = store.context.layout.staging.glob("*/*.data")
    folder = store.context.layout.files / data.name[:2]
    folder.mkdir()
    data.with_suffix(".slices").rename(folder / data.with_suffix(".slices").name)
    if moved == "both":
        data.rename(folder / data.name)
    with store.ingest(key) as ingest:
        assert ingest.missing(hashes(chunks)) == []
        ingest.commit()
        store.pin("all", put_blob(ingest, chunks))
        ingest.commit()
    store.collect()
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]


def test_dead_staging_folders_go(store: DiskStore) -> None:
    def work(report: object) -> None:
        other = open_bare(store.context.layout.root)
        sessions = [other.ingest(), other.ingest(key)]
        for session in sessions:
            session.__enter__().put(big(1, 20 * CHUNK_MAX))
        report("ready")  # type: ignore[operator]
        time.sleep(60)

    key = hashes(items(1))[0]
    store.close()
    run_and_kill(work, 0)
    again = open_bare(store.context.layout.root)
    staging = again.context.layout.staging
    assert len(list(staging.iterdir())) == 2
    again.collect()
    assert [path.name for path in staging.iterdir()] == [f"{key.hex()}-0"]
    long_ago = time.time() - 30 * 86400
    for path in [*staging.glob("*/*"), *staging.iterdir()]:
        os.utime(path, (long_ago, long_ago))
    again.collect()
    assert list(staging.iterdir()) == []
    again.close()


def test_two_collectors_do_not_meet(store: DiskStore) -> None:
    fill(store, items(5))
    from forge_p2p.store.locks import lock_file

    lock = lock_file(store.context.layout.gc_lock)
    assert lock is not None
    assert store.collect().chunks == 0
    lock.release()
    assert store.collect().chunks == 5
