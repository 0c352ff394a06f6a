"""Members that were connected find each other again when all that their token names are gone."""

from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from tests.cli.harness import forge
from tests.node.harness import node
from tests.node.members_up import connected, homes, id_of, remembered, said, until


def test_members_killed_at_once_find_each_other_without_their_founder(tmp_path: Path) -> None:
    founder, first, second = homes(tmp_path, "founder", "first", "second")
    with ExitStack() as stack:
        nodes = [stack.enter_context(node(home, "up")) for home in (founder, first, second)]
        ids = [id_of(each) for each in nodes]
        until(lambda: ids[2] in connected(first) and ids[1] in connected(second), "the two members are connected")
        until(lambda: ids[2] in remembered(first) and ids[1] in remembered(second), "and remember each other")
        for each in nodes:
            each.kill()
    for table in tmp_path.glob("*/networks/*/table"):
        table.unlink()  # what a node has seen in five minutes may be there; these had no time for it
    with node(first, "up"), node(second, "up"):
        until(lambda: ids[2] in connected(first) and ids[1] in connected(second), "the two have found each other")


def test_a_command_that_ends_at_once_remembers_who_made_the_network(tmp_path: Path) -> None:
    """So that a later one can say which node it is that keeps a name and cannot be reached."""
    founder, first = homes(tmp_path, "founder", "first")
    with (first / "config.toml").open("a") as config:
        config.write("dial_timeout = 1\n")
    with node(founder, "up"):
        said(first, "log")
    failed = forge(first, "pull", "nothing", str(tmp_path / "copy"))
    assert failed.returncode == 10
    assert "the home of 'nothing'" in failed.stderr


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, msgspec.msgpack.encode([(b"short", [], 1.0)])])
def test_a_damaged_memory_costs_nothing_but_itself(tmp_path: Path, content: bytes) -> None:
    founder, first = homes(tmp_path, "founder", "first")
    [network] = first.glob("networks/*/network")
    (network.parent / "contacts").write_bytes(content)
    with node(founder, "up") as up, node(first, "up"):
        until(lambda: id_of(up) in connected(first), "the member has joined all the same")
        until(lambda: id_of(up) in remembered(first), "and its memory is whole again")
