"""Processes that use a store until somebody kills them, and say what they were promised.

Each line of a victim's report is written after the store has returned, so whatever it says must hold after a SIGKILL.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.ids import Hash
from forge_p2p.store.base import Store
from tests.store.inputs import Item, blob, lay_out, named, noise, open_bare, put_blob, put_tree, text

Report = Callable[[str], None]


def content(seed: int) -> list[Item]:
    """Chunks of one of the shapes that go different ways: a few small, many small, or large ones."""
    shape = random.Random(seed)
    kind = shape.randrange(3)
    if kind == 0:
        return [named(text(seed * 1000 + n, shape.randrange(20_000))) for n in range(shape.randrange(1, 30))]
    if kind == 1:
        return [named(b"%d" % n + noise(seed * 1000 + n, shape.randrange(30_000))) for n in range(350)]
    return [named(noise(seed * 1000 + n, CHUNK_MAX)) for n in range(shape.randrange(2, 12))]


def key_of(seed: int) -> Hash:
    return named(b"key %d" % seed)[0]


def keep_busy(path: Path, seed: int, report: Report) -> None:
    """Adds, fetches, pins, unpins and collects, without end."""
    store = open_bare(path)
    report("open")
    choice = random.Random(seed)
    pinned: list[str] = [pin.name for pin in store.pins()]
    for step in range(1_000_000):
        number = seed * 1000 + step
        action = choice.random()
        if action < 0.4:
            _add(store, number, report)
            pinned.append(f"blob {number}")
        elif action < 0.7:
            _fetch(store, choice.randrange(6), report)
        elif action < 0.85 and len(pinned) > 3:
            name = pinned.pop(choice.randrange(len(pinned)))
            report(f"unpin {name}")
            store.unpin(name)
        else:
            threading.Thread(target=store.collect, daemon=True).start()


def _add(store: Store, number: int, report: Report) -> None:
    chunks = content(number)
    with store.ingest() as ingest:
        for at in range(0, len(chunks), 40):
            ingest.put(chunks[at : at + 40], group=number)
        root = put_tree(ingest, {b"a": chunks[:1]}) if number % 5 == 0 else put_blob(ingest, chunks)
        ingest.commit()
        store.pin(f"{'tree' if number % 5 == 0 else 'blob'} {number}", root)
    if number % 5:
        report(f"pin blob {number}")


def _fetch(store: Store, number: int, report: Report) -> None:
    """A transfer that is resumed under its key by whoever comes next, and by several at once."""
    chunks = content(number)
    with store.ingest(key_of(number)) as ingest:
        missing = set(ingest.missing(chunk for chunk, _ in chunks))
        wanted = [at for at, (chunk, _) in enumerate(chunks) if chunk in missing]
        for first in range(0, len(wanted), 8):
            part = wanted[first : first + 8]
            if number % 2:
                lay_out(ingest, [chunks[at] for at in part], number, chunks)
            else:
                ingest.put([chunks[at] for at in part])
            report(f"got {number} {' '.join(map(str, part))}")
        report(f"commit {number}")
        ingest.commit()
        store.pin(f"fetched {number}", blob(chunks[0]))


def run_and_kill(work: Callable[[Report], None], seconds: float) -> list[str]:
    """Runs `work` in a child, kills it `seconds` after its first line, and returns the lines."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            work(lambda line: _write_line(writing, line))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        report = lines.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        report += lines.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the victim ended by itself: {report[-2000:]!r}"
    return report.decode().splitlines()


def _write_line(fd: int, line: str) -> None:
    os.write(fd, line.encode() + b"\n")
