"""Syncs in processes of their own: killed at system calls and at random moments; nodes that go away and come back."""

import json
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND, environment, forge
from tests.node.harness import Node, contents, node, noise, settings, small_tree
from tests.node.test_kill_points import killed

CALLS = [
    "renameat,rename,renameat2",
    "unlink,unlinkat,rmdir",
    "mkdir,mkdirat",
    "utimensat",
    "fdatasync,fsync",
    "pwrite64",
]


def synced(home: Path, directory: Path) -> dict[str, object]:
    done = forge(home, "sync", "folder", str(directory), "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def versions(root: Path) -> set[bytes]:
    return {path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}


def edit_both(here: Path, there: Path) -> set[bytes]:
    """Edits of every sort, on both sides; what must not be lost of them."""
    (here / "d0" / "f000").write_bytes(b"edited here")
    (there / "d0" / "f000").write_bytes(b"edited there")
    (here / "d1" / "f001").write_bytes(b"newer")
    (here / "large").write_bytes(noise(9, 900_000))
    (there / "own").write_bytes(b"made there")
    (here / "fresh" / "deep").mkdir(parents=True)
    (here / "fresh" / "deep" / "file").write_bytes(b"made here")
    shutil.rmtree(here / "d3")
    (there / "d2" / "f002").unlink()
    return {b"edited here", b"edited there", b"newer", noise(9, 900_000), b"made there", b"made here"}


@pytest.mark.parametrize(
    ("calls", "when"),
    [
        *(pytest.param(call, [3], id=call) for call in CALLS),
        *(pytest.param(call, list(range(1, 30)), id=f"{call} all", marks=pytest.mark.soak) for call in CALLS),
    ],
)
def test_killed_at_a_call(tmp_path: Path, calls: str, when: list[int]) -> None:
    home = settings(tmp_path / "home")
    assert forge(home, "network", "create", "team").returncode == 0
    for number in when:
        here, there = tmp_path / f"here{number}", tmp_path / f"there{number}"
        small_tree(here, files=8)
        forge(home, "sync", f"folder{number}", str(here))
        forge(home, "sync", f"folder{number}", str(there))
        wanted = edit_both(here, there)
        assert forge(home, "sync", f"folder{number}", str(here)).returncode == 0
        if not killed(home, calls, number, "sync", f"folder{number}", str(there)):
            assert number > when[0], "it never makes this call"
        for directory in (there, here, there):
            done = forge(home, "sync", f"folder{number}", str(directory))
            assert done.returncode == 0, done.stderr
        assert contents(here) == contents(there)
        assert wanted <= versions(here)
        assert not (here / "d3").exists()
        assert not (here / "d2" / "f002").exists()
        assert len([path for path in (here / "d0").iterdir() if "conflict" in path.name]) == 1


def test_killed_while_watching(tmp_path: Path) -> None:
    """Both sides watch; one is killed and started again, over and over, while both edit."""
    home, chance = settings(tmp_path / "home"), random.Random(5)
    assert forge(home, "network", "create", "team").returncode == 0
    here, there = small_tree(tmp_path / "here", files=8), tmp_path / "there"
    synced(home, here)
    synced(home, there)
    with node(home, "up"):
        wanted = set()
        for number in range(4):
            watching = subprocess.Popen(
                [*COMMAND, "sync", "folder", str(there), "--watch"], env=environment(home), stdout=subprocess.DEVNULL
            )
            for directory in (here, there):
                content = f"{directory.name} {number}".encode()
                (directory / f"file {number} {directory.name}").write_bytes(content)
                wanted.add(content)
            synced(home, here)
            time.sleep(chance.random())
            watching.kill()
            watching.wait()
        for directory in (there, here):
            synced_when_free(home, directory)
    assert contents(here) == contents(there)
    assert wanted <= versions(here)


def synced_when_free(home: Path, directory: Path) -> None:
    """A node notices in a moment that the command is gone whose watch it ran."""
    for _ in range(50):
        done = forge(home, "sync", "folder", str(directory))
        if done.returncode == 0:
            return
        assert "is running" in done.stderr, done.stderr
        time.sleep(0.1)
    raise AssertionError("the node goes on with a command that is gone")


def joined(tmp_path: Path, name: str, founder: Path) -> Path:
    token = forge(founder, "network", "invite", "--role", "writer").stdout.split()[-1]
    home = settings(tmp_path / name)
    assert forge(home, "network", "join", token).returncode == 0
    return home


def test_apart_and_together_again(tmp_path: Path) -> None:
    """The home of the name is down: what is edited meanwhile waits, and nothing of it is lost."""
    one = settings(tmp_path / "one")
    assert forge(one, "network", "create", "team").returncode == 0
    here, there = small_tree(tmp_path / "here", files=8), tmp_path / "there"
    with node(one, "up") as up:
        other = joined(tmp_path, "other", one)
        listen = address(up)
        synced(one, here)
        synced(other, there)
        assert contents(here) == contents(there)
    wanted = edit_both(here, there)
    apart = forge(other, "sync", "folder", str(there))
    assert apart.returncode == 10, apart.stderr
    assert "cannot be reached" in apart.stderr or "knows which node" in apart.stderr
    synced(one, here)
    with node(one, "up", "--listen", listen):
        synced(other, there)
        synced(one, here)
        synced(other, there)
    assert contents(here) == contents(there)
    assert wanted <= versions(here)


@pytest.mark.parametrize(
    ("calls", "when"),
    [
        *(pytest.param(call, [2], id=call) for call in ("mkdir,mkdirat", "utimensat")),
        *(pytest.param(call, list(range(1, 20)), id=f"{call} all", marks=pytest.mark.soak) for call in CALLS),
    ],
)
def test_killed_while_new_directories_arrive(tmp_path: Path, calls: str, when: list[int]) -> None:
    """They are written out of sight while they are fetched: each is there whole or not at all, and what is there
    already is not touched before all has come. The next sync goes on with what is there."""
    one = settings(tmp_path / "one")
    assert forge(one, "network", "create", "team").returncode == 0
    here = small_tree(tmp_path / "here", files=2)
    with node(one, "up"):
        for number in when:
            other, there = joined(tmp_path, f"other{number}", one), tmp_path / f"there{number}"
            synced(one, here)
            synced(other, there)
            before, new = files(there), b"new%d/" % number
            shutil.rmtree(small_tree(here / f"new{number}", files=24) / "d0")
            (here / f"new{number}" / "empty").touch()
            (here / "d0" / "f000").write_bytes(noise(number, 9000))
            after = files(here)
            synced(one, here)
            if not killed(other, calls, number, "sync", "folder", str(there)):
                assert number > when[0], "it never makes this call"
            found = files(there)
            assert all(content in {before.get(path), after.get(path)} for path, content in found.items())
            assert before.keys() <= found.keys()
            come = {path for path in found if path.startswith(new)}
            assert come in (set(), {path for path in after if path.startswith(new)})
            assert not synced(other, there)["problems"]
            assert contents(there) == contents(here)


def files(root: Path) -> dict[bytes, bytes]:
    """Everything that others see."""
    return {
        path: seen.content for path, seen in contents(root).items() if b".forge-" not in path and seen.kind == "file"
    }


def address(up: Node) -> str:
    """Where a node listens, as `--listen` takes it."""
    text = json.loads(forge(up.home, "status", "--json").stdout)
    return str(text["addresses"][0]).replace(" port ", ":")
