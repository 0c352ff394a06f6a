"""A directory's part of the mount table: what is mounted elsewhere is no reason to look at it again."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge_p2p.workspace.mounts import MountWatch
from tests.workspace.support import mounted


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / "above" / "with space" / "köln \\ #1\rtwo"
    (path / "in it").mkdir(parents=True)
    (tmp_path / "above" / "with").mkdir()
    return path


@pytest.fixture
def watch(top: Path) -> Iterator[MountWatch]:
    made = MountWatch(os.fsencode(top))
    assert not made.has_changed()
    yield made
    made.close()


@pytest.mark.parametrize("point", [".", "in it", "..", "../.."])
def test_a_mount_at_it_above_it_or_below_it(top: Path, watch: MountWatch, point: str) -> None:
    for _ in range(2):
        with mounted((top / point).resolve()):
            assert watch.has_changed()
            assert not watch.has_changed()
        assert watch.has_changed()
    assert not watch.has_changed()


def test_a_mount_elsewhere(tmp_path: Path, watch: MountWatch) -> None:
    with mounted(tmp_path / "above" / "with"):
        assert not watch.has_changed()
    assert not watch.has_changed()
