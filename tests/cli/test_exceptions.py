"""Files among thousands that cannot be replaced: the rest completes, they are named, and the exit code says so."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.harness import forge
from tests.node.harness import contents, settings

FILES = 2000


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Something is mounted on it: nothing can take its place (EBUSY)."""
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@contextmanager
def not_permitted(path: Path) -> Iterator[None]:
    """Immutable: even root may not replace it (EPERM)."""
    subprocess.run(["chattr", "+i", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


def fill(top: Path, version: str) -> None:
    for number in range(FILES):
        path = top / f"d{number % 10}" / f"f{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{version} {number}")


@pytest.mark.parametrize("command", ["pull", "sync"])
def test_two_files_that_cannot_be_replaced(tmp_path: Path, command: str) -> None:
    home, tree, copy = settings(tmp_path / "home"), tmp_path / "tree", tmp_path / "copy"
    assert forge(home, "network", "create", "team").returncode == 0
    fill(tree, "first")
    assert forge(home, "publish", "nightly", str(tree)).returncode == 0
    assert forge(home, command, "nightly", str(copy)).returncode == 0
    fill(tree, "second")
    assert forge(home, "publish", "nightly", str(tree)).returncode == 0
    with in_use(copy / "d1" / "f0001"), not_permitted(copy / "d2" / "f0002"):
        done = forge(home, command, "nightly", str(copy), "--json")
        assert done.returncode == 1, done.stderr
        told = json.loads(done.stdout)["problems"]
        assert sorted(problem.split(":")[0] for problem in told) == ["d1/f0001", "d2/f0002"]
        expected, found = contents(tree), contents(copy)
        assert {path for path in expected if found.get(path) != expected[path]} == {b"d1/f0001", b"d2/f0002"}
        shown = forge(home, command, "nightly", str(copy))
        assert shown.returncode == 1
        assert "d1/f0001" in shown.stderr
        assert "d2/f0002" in shown.stderr
    assert forge(home, command, "nightly", str(copy)).returncode == 0
    assert contents(copy) == contents(tree)
