"""`forge doctor` as people run it, on this machine and on hosts whose network is at fault."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from forge_p2p.node.results import DoctorResult, Finding
from tests.cli.harness import COMMAND, environment, forge
from tests.net.namespaces import Host, cable, hosts
from tests.node.harness import node, settings

CHECKS = ["folder", "key", "space", "file system", "store", "node", "clock", "open files", "port", "UDP", "IPv6"]
CHECKS += ["UDP buffers", "UDP offload", "LAN", "networks", "static peers"]


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    with hosts(2) as (near, far):
        yield near, far


def examine(host: Host, home: Path) -> dict[str, Finding]:
    """What it finds on another host."""
    words = host.inside(*COMMAND, "doctor", "--json")
    done = subprocess.run(words, env=environment(home), capture_output=True, text=True, timeout=60, check=False)
    result = msgspec.json.decode(done.stdout, type=DoctorResult)
    assert done.returncode == (1 if result.failed else 0)
    return {finding.check: finding for finding in result.findings}


def test_a_new_user(home: Path) -> None:
    done = forge(home, "doctor", "--json")
    result = msgspec.json.decode(done.stdout, type=DoctorResult)
    assert [finding.check for finding in result.findings] == CHECKS
    assert done.returncode == 0, result
    assert done.stderr == ""
    verdicts = [finding.verdict for finding in result.findings]
    assert (result.failed, result.warned) == (verdicts.count("fail"), verdicts.count("warn"))
    assert not home.exists(), "the doctor makes nothing"


def test_in_words(home: Path) -> None:
    home.mkdir(mode=0o755)
    done = forge(home, "doctor")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == f"WARN  folder        {home} is open to others (mode 755)"
    assert lines[1] == f"                    chmod 700 {home}"
    assert lines[2] == "ok    key           none yet; it is made when it is first needed"


def test_what_fails_is_the_exit_code(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "node.key").write_bytes(b"short")
    (home / "node.key").chmod(0o600)
    done = forge(home, "doctor", "--quiet")
    assert done.returncode == 1
    assert "FAIL  key           " in done.stdout
    assert done.stderr == ""


def test_beside_a_node(home: Path) -> None:
    with node(home, "up", lines=2) as running:
        done = forge(home, "doctor")
        assert done.returncode == 0, done.stdout
        assert f"process {running.process.pid}" in done.stdout
        assert "in use by the node" in done.stdout


def test_a_host_on_a_cable(pair: tuple[Host, Host], home: Path) -> None:
    cable(*pair)
    pair[0].wait_for_ipv6()
    found = examine(pair[0], home)
    assert found["LAN"].verdict == "ok"
    assert "lan0 (IPv4), lan0 (IPv6)" in found["LAN"].message
    assert found["UDP"].verdict == "ok"
    assert found["IPv6"].message == "link-local IPv6 and IPv4"


def test_a_firewall_against_udp(pair: tuple[Host, Host], home: Path) -> None:
    cable(*pair)
    pair[0].drop("-p", "udp")
    found = examine(pair[0], home)
    assert found["UDP"].verdict == "fail"
    assert "10.77.0.1 (nothing arrives)" in found["UDP"].message
    assert "firewall" in found["UDP"].hint
    assert found["LAN"].verdict == "warn"


def test_a_firewall_against_mdns(pair: tuple[Host, Host], home: Path) -> None:
    cable(*pair)
    pair[0].drop("-p", "udp", "--dport", "5353")
    found = examine(pair[0], home)
    assert found["UDP"].verdict == "ok"
    assert found["LAN"].verdict == "warn"
    assert "lan0 (IPv4): a firewall or the network drops it" in found["LAN"].message
    assert "net.peers" in found["LAN"].hint


def test_a_host_without_multicast(pair: tuple[Host, Host], home: Path) -> None:
    cable(*pair)
    pair[0].ip("link", "set", "lan0", "multicast", "off")
    assert "no interface carries multicast" in examine(pair[0], home)["LAN"].message
    settings(home, "[net]\nlan = false\n")
    found = examine(pair[0], home)["LAN"]
    assert (found.verdict, found.message) == ("ok", "discovery is turned off (net.lan)")


def test_a_node_tells_what_its_lan_lacks(pair: tuple[Host, Host], home: Path) -> None:
    cable(*pair)
    pair[0].ip("link", "set", "lan0", "multicast", "off")
    assert forge(home, "network", "create", "studio").returncode == 0
    words = pair[0].inside(*COMMAND, "up", "--listen", "0.0.0.0:0")
    with subprocess.Popen(words, env=environment(home), stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout is not None
            up.stdout.readline()
            for _ in range(100):
                found = examine(pair[0], home)["node"]
                if found.verdict == "warn":
                    break
            assert "on the LAN: this node is on loopback alone" in found.message
        finally:
            up.terminate()


def test_a_host_without_a_network(pair: tuple[Host, Host], home: Path) -> None:
    found = examine(pair[0], home)
    assert found["UDP"].verdict == "ok"
    assert (found["IPv6"].verdict, found["IPv6"].message) == ("warn", "loopback alone")
    pair[0].ip("link", "set", "lo", "down")
    found = examine(pair[0], home)
    assert found["UDP"].verdict == "fail"
    assert "no network address at all" in found["UDP"].message
    assert found["UDP offload"].verdict != "ok"


def test_peers_behind_a_firewall(pair: tuple[Host, Host], home: Path) -> None:
    cable(*pair)
    name = f"{'11' * 32}@10.77.0.2:4433"
    settings(home, f'[net]\npeers = ["{name}"]\n')
    found = examine(pair[0], home)["static peers"]
    assert found.verdict == "warn"
    assert "10.77.0.2 port 4433: no answer" in found.message
    pair[1].drop("-p", "udp")
    assert "no answer within 3 seconds" in examine(pair[0], home)["static peers"].message
