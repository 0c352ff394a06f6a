"""A restore may be killed at any moment: nobody sees a half of it, and the next one completes it.

Children are forked and kill themselves, with SIGKILL, just before the n-th thing they do to the file system, for every
n; or are killed from outside at random moments, which catches them in the middle of a write.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.workspace.names import is_leftover
from forge_p2p.workspace.statcache import StatCache
from tests.workspace.support import Snapshot, directory, restore, rows, rows_of, small_snapshot, symlink

LARGE = random.Random(1).randbytes(CHUNK_MAX + 1) + bytes(CHUNK_MAX) + b"end"

EVENTS = {
    "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "os.chmod", "os.symlink", "os.truncate",
    "shutil.rmtree", "os.scandir",
}  # fmt: skip

OLD = small_snapshot(
    {b"a/changes": b"old", b"a/stays": b"stays", b"large": b"small before", b"is a file": b"old"},
    symlink(b"link", b"old"),
    directory(b"a/closed", 0o500),
    mtime_ns=10**18 + 3,
)
NEW = small_snapshot(
    {b"a/changes": b"new", b"a/stays": b"stays", b"a/closed/file": b"", b"large": LARGE, b"b/c/d": b"d", b"b/e": b"e"},
    symlink(b"link", b"new"),
    directory(b"a/closed", 0o500),
    directory(b"b/c", 0o550),
    directory(b"is a file"),
)


def in_child(work: Callable[[], object]) -> int:
    """Starts `work` in a child process and returns its id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def ended_normally(child: int) -> bool:
    """Waits; raises unless it ended well or was killed."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status == 0


def kill_before(number: int) -> None:
    """This process dies just before its `number`-th operation on the file system."""
    left = number

    def count(event: str, arguments: object) -> None:
        nonlocal left
        if event in EVENTS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def prepare(top: Path, before: Snapshot | None) -> StatCache:
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    cache = StatCache(top / "cache")
    if before is not None:
        restore(before, top / "destination", cache)
    return cache


@pytest.mark.parametrize("before", [None, OLD], ids=["fresh", "over another"])
def test_killed_before_every_operation(tmp_path: Path, before: Snapshot | None) -> None:
    top = tmp_path / "top"
    destination = top / "destination"

    def work() -> None:
        kill_before(number)
        restore(NEW, destination, cache, replace=True, delete=True)

    for number in range(1, 10_000):
        cache = prepare(top, before)
        child = in_child(work)
        if ended_normally(child):
            break
        check_no_half(destination, before)
        outcome = restore(NEW, destination, StatCache(top / "cache"), replace=True, delete=True)
        assert outcome.failures == [], number
        assert rows(destination) == rows_of(NEW), number
        assert sorted(os.listdir(top)) == ["cache", "destination"], number
    assert number > 30
    assert rows(destination) == rows_of(NEW)


def check_no_half(destination: Path, before: Snapshot | None) -> None:
    """Every name that can be seen has all of its old content or all of its new one."""
    if before is None:
        assert not destination.exists() or rows(destination) == rows_of(NEW)
        return
    allowed = {(row[0], row[4]) for row in [*rows_of(before), *rows_of(NEW)]}
    for path, _, _, _, content in rows(destination):
        if not any(is_leftover(name) for name in path.split(b"/")):
            assert (path, content) in allowed


def test_killed_at_random_moments(tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("FORGE_TEST_SEED", "1"))
    files = {b"%d/%d" % (number % 7, number): chance.randbytes(chance.randrange(40_000)) for number in range(150)}
    files |= {b"large %d" % number: chance.randbytes(2_000_000) for number in range(3)}
    made = small_snapshot(files, symlink(b"link", b"target"))
    cache = StatCache(tmp_path / "cache")
    started = time.monotonic()
    restore(made, tmp_path / "measured", cache)
    longest = time.monotonic() - started
    kills = 0
    destination = tmp_path / "destination"
    while kills < 10:
        child = in_child(lambda: restore(made, destination, cache, replace=True))
        time.sleep(chance.random() * longest)
        os.kill(child, signal.SIGKILL)
        if ended_normally(child):
            shutil.rmtree(destination)
        else:
            kills += 1
            assert not destination.exists() or rows(destination) == rows_of(made)
            if destination.exists():
                shutil.rmtree(destination)
    restore(made, destination, cache)
    assert rows(destination) == rows_of(made)
    assert sorted(os.listdir(tmp_path)) == ["cache", "destination", "measured"]
