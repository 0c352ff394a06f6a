"""Every system call of short sequences of operations, killed there or failing there.

A child process runs a sequence under `strace`, which kills it at its n-th call or lets that call fail. What the child
was promised before has to hold afterwards; and after an error the same operation, done again, succeeds.
"""

import itertools
import mmap
import os
import random
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import DiskError
from forge_p2p.store.disk import DiskStore
from tests.store.inputs import Item, big, hashes, items, lay_out, open_bare, put_blob

CALLS = (
    "openat,write,pwrite64,writev,pwritev,fsync,fdatasync,ftruncate,truncate,fallocate,rename,unlink,rmdir,mkdir,"
    "pread64,preadv,flock,getdents64"
)
"""What touches the disk. Without `close`: whatever it says, the file is closed."""

ADDING = ("small", "large", "lay", "fetch")

PROMISED = 64
"""Bytes of shared memory in which the child counts what it has been promised; then the text of what went wrong."""


class Run:
    """A child that runs some operations one after the other on the store at `path`."""

    def __init__(self, path: Path, operations: tuple[str, ...]) -> None:
        self.operations = operations
        self._path = path
        self._shared = mmap.mmap(-1, 4096)

    def under(self, *injection: str) -> int:
        """Runs it under `strace` and returns the child's status; -1 if it ended well."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if not child:
            self._live()
        os.waitpid(child, os.WUNTRACED)
        command = ["strace", "-f", "-q", "-p", str(child), "-o", str(self._path.parent / "trace"), *injection]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
            self._wait_attached(child, tracer)
            os.kill(child, signal.SIGCONT)
            _, status = os.waitpid(child, 0)
        return -1 if status == 0 else status

    def _wait_attached(self, child: int, tracer: "subprocess.Popen[bytes]") -> None:
        while tracer.poll() is None:
            for line in Path(f"/proc/{child}/status").read_text("ascii").splitlines():
                if line.startswith("TracerPid:") and int(line.split()[1]):
                    return
        os.kill(child, signal.SIGKILL)
        assert tracer.stderr is not None
        raise AssertionError(f"strace did not attach: {tracer.stderr.read()!r}")

    def _live(self) -> None:
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
            store = again(partial(open_bare, self._path))
            for number, operation in enumerate(self.operations):
                store = again(partial(perform, store, operation, number)) or store
                self._shared[number] = 1
            again(store.close)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001
            text = f"{type(error).__name__}: {error}".encode()[:3000]
            self._shared[PROMISED : PROMISED + len(text)] = text
            os._exit(3)

    def done(self) -> list[str]:
        """The operations that had returned."""
        return [operation for number, operation in enumerate(self.operations) if self._shared[number]]

    def trouble(self) -> str:
        return self._shared[PROMISED:].rstrip(b"\0").decode()


T = TypeVar("T")


def again(work: Callable[[], T]) -> T:
    """A disk error, which must be said as one, and then the same again."""
    try:
        return work()
    except DiskError as error:
        if not error.message.startswith("/"):
            raise AssertionError(f"names no path: {error}") from error
        return work()


def content(operation: str, number: int) -> list[Item]:
    if operation == "small":
        return items(5, 3000, seed=number)
    if operation in {"large", "lay"}:
        chunks = big(100 + number, 6 * CHUNK_MAX)
        return chunks if operation == "large" else [*chunks[:4], chunks[1], *chunks[4:]]
    return items(40, 3000, seed=50 + number) + big(number, 2 * CHUNK_MAX)


def perform(store: DiskStore, operation: str, number: int) -> DiskStore | None:
    """One operation; all of them can be done again after they have failed."""
    if operation == "drop":
        for pin in store.pins()[:1]:
            store.unpin(pin.name)
        store.collect()
    elif operation == "rebuild":
        store.rebuild()
    elif operation == "reopen":
        store.close()
        return open_bare(store.context.layout.root)
    else:
        chunks = content(operation, number)
        with store.ingest(chunks[0][0] if operation in {"fetch", "lay"} else None) as ingest:
            if operation == "lay":
                lay_out(ingest, list(dict.fromkeys(chunks)), 1, chunks)
            else:
                ingest.put(chunks[:20], group=1)
                ingest.put(chunks[20:], group=1)
            root = put_blob(ingest, chunks)
            ingest.commit()
            store.pin(f"{operation} {number}", root)
    return None


def check(path: Path, run: Run) -> None:
    store = open_bare(path)
    try:
        pins = {pin.name for pin in store.pins()}
        added = [(op, n) for n, op in enumerate(run.operations) if op in ADDING]
        done = run.done()
        if "drop" not in run.operations:
            assert pins >= {f"{op} {n}" for op, n in added if n < len(done)}
        for operation, number in added:
            if f"{operation} {number}" in pins:
                chunks = content(operation, number)
                assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
                check_linked(store, chunks)
        assert store.verify().corrupt == []
        assert store.collect().incomplete == []
        held = store.statistics().total.chunks
        assert store.rebuild().chunks == held
        for pin in pins:
            store.unpin(pin)
        store.collect()
        assert store.statistics().total.chunks == 0
        for number, operation in enumerate(run.operations):
            store = perform(store, operation, number) or store
            if operation in ADDING:
                check_linked(store, content(operation, number))
    finally:
        store.close()


def check_linked(store: DiskStore, chunks: list[Item]) -> None:
    """What the store gives out as a file, if it does, is the content."""
    path = store.context.layout.root.parent / "linked"
    if store.link_into(os.fsencode(path), [(chunk, len(raw)) for chunk, raw in chunks]):
        assert path.read_bytes() == b"".join(raw for _, raw in chunks)
        path.unlink()


def sequences(longest: int) -> Iterator[tuple[str, ...]]:
    for length in range(1, longest + 1):
        yield from itertools.product((*ADDING, "drop", "reopen", "rebuild"), repeat=length)


def calls_of(path: Path, operations: tuple[str, ...]) -> list[tuple[str, int]]:
    """Every call of a run without faults: its name, and how many of that name there were up to it. (`strace` counts
    the calls of each name, and of each thread, apart.)"""
    run = Run(path, operations)
    assert run.under("-e", f"trace={CALLS}") == -1, run.trouble()
    lines = (path.parent / "trace").read_text("utf-8", "replace").splitlines()
    seen: Counter[str] = Counter()
    calls = []
    for line in lines:
        thread, call = line.split(maxsplit=1)
        name, bracket, _ = call.partition("(")
        if bracket and name.isidentifier() and thread == lines[0].split()[0]:
            seen[name] += 1
            calls.append((name, seen[name]))
    return calls


SHORT = (("small", "large", "drop"), ("fetch", "drop", "rebuild"), ("large", "reopen"), ("lay", "drop", "lay"))


@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
@pytest.mark.parametrize("operations", SHORT, ids=",".join)
def test_calls_here_and_there(tmp_path: Path, operations: tuple[str, ...], fault: str) -> None:
    calls = calls_of(tmp_path / "sound" / "store", operations)
    moments = random.Random(f"{operations}{fault}").sample(range(len(calls)), 6)
    break_at(tmp_path, operations, fault, calls, moments)


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
@pytest.mark.parametrize("operations", list(sequences(3)), ids=",".join)
def test_every_call_of_every_short_sequence(tmp_path: Path, operations: tuple[str, ...], fault: str) -> None:
    calls = calls_of(tmp_path / "sound" / "store", operations)
    break_at(tmp_path, operations, fault, calls, range(len(calls)))


def break_at(
    folder: Path, operations: tuple[str, ...], fault: str, calls: list[tuple[str, int]], moments: Iterable[int]
) -> None:
    for moment in moments:
        path = folder / str(moment) / "store"
        run = Run(path, operations)
        name, count = calls[moment]
        status = run.under("-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={count}")
        try:
            assert status in {-1, signal.SIGKILL}, run.trouble()
            check(path, run)
        except BaseException as error:
            error.add_note(f"{fault} at call {moment} of {len(calls)} of {operations}: {name} {count}")
            raise
        shutil.rmtree(path.parent)
