"""Fixtures of the node's tests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from forge_p2p.node.network import Network
from tests.node.harness import running
from tests.node.scene import Scene, scene


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes: one that shares, one that gets. `path` is an empty directory."""

    here: Network
    there: Network
    path: Path


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Two nodes in this process, the first one serving on loopback."""
    path = tmp_path / "files"
    path.mkdir()
    async with running(tmp_path / "here") as here, running(tmp_path / "there", serve=False) as there:
        yield Pair(here, there, path)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    """A node in two networks that shares something in one of them."""
    async with scene(tmp_path / "home") as found:
        yield found
