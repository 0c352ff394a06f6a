"""Buckets into which somebody else writes what Forge never would."""

import os
import time
from pathlib import Path

import pytest

from forge_p2p.bucket.base import OBJECT_MAX
from forge_p2p.bucket.folder import FolderBucket
from forge_p2p.errors import BucketError
from tests.bucket import cases

SECRET = b"not in the bucket"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the bucket, with a file of the same name as an object in it."""
    folder = tmp_path / "outside"
    (folder / "ab").mkdir(parents=True)
    (folder / "ab" / "cdef").write_bytes(SECRET)
    (folder / "old").write_bytes(SECRET)
    os.utime(folder / "old", (0, 0))
    return folder


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    made = FolderBucket(tmp_path / "bucket")
    assert made.put_if_absent("index/0000000000000001", b"first")
    return FolderBucket(tmp_path / "bucket")


def test_a_folder_that_leads_outside(bucket: FolderBucket, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "bucket" / "blobs").symlink_to(outside)
    with pytest.raises(BucketError):
        bucket.get("blobs/ab/cdef")
    with pytest.raises(BucketError):
        bucket.get_range("blobs/ab/cdef", 0, 3)
    with pytest.raises(BucketError):
        bucket.put_if_absent("blobs/ab/new", b"data")
    with pytest.raises(BucketError):
        bucket.delete(["blobs/ab/cdef"])
    assert bucket.head("blobs/ab/cdef") is None
    assert list(bucket.list("blobs/")) == []
    assert (outside / "ab" / "cdef").read_bytes() == SECRET
    assert not (outside / "ab" / "new").exists()


def test_a_file_that_leads_outside(bucket: FolderBucket, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "bucket" / "blobs" / "ab").mkdir(parents=True)
    (tmp_path / "bucket" / "blobs" / "ab" / "cdef").symlink_to(outside / "ab" / "cdef")
    with pytest.raises(BucketError):
        bucket.get("blobs/ab/cdef")
    assert bucket.head("blobs/ab/cdef") is None
    assert list(bucket.list("blobs/")) == []
    assert not bucket.put_if_absent("blobs/ab/cdef", b"data")
    bucket.delete(["blobs/ab/cdef"])
    assert (outside / "ab" / "cdef").read_bytes() == SECRET


def test_keys_that_lead_outside(bucket: FolderBucket, outside: Path) -> None:
    key = "blobs/../../outside/ab/cdef"
    with pytest.raises(BucketError):
        bucket.get(key)
    with pytest.raises(BucketError):
        bucket.put_if_absent("../outside/ab/new", b"data")
    bucket.delete([key, "../outside/ab/cdef", f"/{outside}/ab/cdef"])
    assert sorted(each.name for each in (outside / "ab").iterdir()) == ["cdef"]


def test_what_is_tidied_is_in_the_bucket(bucket: FolderBucket, outside: Path, tmp_path: Path) -> None:
    """What kills left is removed when it is old; a symlink must not make that somebody's own files."""
    unfinished = tmp_path / "bucket" / "unfinished"
    unfinished.rmdir()
    unfinished.symlink_to(outside)
    with pytest.raises(BucketError):
        bucket.put_if_absent("index/0000000000000002", b"second")
    assert (outside / "old").read_bytes() == SECRET


def test_what_kills_left_goes(bucket: FolderBucket, tmp_path: Path) -> None:
    unfinished = tmp_path / "bucket" / "unfinished"
    (unfinished / "1.old").write_bytes(b"half")
    os.utime(unfinished / "1.old", (0, time.time() - 2 * 86400))
    (unfinished / "2.young").write_bytes(b"half")
    (unfinished / "a folder").mkdir()
    os.utime(unfinished / "a folder", (0, 0))
    assert bucket.put_if_absent("index/0000000000000002", b"second")
    assert sorted(each.name for each in unfinished.iterdir()) == ["2.young", "a folder"]


def test_folders_without_end(bucket: FolderBucket, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "bucket" / "index" / name).symlink_to(tmp_path / "bucket" / "index")
    assert [each.key for each in bucket.list("index/")] == ["index/0000000000000001"]


def test_pipes_and_devices(bucket: FolderBucket, tmp_path: Path) -> None:
    """None of them is waited for, or read for ever."""
    os.mkfifo(tmp_path / "bucket" / "index" / "0000000000000002")
    (tmp_path / "bucket" / "index" / "0000000000000003").symlink_to("/dev/zero")
    for number in (2, 3):
        with pytest.raises(BucketError):
            bucket.get(f"index/000000000000000{number}")
    assert len(list(bucket.list("index/"))) == 1


def test_objects_that_are_too_large(tmp_path: Path) -> None:
    with cases.in_folder(tmp_path) as config:
        bucket = cases.bucket(config)
        assert bucket.put_if_absent("index/0000000000000001", b"first")
        os.truncate(tmp_path / "nas" / "forge" / "index" / "0000000000000001", 1 << 40)
        with pytest.raises(BucketError, match="has more than"):
            bucket.get("index/0000000000000001")
    with cases.in_memory(tmp_path) as config:
        bucket = cases.bucket(config)
        assert bucket.put_if_absent("index/0000000000000001", bytes(OBJECT_MAX + 1))
        with pytest.raises(BucketError, match="has more than"):
            bucket.get("index/0000000000000001")
