"""Every check of the doctor, in the conditions it is for."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import NetConfig, NodeConfig, StoreConfig
from forge_p2p.content.membership import Chain, Role
from forge_p2p.errors import StoreError, UsageError
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Address
from forge_p2p.net.quic import open_endpoint
from forge_p2p.node.control import NoNode
from forge_p2p.node.doctor import disk, doctor, memberships, peers, sockets, system
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, ignore_progress
from forge_p2p.node.membership.networks import Joined, Networks
from forge_p2p.node.operations.adding import add
from forge_p2p.node.results import Finding
from tests.content.networks import DAY, NOW, World, key
from tests.node.harness import CONFIG, node, noise

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a tmpfs with some options, or changes it: `("size=1m")`, then `("remount,ro")`."""
    path = tmp_path / "disk"
    path.mkdir()

    def mounted(options: str) -> Path:
        words = ["mount", "-t", "tmpfs", "-o", options, "none", str(path)]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"this test mounts a tmpfs, which needs root: {done.stderr}"
        return path

    yield mounted
    subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's folder that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture
def local(home: Path) -> Iterator[LocalNode]:
    with LocalNode(Home(home), CONFIG) as local:
        yield local


def says(finding: Finding, verdict: str, text: str) -> Finding:
    """The finding, checked; whatever is not well has a hint."""
    assert finding.verdict == verdict, finding
    assert text in finding.message, finding
    assert bool(finding.hint) == (verdict != "ok"), finding
    return finding


# The folder and the disk


def test_folders(home: Path) -> None:
    says(disk.check_folder(Home(home)), "ok", "does not exist yet")
    assert not home.exists()
    home.mkdir(mode=0o700)
    says(disk.check_folder(Home(home)), "ok", "by this user alone")
    assert os.listdir(home) == []
    home.chmod(0o755)
    assert says(disk.check_folder(Home(home)), "warn", "mode 755").hint == f"chmod 700 {home}"


def test_folders_that_cannot_be(tmp_path: Path, mount: Mount) -> None:
    (tmp_path / "file").touch()
    says(disk.check_folder(Home(tmp_path / "file")), "fail", "Not a directory")
    says(disk.check_folder(Home(tmp_path / "file" / "home")), "fail", f"{tmp_path / 'file'} is not a folder")
    says(disk.check_folder(Home(mount("ro,mode=700"))), "fail", "Read-only file system")
    says(disk.check_folder(Home(tmp_path / "disk" / "home")), "fail", f"{tmp_path / 'disk'} cannot be written")


def test_keys(home: Path) -> None:
    says(disk.check_key(Home(home)), "ok", "none yet")
    Home(home).key()
    says(disk.check_key(Home(home)), "ok", "whole and private")
    Home(home).key_file.chmod(0o644)
    with pytest.raises(StoreError, match="readable by others"):
        disk.check_key(Home(home))


def test_space(mount: Mount) -> None:
    path = mount("size=1m")
    says(disk.check_space(path / "store", StoreConfig(reserve=0)), "warn", "nearly full: 1.0 MB")
    says(disk.check_space(path / "store", StoreConfig(reserve=1 << 20)), "fail", "1.0 MB are kept free")
    (path / "bulk").write_bytes(bytes(1 << 20))
    says(disk.check_space(path / "store", StoreConfig(reserve=0)), "fail", "the disk is full: 0 B free")


def test_space_for_names(mount: Mount) -> None:
    path = mount("size=2g,nr_inodes=100")
    says(disk.check_space(path / "store", StoreConfig(reserve=0)), "fail", "more files")
    mount("remount,nr_inodes=100000")
    says(disk.check_space(path / "store", StoreConfig(reserve=0)), "ok", "GB can be stored")


