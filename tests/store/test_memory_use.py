"""However much goes through a store, its process stays small."""

import os
import resource
from pathlib import Path

import pytest

from forge_p2p.config import MIB
from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.link import CHUNK_MAX
from tests.store.inputs import named, noise, open_bare

GROWTH = 64 * MIB


@pytest.mark.parametrize("total", [192 * MIB, pytest.param(2048 * MIB, marks=pytest.mark.soak)])
@pytest.mark.parametrize("keyed", [False, True])
def test_storing_and_reading_a_lot_takes_little_memory(tmp_path: Path, keyed: bool, total: int) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, b"%d" % store_and_read(tmp_path / "store", keyed, total))
        finally:
            os._exit(0)
    os.close(writing)
    grown = int(os.read(reading, 100))
    os.waitpid(child, 0)
    assert grown < GROWTH


def store_and_read(path: Path, keyed: bool, total: int) -> int:
    """Bytes that the process's memory has grown by at its peak."""
    body = noise(1, CHUNK_MAX - 8)
    store = open_bare(path)
    # The peak of a forked child begins as what it shares with its parent.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    hashes = []
    with store.ingest(named(b"key")[0] if keyed else None) as ingest:
        for first in range(0, total // CHUNK_MAX, 4):
            batch = [named(number.to_bytes(8) + body) for number in range(first, first + 4)]
            hashes += [chunk for chunk, _ in batch]
            if keyed:
                ingest.put_encoded([EncodedChunk(chunk, Codec.RAW, CHUNK_MAX, raw) for chunk, raw in batch], 1)
            else:
                ingest.put(batch, 1)
        ingest.commit()
    for first in range(0, len(hashes), 4):
        assert None not in store.read_encoded(hashes[first : first + 4])
    with (path.parent / "target").open("w+b") as target:
        store.copy_into(target.fileno(), [(chunk, at * CHUNK_MAX) for at, chunk in enumerate(hashes)])
    store.verify()
    store.close()
    return peak() - before


def peak() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
