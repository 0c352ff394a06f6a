"""A command killed at one of its system calls, whichever: nothing half is in sight, and the next run finishes.

Random kills seldom meet the short moments that matter: just before a rename, between two of them, before a sync."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND, environment, forge
from tests.node.harness import Node, contents, getting_json, node, noise, partials, settings, small_tree, strace

GETS = ["renameat,rename,renameat2", "fdatasync,fsync", "mkdirat,mkdir", "utimensat", "symlinkat", "ftruncate"]
ADDS = ["renameat,rename,renameat2", "fdatasync,fsync", "mkdir,mkdirat", "unlink,unlinkat", "pwritev,pwritev2"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = small_tree(tmp_path_factory.mktemp("source") / "tree", files=12)
    (root / "bulk").write_bytes(noise(1, 2_000_000))
    (root / "d0" / "link").symlink_to("f000")
    (root / "empty").mkdir()
    return root


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Iterator[Node]:
    with node(tmp_path_factory.mktemp("sharing") / "home", "share", str(source)) as started:
        yield started


def killed(home: Path, calls: str, number: int, *arguments: str) -> bool:
    """Runs a command that is killed when it makes the `number`-th of `calls`; whether it came to that."""
    faults = f"inject={calls}:signal=KILL:when={number}"
    done = subprocess.run(
        [*strace("-e", f"trace={calls}", "-e", faults), *COMMAND, *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, -9, 137}, done.stderr
    return done.returncode != 0


def sound(home: Path) -> bool:
    told = json.loads(forge(home, "store", "verify", "--json").stdout)
    return not told["corrupt"]


def numbers(calls: list[str], first: int) -> list[object]:
    """Which of each call to die at: one by default, the first twenty in the long runs."""
    short = [pytest.param(call, [first], id=call) for call in calls]
    long = [pytest.param(call, list(range(1, 21)), id=f"{call} all", marks=pytest.mark.soak) for call in calls]
    return [*short, *long]


@pytest.mark.parametrize(("calls", "when"), numbers(GETS, 1))
def test_get(tmp_path: Path, sharing: Node, source: Path, calls: str, when: list[int]) -> None:
    for number in when:
        home, copy = settings(tmp_path / f"home{number}"), tmp_path / f"copy{number}"
        if not killed(home, calls, number, "get", sharing.ticket, str(copy)):
            assert number > when[0], "it never makes this call"
            break
        if copy.exists():
            assert contents(copy) == contents(source)
        getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
        assert contents(copy) == contents(source)
        assert partials(copy) == []
        shutil.rmtree(copy)


@pytest.mark.parametrize(("calls", "when"), numbers(GETS, 1))
def test_repair(tmp_path: Path, sharing: Node, source: Path, calls: str, when: list[int]) -> None:
    """Every file is as it was or as it has to be."""
    for number in when:
        home, copy = settings(tmp_path / f"home{number}"), tmp_path / f"copy{number}"
        shutil.copytree(source, copy, symlinks=True)
        shutil.rmtree(copy / "d1")
        (copy / "d0" / "link").unlink()
        (copy / "d2" / "f002").write_bytes(b"older")
        (copy / "bulk").write_bytes(noise(2, 2_000_000))
        (copy / "own").write_bytes(b"the user's")
        before, after = contents(copy), contents(source)
        if not killed(home, calls, number, "get", sharing.ticket, str(copy)):
            assert number > when[0], "it never makes this call"
            break
        for path, seen in contents(copy).items():
            if b".forge" not in path:
                assert seen.content in (before[path].content if path in before else None, after.get(path, seen).content)
        getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
        assert contents(copy) == after | {b"own": before[b"own"]}
        shutil.rmtree(copy)


@pytest.mark.parametrize(("calls", "when"), numbers(ADDS, 1))
def test_add(tmp_path: Path, source: Path, calls: str, when: list[int]) -> None:
    for number in when:
        home = settings(tmp_path / f"home{number}")
        if not killed(home, calls, number, "add", str(source)):
            assert number > when[0], "it never makes this call"
            break
        assert sound(home)
        for pin in json.loads(forge(home, "store", "stat", "--json").stdout)["pins"]:
            assert forge(home, "get", pin["link"], str(tmp_path / "pinned")).returncode == 0, (
                "a pin holds what it names"
            )
            shutil.rmtree(tmp_path / "pinned")
        link = forge(home, "add", str(source)).stdout.strip()
        assert forge(home, "get", link, str(tmp_path / "copy")).returncode == 0
        assert contents(tmp_path / "copy") == contents(source)
        shutil.rmtree(tmp_path / "copy")
