"""Reads from the hot tier, in process."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from forge_p2p.config import StoreConfig
from forge_p2p.content.link import hash_bytes
from forge_p2p.store.factory import open_store
from simulations.versus.bench import Bar, Bench, Case, Contender, Medians, Trial, Turn

Key = TypeVar("Key")

READS = 200_000
CHUNKS = 1000
SIZE = 16 * 1024

FORGE = "hot tier"


@contextmanager
def hot_reads(bench: Bench) -> Iterator[Trial]:
    """Chunks of 16 KiB by hash, in an order that jumps about; beside it a plain `dict` and files in the page cache."""
    plain = {hash_bytes(content): content for content in (os.urandom(SIZE) for _ in range(CHUNKS))}
    names = list(plain)
    order = [names[(number * 7919) % CHUNKS] for number in range(READS)]
    folder = bench.fresh("files")
    folder.mkdir()
    paths = {name: folder / name.hex() for name in names}
    for name, path in paths.items():
        path.write_bytes(plain[name])
    store = open_store(bench.fresh("hot"), StoreConfig())
    try:
        with store.ingest() as ingest:
            ingest.put(list(plain.items()))
            ingest.commit()
        contenders = [
            Contender(FORGE, lambda: _timed(store.read, order)),
            Contender("dict", lambda: _timed(plain.__getitem__, order)),
            Contender("open, read, close", lambda: _timed(_read_file, [os.fspath(paths[name]) for name in order])),
        ]
        yield Trial(contenders, bars=[Bar("under 5 µs a read", _fast_enough)])
    finally:
        store.close()


def _timed(read: Callable[[Key], bytes], order: Sequence[Key]) -> Turn:
    start = time.perf_counter()
    for key in order:
        read(key)
    seconds = time.perf_counter() - start
    return Turn(seconds, {"µs a read": seconds / len(order) * 1e6})


def _read_file(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _fast_enough(medians: Medians) -> bool:
    return medians.figures[FORGE]["µs a read"] < 5


CASES = [Case("hot_reads", "Reads of 16 KiB from the hot tier, in process", hot_reads, 5)]
