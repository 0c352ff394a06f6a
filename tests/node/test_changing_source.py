"""A source that changes while it is read is a clear message, never a share of something that never was."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import trio

from forge_p2p.errors import SourceChanged
from forge_p2p.node.operations import adding
from forge_p2p.node.operations.adding import add
from forge_p2p.node.operations.sharing import share
from forge_p2p.node.results import Progress
from forge_p2p.node.shares import Shares
from tests.node.conftest import Pair
from tests.node.harness import contents, get, noise, small_tree

MB = 1 << 20


@pytest.fixture(autouse=True)
def every_batch_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """And there is time to make a change before the next one is read, which is done by another thread."""
    tell = adding.Adder._tell

    def told(adder: adding.Adder, done: int) -> None:
        tell(adder, done)
        time.sleep(0.05)

    monkeypatch.setattr(adding, "TELL_INTERVAL", 0.0)
    monkeypatch.setattr(adding.Adder, "_tell", told)


def source_tree(root: Path) -> Path:
    """Enough small files that the change comes before the last of them is read, and one large file at the end."""
    small_tree(root, files=270)
    (root / "z large").write_bytes(noise(3, 12 * MB))
    return root


def rewrite(path: Path) -> None:
    """Other bytes, the same length, and the time set back."""
    status = path.stat()
    path.write_bytes(noise(99, status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path) -> None:
    """The same bytes in another file."""
    other = path.with_name(path.name + ".new")
    shutil.copy2(path, other)
    other.rename(path)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_a_symlink(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "grows": grow,
    "shrinks": lambda path: os.truncate(path, path.stat().st_size // 2),
    "is rewritten behind its times": rewrite,
    "is deleted": Path.unlink,
    "is replaced": replace,
    "becomes a directory": become_a_directory,
    "becomes a symlink": become_a_symlink,
    "becomes a pipe": become_a_pipe,
    "gets another mode": lambda path: path.chmod(0o600),
}


class Once:
    """A report that makes a change when reading has begun."""

    def __init__(self, change: Callable[[], object], when: Callable[[Progress], bool]) -> None:
        self._change = change
        self._when = when
        self.done = False

    def __call__(self, progress: Progress) -> None:
        if not self.done and self._when(progress):
            self.done = True
            self._change()


def reading_begins(progress: Progress) -> bool:
    return progress.phase == "ingest"


def in_the_large_file(progress: Progress) -> bool:
    return progress.phase == "ingest" and progress.done > 6 * MB


@pytest.mark.parametrize("when", [reading_begins, in_the_large_file], ids=["read later", "read already"])
@pytest.mark.parametrize("change", CHANGES)
async def test_small_file(pair: Pair, change: str, when: Callable[[Progress], bool]) -> None:
    source = source_tree(pair.path / "source")
    victim = source / "d3" / "f267"
    await changed(pair, source, victim, Once(lambda: CHANGES[change](victim), when))


@pytest.mark.parametrize("change", CHANGES)
async def test_large_file(pair: Pair, change: str) -> None:
    source = source_tree(pair.path / "source")
    victim = source / "z large"
    await changed(pair, source, victim, Once(lambda: CHANGES[change](victim), in_the_large_file))


async def test_new_file(pair: Pair) -> None:
    source = source_tree(pair.path / "source")
    await changed(
        pair, source, source / "d1", Once(lambda: (source / "d1" / "new").write_bytes(b"new"), reading_begins)
    )


async def test_new_directory(pair: Pair) -> None:
    source = source_tree(pair.path / "source")
    await changed(pair, source, source, Once((source / "new").mkdir, reading_begins))


async def test_directory_goes(pair: Pair) -> None:
    source = source_tree(pair.path / "source")
    await changed(pair, source, source / "d2", Once(lambda: shutil.rmtree(source / "d2"), reading_begins))


async def test_single_file(pair: Pair) -> None:
    source = pair.path / "source"
    source.write_bytes(noise(1, 12 * MB))
    with pytest.raises(SourceChanged, match="changed while it was read; nothing was shared"):
        await share(pair.here, path=str(source), report=Once(lambda: grow(source), in_the_large_file))
    again = await share(pair.here, path=str(source), report=lambda progress: None)
    await get(pair.there, again.ticket, pair.path / "copy")
    assert (pair.path / "copy").read_bytes() == noise(1, 12 * MB) + b"more"


async def changed(pair: Pair, source: Path, victim: Path, report: Once) -> None:
    """A share during which `report` makes its change: refused, naming the place; the next one works."""
    with pytest.raises(SourceChanged) as caught:
        await share(pair.here, path=str(source), report=report)
    assert report.done
    assert str(victim) in caught.value.message
    assert "nothing was shared" in caught.value.message
    assert Shares(pair.here.node.home).all() == []
    assert pair.here.node.store.pins() == []

    again = await share(pair.here, path=str(source), report=lambda progress: None)
    await get(pair.there, again.ticket, pair.path / "copy")
    assert contents(pair.path / "copy") == contents(source)


async def test_file_written_all_the_time(pair: Pair) -> None:
    """A log that grows: no share of it is ever a mixture."""
    source = pair.path / "source"
    source.mkdir()
    log = source / "log"
    log.write_bytes(b"")
    stop = threading.Event()

    def write() -> None:
        with log.open("ab", buffering=0) as file:
            for number in count():
                file.write(b"line %08d\n" % number)
                if stop.wait(0.0005):
                    return

    def add_once() -> str:
        try:
            return add(pair.here.node, path=str(source), report=lambda progress: None).link
        except SourceChanged:
            return ""

    links = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, write)
        try:
            for _ in range(20):
                await trio.sleep(0.005)
                links.append(await trio.to_thread.run_sync(add_once))
        finally:
            stop.set()
    links.append(await trio.to_thread.run_sync(add_once))
    assert links[-1]
    for number, link in enumerate(filter(None, links)):
        copy = pair.path / f"copy{number}"
        await get(pair.here, link, copy)
        lines = contents(copy)[b"log"].content.split(b"\n")
        assert lines == [b"line %08d" % number for number in range(len(lines) - 1)] + [b""]