def test_file_systems(tmp_path: Path, mount: Mount) -> None:
    says(disk.check_file_system(mount("size=1m") / "a" / "store"), "warn", "gone at a restart")
    table = tmp_path / "mountinfo"
    table.write_bytes(
        b"1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        b"2 1 0:9 / /srv/my\\040team rw - nfs4 server:/export rw\n"
        b"3 1 0:9 / /srv/k\xc3\xb6ln rw - fuse.sshfs server: rw\n"
        b"4 1 0:9 / /srv/twice rw - nfs server: rw\n"
        b"5 4 8:2 / /srv/twice rw - xfs /dev/other rw\n"
    )
    assert disk.file_system(Path("/srv/my team/store"), table) == ("nfs4", "/srv/my team")
    assert disk.file_system(Path("/srv/köln"), table) == ("fuse.sshfs", "/srv/köln")
    assert disk.file_system(Path("/srv/twice/store"), table) == ("xfs", "/srv/twice")
    assert disk.file_system(Path("/srv/my team 2/store"), table) == ("ext4", "/")
    assert disk.file_system(Path("/srv"), tmp_path / "missing") == ("unknown", "/")
    says(disk.check_file_system(Path("/srv/my team/store"), table), "fail", "gets damaged")
    says(disk.check_file_system(Path("/srv/twice/store"), table), "ok", "xfs")


def test_stores(local: LocalNode, tmp_path: Path) -> None:
    says(disk.check_store(local), "ok", "none yet")
    assert not local.home.path.exists()
    (tmp_path / "big").write_bytes(noise(1, 3_000_000))
    add(local, path=str(tmp_path / "big"), report=ignore_progress)
    says(disk.check_store(local), "ok", "chunks, 3.")


