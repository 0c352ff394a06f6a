"""The commands about names, as people and scripts use them: real processes and nodes on loopback."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forge_p2p.content.linktext import parse_link
from forge_p2p.node.refs.results import FollowedChange
from forge_p2p.node.results import RESULT_TYPES
from tests.cli.harness import COMMAND, environment, forge
from tests.node.harness import contents, settings, small_tree

SETTINGS = """
listen = "127.0.0.1:0"
[net]
lan = false
dial_timeout = 2
stall_timeout = 2
"""


def ok(home: Path, *arguments: str) -> str:
    """The last line of what a command prints that has to go well."""
    result = forge(home, *arguments)
    assert result.returncode == 0, result.stderr
    return (result.stdout.splitlines() or [""])[-1]


def told(home: Path, *arguments: str, operation: str) -> Any:
    """The one JSON line, checked against the operation's result type."""
    line = ok(home, *arguments, "--json")
    msgspec.json.decode(line, type=RESULT_TYPES[operation], strict=True)
    return json.loads(line)


def fails(home: Path, code: int, *arguments: str) -> str:
    result = forge(home, *arguments)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert len(result.stderr.splitlines()) <= 2 or "hint" in result.stderr.splitlines()[-1]
    return result.stderr


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Path]:
    """A folder with three nodes in it: `home`, which is up, `writer` and `reader`, which are commands alone."""
    for name in ("home", "writer", "reader"):
        settings(tmp_path / name, SETTINGS)
    ok(tmp_path / "home", "network", "create", "team")
    ok(tmp_path / "home", "up", "--detach")
    for name in ("writer", "reader"):
        invited = ok(tmp_path / "home", "network", "invite", "--role", name)
        ok(tmp_path / name, "network", "join", invited)
    yield tmp_path
    forge(tmp_path / "home", "down")


def test_from_publish_to_pull_and_back(team: Path) -> None:
    tree, copy = small_tree(team / "tree"), team / "copy"
    home, writer, reader = (team / name for name in ("home", "writer", "reader"))
    made = told(writer, "publish", "nightly", str(tree), operation="publish")
    assert (made["ref"], made["held"], made["unchanged"], made["files"]) == ("team/nightly@1", True, False, 21)
    assert ok(reader, "pull", "nightly", str(copy)) == "team/nightly@1"
    assert contents(copy) == contents(tree)
    (tree / "more").write_bytes(b"more")
    assert ok(writer, "publish", "team/nightly", str(tree)) == "team/nightly@2"
    got = told(reader, "pull", "nightly", str(copy), operation="pull")
    assert (got["seq"], got["files"], got["unchanged"], got["problems"]) == (2, 22, 21, [])
    assert ok(reader, "diff", "nightly@1", "nightly") == "A more"
    (entry,) = told(reader, "diff", made["link"], "nightly", operation="diff")["entries"]
    assert entry == {"change": "added", "path": "more", "old_path": "", "old_size": 0, "size": 4}
    assert told(home, "rollback", "nightly", "1", operation="rollback")["seq"] == 3
    log = told(reader, "log", "nightly", "--network", "team", operation="log")
    assert [each["seq"] for each in log["records"]] == [3, 2, 1]
    assert [each["role"] for each in log["records"]] == ["admin", "writer", "writer"]
    assert ok(reader, "pull", "nightly", str(copy)) == "team/nightly@3"
    assert not (copy / "more").exists()
    lines = forge(reader, "log", "nightly", "-n", "2").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["3", "2"]
    assert all(parse_link(line.split()[-1]) for line in lines)


def test_exit_codes(team: Path) -> None:
    home, writer, reader = (team / name for name in ("home", "writer", "reader"))
    (team / "file").write_bytes(b"content")
    (team / "other").write_bytes(b"other")
    assert "this node is in none" in fails(team / "nobody", 2, "pull", "nightly", str(team / "copy"))
    assert "cannot be a name" in fails(writer, 2, "publish", "a b", str(team / "file"))
    assert "nothing was published as" in fails(reader, 4, "pull", "nightly", str(team / "copy"))
    assert "is a reader in network" in fails(reader, 11, "publish", "nightly", str(team / "file"))
    assert ok(home, "publish", "nightly", str(team / "file")) == "team/nightly@1"
    assert ok(home, "publish", "nightly", str(team / "file")) == "team/nightly@1"
    assert "is at record 1" in fails(writer, 12, "publish", "nightly", str(team / "other"), "--after", "0")
    assert ok(home, "publish", "release", str(team / "file"), "--protect") == "team/release@1"
    assert "is protected" in fails(writer, 13, "publish", "release", str(team / "other"))
    assert "has no record 7" in fails(writer, 4, "rollback", "nightly", "7")
    assert "no number" in fails(reader, 2, "pull", "nightly@x", str(team / "copy"))
    assert "followed by a node that is up" in fails(reader, 10, "follow", "nightly")
    assert "missing argument" in fails(reader, 2, "follow")
    assert ok(reader, "pull", "nightly", str(team / "copy")) == "team/nightly@1"
    ok(home, "down")
    unreachable = fails(writer, 10, "publish", "nightly", str(team / "other"))
    assert "the home of 'nightly'" in unreachable
    assert "forge: hint: is it up" in unreachable
    kept = forge(reader, "pull", "nightly", str(team / "copy"))
    assert (kept.returncode, kept.stdout) == (0, "team/nightly@1\n")
    assert "note: the home of 'nightly'" in kept.stderr


def test_following_is_lines(team: Path) -> None:
    home = team / "home"
    (team / "file").write_bytes(b"one")
    assert ok(home, "publish", "nightly", str(team / "file")) == "team/nightly@1"
    words = ["timeout", "--foreground", "-s", "INT", "60", *COMMAND, "follow", "nightly", "--json"]
    with subprocess.Popen(words, env=environment(home), stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        seen = [msgspec.json.decode(following.stdout.readline(), type=FollowedChange)]
        (team / "file").write_bytes(b"two")
        made = told(home, "publish", "nightly", str(team / "file"), operation="publish")
        seen.append(msgspec.json.decode(following.stdout.readline(), type=FollowedChange))
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=30) == 130
    assert [(each.ref, each.complete) for each in seen] == [("team/nightly@1", True), ("team/nightly@2", True)]
    assert seen[1].link == made["link"]
    assert told(home, "follow", "--list", operation="follow_list")["followed"] == [
        {"network": "team", "name": "nightly", "seq": 2, "link": made["link"], "keep": 4}
    ]
    assert "--keep" in fails(home, 2, "follow", "nightly", "--keep", "0")
    assert "1001 versions" in fails(home, 2, "follow", "nightly", "--detach", "--keep", "1001")
    assert ok(home, "follow", "nightly", "--detach", "--keep", "9") == "team/nightly@2"
    assert ok(home, "follow", "--list").endswith("keeps 9")
    assert ok(home, "follow", "nightly", "--detach") == "team/nightly@2"
    assert ok(home, "follow", "--stop", "nightly").startswith("team/nightly@2")
    assert told(home, "follow", "--list", operation="follow_list")["followed"] == []
