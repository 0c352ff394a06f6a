"""`forge status` about networks: as the disk has them, and as the running node sees them."""

import json
import time
from pathlib import Path
from typing import Any

from forge_p2p.cli.commands.status import network_cells
from forge_p2p.node.network_results import NetworkStatus
from tests.cli.harness import forge
from tests.net.namespaces import hosts
from tests.node.harness import node, settings
from tests.node.members_up import connected, homes, id_of, said, until, up_on


def told(home: Path, **more: str) -> dict[str, Any]:
    """What the command says as JSON."""
    done = forge(home, "--json", "status", **more)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def networks(home: Path, **more: str) -> list[dict[str, Any]]:
    """What it says of each network."""
    found: list[dict[str, Any]] = told(home, **more)["networks"]
    return found


def test_a_node_without_networks(tmp_path: Path) -> None:
    assert networks(settings(tmp_path / "home")) == []
    assert not any(line == "networks" for line in said(tmp_path / "home", "status").splitlines())


def test_networks_of_a_node_that_is_not_up(tmp_path: Path) -> None:
    home = settings(tmp_path / "home")
    said(home, "network", "create", "team")
    [team] = networks(home)
    assert (team["name"], team["role"], team["expires"], team["problem"]) == ("team", "admin", 0, "")
    assert [team[key] for key in ("known", "connected", "dht_nodes", "announced", "behind")] == [0] * 5
    assert team["id"].startswith(said(home, "network", "list").split()[1])


def test_a_membership_that_ran_out_is_said(tmp_path: Path) -> None:
    home, other = settings(tmp_path / "home"), settings(tmp_path / "other")
    said(home, "network", "create", "team")
    said(other, "network", "join", said(home, "network", "invite", "--expires", "2s").splitlines()[-1])
    assert networks(other)[0]["expires"] > time.time() - 60
    until(lambda: "expired" in networks(other)[0]["problem"], "the membership has run out")
    assert "expired" in said(other, "status")


def test_a_record_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    home = settings(tmp_path / "home")
    said(home, "network", "create", "team")
    [record] = home.glob("networks/*/network")
    record.write_bytes(b"no record")
    assert "cannot read" in networks(home)[0]["problem"]
    assert "cannot read" in said(home, "status")


def test_a_network_by_token(tmp_path: Path) -> None:
    home = settings(tmp_path / "home")
    said(home, "network", "create", "team")
    token = said(home, "network", "invite", "--role", "seed", "--expires", "1h").splitlines()[-1]
    [team] = networks(settings(tmp_path / "agent"), FORGE_TOKEN=token)
    assert (team["name"], team["role"], team["problem"]) == ("team", "seed", "")


def test_what_the_running_node_knows(tmp_path: Path) -> None:
    founder, member = homes(tmp_path, "founder", "member")
    with node(founder, "up") as up, node(member, "up"):
        until(lambda: id_of(up) in connected(member), "both are connected")
        (tmp_path / "file").write_bytes(b"content")
        said(founder, "share", "--network", "team", str(tmp_path / "file"))
        until(lambda: networks(founder)[0]["announced"] == 1, "the share is announced")
        [team] = networks(founder)
        assert (team["known"], team["connected"], team["dht_nodes"], team["behind"]) == (1, 1, 1, 0)
        shown = said(founder, "status")
        assert "team  admin  never expires  1 of 1 member connected  DHT: 1 node, 1 root announced" in shown


def test_how_far_announcements_are_behind_is_said() -> None:
    status = NetworkStatus("team", "ab", "reader", 0.0, known=7, connected=3, dht_nodes=5, announced=2000, behind=1500)
    assert network_cells(status)[3:] == [
        "3 of 7 members connected",
        "DHT: 5 nodes, 2,000 roots announced, 1,500 of them overdue",
    ]


def test_why_nobody_is_found_on_the_lan(tmp_path: Path) -> None:
    home = settings(tmp_path / "home", 'listen = "[::]:0"')
    said(home, "network", "create", "team")
    with hosts(1) as [alone], up_on(alone, home):
        until(lambda: "loopback alone" in told(home)["lan_problem"], "it says that there is no LAN")
        assert "loopback alone" in said(home, "status")
