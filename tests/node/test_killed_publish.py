"""A publication killed at one of its system calls: what the name says then is there, and the next one goes on."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.harness import forge
from tests.node.harness import contents, settings, small_tree
from tests.node.test_kill_points import killed

SETTINGS = """
listen = "127.0.0.1:0"
[store]
reserve = 0
grace = 0
[net]
lan = false
"""
CALLS = ["fdatasync,fsync", "pwrite64", "rename,renameat,renameat2", "unlink,unlinkat"]


def moments() -> list[object]:
    """When to die: a few by default, the first forty in the long runs."""
    few = [pytest.param(call, [2, 5, 9], id=call) for call in CALLS]
    many = [pytest.param(call, list(range(1, 41)), id=f"{call} all", marks=pytest.mark.soak) for call in CALLS]
    return [*few, *many]


@pytest.mark.parametrize(("calls", "when"), moments())
def test_publish(tmp_path: Path, calls: str, when: list[int]) -> None:
    home, tree = settings(tmp_path / "home", SETTINGS), small_tree(tmp_path / "tree")
    assert forge(home, "network", "create", "team").returncode == 0
    published = {}
    for number in when:
        (tree / "version").write_text(str(number))
        published[number] = contents(tree)
        dead = killed(home, calls, number, "publish", "nightly", str(tree))
        log = forge(home, "log", "nightly", "--json")
        if log.returncode == 4:
            assert dead, "nothing was published"
            continue
        collected = forge(home, "store", "gc", "--json")
        assert collected.returncode == 0, collected.stderr
        for record in json.loads(log.stdout)["records"][:1]:
            copy = tmp_path / f"copy{number}"
            got = forge(home, "get", record["link"], str(copy))
            assert got.returncode == 0, f"record {record['seq']} names what is gone: {got.stderr}"
            assert contents(copy) in published.values()
            shutil.rmtree(copy)
    final = forge(home, "publish", "nightly", str(tree))
    assert final.returncode == 0, final.stderr
    assert forge(home, "pull", "nightly", str(tmp_path / "copy")).returncode == 0
    assert contents(tmp_path / "copy") == contents(tree)
