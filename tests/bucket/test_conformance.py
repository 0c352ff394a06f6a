"""What every bucket has to do, whatever it is made of."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forge_p2p.bucket.base import Bucket
from forge_p2p.bucket.racing import require_one_winner
from forge_p2p.errors import BucketError, NoSuchObject
from tests.bucket import cases, servers

CASES = [cases.in_memory, cases.in_folder, servers.on_moto, servers.on_r2, servers.on_azure]


@pytest.fixture(params=CASES, ids=lambda case: str(case.__name__))
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    with request.param(tmp_path) as config:
        yield cases.bucket(config)


@pytest.mark.parametrize("size", [0, 1, 4095, 1 << 20, (9 << 20) + 1])
def test_what_is_put_is_there(bucket: Bucket, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    assert bucket.put_if_absent("blobs/ab/cdef", data[:size])
    assert bucket.get("blobs/ab/cdef") == data[:size]
    found = bucket.head("blobs/ab/cdef")
    assert found is not None
    assert (found.key, found.size) == ("blobs/ab/cdef", size)


def test_nothing_is_overwritten(bucket: Bucket) -> None:
    assert bucket.put_if_absent("index/0000000000000001", b"first")
    assert not bucket.put_if_absent("index/0000000000000001", b"second")
    assert bucket.get("index/0000000000000001") == b"first"


def test_the_same_again_counts_as_done(bucket: Bucket) -> None:
    assert bucket.put_if_absent("refs/a/1", b"mine")
    assert bucket.put_if_absent("refs/a/1", b"mine")


def test_one_of_many_writers_wins(bucket: Bucket) -> None:
    require_one_winner(bucket)


def test_ranges(bucket: Bucket) -> None:
    data = bytes(range(256)) * 64
    bucket.put_if_absent("blobs/aa/bb", data)
    for start, length in [(0, 1), (0, len(data)), (255, 2), (len(data) - 1, 1), (1000, 5000)]:
        assert bytes(bucket.get_range("blobs/aa/bb", start, length)) == data[start : start + length]


@pytest.mark.parametrize("start", [10, 99, 100, 5000])
def test_a_range_beyond_the_end_is_an_error(bucket: Bucket, start: int) -> None:
    bucket.put_if_absent("blobs/aa/bb", bytes(100))
    with pytest.raises(BucketError, match="blobs/aa/bb"):
        bucket.get_range("blobs/aa/bb", start, 100)


def test_what_is_not_there(bucket: Bucket) -> None:
    assert bucket.head("blobs/aa/bb") is None
    with pytest.raises(NoSuchObject, match="blobs/aa/bb"):
        bucket.get("blobs/aa/bb")
    with pytest.raises(NoSuchObject):
        bucket.get_range("blobs/aa/bb", 0, 1)
    assert list(bucket.list("blobs/")) == []
    bucket.delete(["blobs/aa/bb"])


def test_a_list_is_in_order_and_can_begin_anywhere(bucket: Bucket) -> None:
    keys = [f"index/{number:016d}" for number in (1, 2, 3, 10, 20)]
    for key in reversed(keys):
        bucket.put_if_absent(key, key.encode())
    bucket.put_if_absent("indexes/other", b"")
    assert [meta.key for meta in bucket.list("index/")] == keys
    assert [meta.key for meta in bucket.list("index/", keys[2])] == keys[3:]
    assert list(bucket.list("index/", keys[-1])) == []


def test_a_list_goes_into_folders(bucket: Bucket) -> None:
    keys = ["blobs/aa/1", "blobs/aa/2", "blobs/ab/1", "blobs/b"]
    for key in keys:
        bucket.put_if_absent(key, b"x")
    assert [meta.key for meta in bucket.list("blobs/")] == keys
    assert [meta.key for meta in bucket.list("blobs/", "blobs/aa/1")] == keys[1:]
    assert [meta.key for meta in bucket.list("blobs/", "blobs/aa/2")] == keys[2:]
    assert {meta.size for meta in bucket.list("blobs/")} == {1}


def test_deleting(bucket: Bucket) -> None:
    keys = [f"blobs/aa/{number:04d}" for number in range(12)]
    for key in keys:
        bucket.put_if_absent(key, b"x")
    bucket.delete([*keys[:10], "blobs/zz/none"])
    assert [meta.key for meta in bucket.list("blobs/")] == keys[10:]
    assert bucket.put_if_absent(keys[0], b"again")


def test_many_threads(bucket: Bucket) -> None:
    def write_and_read(number: int) -> bool:
        data = number.to_bytes(4) * 10_000
        bucket.put_if_absent(f"blobs/{number:02d}/x", data)
        return bucket.get(f"blobs/{number:02d}/x") == data

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_and_read, range(32)))
