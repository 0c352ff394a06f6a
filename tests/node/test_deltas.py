"""Two real nodes, two versions: only what changed travels."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.node.conftest import Pair
from tests.node.harness import get, running, share


def text(seed: int, lines: int) -> list[bytes]:
    chance = random.Random(seed)
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(4000)]
    return [b" ".join(chance.choices(words, k=10)) + b"\n" for _ in range(lines)]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    path = tmp_path / "files"
    path.mkdir()
    async with running(tmp_path / "here") as here, running(tmp_path / "there", serve=False) as there:
        yield Pair(here, there, path)


async def test_one_line(pair: Pair) -> None:
    lines = text(1, 150_000)
    file = pair.path / "file"
    file.write_bytes(b"".join(lines))
    first = await share(pair.here, file)
    await get(pair.there, first.ticket, pair.path / "copy")
    lines.insert(70_000, b"one more line\n")
    file.write_bytes(b"".join(lines))
    second = await share(pair.here, file)
    result = await get(pair.there, second.ticket, pair.path / "copy")
    assert (pair.path / "copy").read_bytes() == file.read_bytes()
    assert result.wire_sent + result.wire_received < 30000