def test_a_used_up_quota(home: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(noise(1, 3_000_000))
    config = replace(CONFIG, store=StoreConfig(reserve=0, quota=4_000_000, high_watermark=0.5, low_watermark=0.4))
    with LocalNode(Home(home), CONFIG) as roomy:
        add(roomy, path=str(tmp_path / "big"), report=ignore_progress)
    with LocalNode(Home(home), config) as tight:
        says(disk.check_store(tight), "warn", "the quota of 4.0 MB is nearly used up")


def test_damage(local: LocalNode, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(noise(1, 3_000_000))
    add(local, path=str(tmp_path / "big"), report=ignore_progress)
    data = next(local.home.store.glob("files/*/*.data"))
    with data.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"rot")
    local.store.verify()
    says(disk.check_store(local), "warn", "1 chunks are damaged")


def test_what_a_check_raises_is_a_finding(local: LocalNode) -> None:
    local.home.create()
    local.home.store.mkdir()
    (local.home.store / "identity").write_bytes(b"of another program")
    local.home.key_file.write_bytes(b"short")
    local.home.key_file.chmod(0o600)
    result = doctor(local, report=ignore_progress)
    found = {finding.check: finding for finding in result.findings}
    says(found["store"], "fail", str(local.home.store))
    says(found["key"], "fail", "is damaged: 5 bytes")
    assert result.failed >= 2


# The node and the machine


def test_the_node(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "ANSWER_TIMEOUT", 30.0)
    asked = system.ask_node(Home(home))
    assert isinstance(asked, NoNode)
    says(system.check_node(Home(home), asked), "ok", "not up")
    with node(home, "up", lines=2) as running:
        says(system.check_node(Home(home), system.ask_node(Home(home))), "ok", f"process {running.process.pid}")
        running.process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(system, "ANSWER_TIMEOUT", 2.0)
        says(system.check_node(Home(home), system.ask_node(Home(home))), "fail", "has not answered within 2 seconds")
        running.process.send_signal(signal.SIGCONT)


def test_clocks(home: Path) -> None:
    Home(home).key()
    known = system.known_dates(Home(home))
    assert any(str(home) in what for _, what in known)
    says(system.check_clock(time.time(), known), "ok", "UTC")
    says(system.check_clock(0.0, known), "fail", "it says 1970-01-01 00:00 UTC, ")
    says(system.check_clock(4_500_000_000.0, known), "fail", "after")
    says(system.check_clock(1000.0, [(1500.0, "x"), (900.0, "y")]), "ok", "UTC")
    says(
        system.check_clock(1000.0, [(1700.0, "x was written"), (900.0, "y")]), "fail", "12 minutes before x was written"
    )


def test_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        assert "ulimit -n 1024" in says(system.check_open_files(), "warn", "only 300").hint
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        says(system.check_open_files(), "ok", "1024")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Sockets (what firewalls and missing multicast do is in tests/cli/test_doctor.py, on hosts of their own)


def test_ports() -> None:
    says(sockets.check_port("127.0.0.1:0", node_is_up=False), "ok", "any free one")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "ss -ulpn" in says(sockets.check_port(listen, node_is_up=False), "fail", "in use").hint
        says(sockets.check_port(listen, node_is_up=True), "ok", "by the node")
    says(sockets.check_port(listen, node_is_up=False), "ok", "can be listened on")
    says(sockets.check_port("203.0.113.1:0", node_is_up=False), "fail", "Cannot assign requested address")
    with pytest.raises(UsageError):
        sockets.check_port("here", node_is_up=False)


def test_this_machine_has_udp() -> None:
    says(sockets.check_udp(), "ok", "get through to all")
    assert sockets.check_ipv6().verdict in {"ok", "warn"}


def test_buffers() -> None:
    says(sockets.check_buffers(enough=1), "ok", "to receive")
    hint = says(sockets.check_buffers(enough=1 << 40), "warn", "bursts get lost").hint
    assert "sysctl -w net.core.rmem_max=8388608 net.core.wmem_max=8388608" in hint


def test_offload() -> None:
    says(sockets.check_offload(), "ok", "in bulk")
    says(sockets.check_offload(offload=False), "warn", "one by one")


# Networks and peers


def join(local: LocalNode, world: World, chain: Chain) -> Networks:
    networks = Networks(local.home, local.node_id)
    networks.add(Joined(world.id, world.name, chain, (), networks.folder(world.id), world.secret, b""))
    return networks


def test_memberships(local: LocalNode) -> None:
    says(memberships.check_memberships(local, NOW), "ok", "in none")
    assert not local.home.path.exists()
    local.home.create()
    local.home.key_file.write_bytes(key(7).private_bytes_raw())
    local.home.key_file.chmod(0o600)
    world = World()
    member = world.member(7, world.token(6, Role.WRITER, expires=NOW + 30 * DAY))
    networks = join(local, world, member.chain)
    says(memberships.check_memberships(local, NOW), "ok", "a member of studio")
    says(memberships.check_memberships(local, NOW + 28 * DAY), "warn", "studio ends in 2 days")
    says(memberships.check_memberships(local, NOW + 31 * DAY), "fail", "studio: the certificate expired")
    assert "clock" in says(memberships.check_memberships(local, NOW - 9 * DAY), "fail", "not valid before").hint
    networks.keep_revocations(world.id, [world.revoke(member.chain[0].subject)])
    says(memberships.check_memberships(local, NOW), "fail", "was revoked")


def test_a_membership_of_another_node(local: LocalNode) -> None:
    local.home.key()
    world = World()
    join(local, world, world.founder().chain)
    says(memberships.check_memberships(local, NOW), "fail", "studio: ")


def with_peers(home: Path, *names: str) -> LocalNode:
    return LocalNode(Home(home), NodeConfig(net=NetConfig(peers=names)))


async def test_static_peers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TIMEOUT", 1.5)
    server, other = (Ed25519PrivateKey.generate() for _ in range(2))

    def named(private: Ed25519PrivateKey, port: int) -> str:
        return f"{NodeId(private.public_key().public_bytes_raw()).hex()}@127.0.0.1:{port}"

    async def check(*names: str) -> Finding:
        return await trio.to_thread.run_sync(lambda: peers.check_peers(with_peers(home, *names)))

    says(await check(), "ok", "none are configured")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        deaf = silent.getsockname()[1]
        async with open_endpoint(Address("127.0.0.1", 0), server, NetConfig()) as endpoint:
            here = endpoint.address.port
            says(await check(named(server, here)), "ok", "all 1 answer")
            said = says(await check(named(server, here), named(other, deaf)), "warn", "1 of 2 answer")
            assert f"127.0.0.1 port {deaf}: no answer within" in said.message
            assert "firewall" in said.hint
            says(await check(named(other, here)), "fail", "is not the node that was asked for")
        says(await check(named(server, here)), "warn", "nothing listens there")


def test_asking_peers_makes_no_identity(home: Path) -> None:
    with pytest.raises(UsageError):
        peers.check_peers(with_peers(home, "nobody"))
    says(peers.check_peers(with_peers(home, f"{'11' * 32}@127.0.0.1:9")), "warn", "0 of 1 answer")
    assert not home.exists()
