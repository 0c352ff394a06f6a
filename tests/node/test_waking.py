"""A machine that slept, moved or restarted is back with its peers long before the idle timeout."""

import signal
import time
from pathlib import Path

import pytest

from forge_p2p.node.membership.waking import LOOK, SLEPT
from tests.net.namespaces import cable, hosts
from tests.node.harness import node, noise, settings
from tests.node.members_up import (
    LONG,
    MEMBER,
    connected,
    forget,
    homes,
    id_of,
    remembered,
    said,
    sessions,
    until,
    up_on,
)


def test_who_wakes_asks_whether_its_peers_are_still_there(tmp_path: Path) -> None:
    """While one sleeps the other is killed and comes back without its memory, so that it cannot call."""
    founder, second = homes(tmp_path, "founder", "second")
    with node(second, "up") as asleep:
        with node(founder, "up") as up:
            founder_id = id_of(up)
            until(lambda: founder_id in connected(second), "both are connected")
            asleep.process.send_signal(signal.SIGSTOP)
            up.kill()
        forget(founder)
        with node(founder, "up"):
            time.sleep(SLEPT + LOOK + 2)
            asleep.process.send_signal(signal.SIGCONT)
            until(lambda: id_of(asleep) in connected(founder), "who woke has dialled anew")


def test_who_slept_for_longer_than_the_idle_timeout_dials_at_once(tmp_path: Path) -> None:
    founder, second = homes(tmp_path, "founder", "second", idle_timeout=4)
    with node(founder, "up") as up, node(second, "up") as asleep:
        until(lambda: id_of(up) in connected(second), "both are connected")
        asleep.process.send_signal(signal.SIGSTOP)
        until(lambda: not connected(founder), "who sleeps is given up")
        time.sleep(SLEPT + LOOK)
        asleep.process.send_signal(signal.SIGCONT)
        until(lambda: id_of(asleep) in connected(founder), "who woke has dialled anew")


def test_a_peer_that_restarted_and_calls_makes_its_old_session_end(tmp_path: Path) -> None:
    founder, second = homes(tmp_path, "founder", "second")
    with node(second, "up") as stays:
        with node(founder, "up") as up:
            until(lambda: id_of(stays) in connected(founder), "both are connected")
            until(lambda: id_of(stays) in remembered(founder), "the founder remembers")
            up.kill()
        with node(founder, "up"):
            until(lambda: id_of(stays) in connected(founder), "the founder has called")
            until(lambda: sessions(second) == 1, "its session from before is over")


@pytest.mark.parametrize("moving", [0, 1])
def test_who_gets_another_address_is_found_there(tmp_path: Path, moving: int) -> None:
    """Server and client of a session alike: the member has dialled the founder. Who fetches must notice before it gives
    up for want of a source."""
    names = ("founder", "member")
    founder, member = (settings(tmp_path / name, MEMBER.format("[::]", 4747, LONG)) for name in names)
    (tmp_path / "file").write_bytes(noise(1, 1_000_000))
    said(founder, "network", "create", "team")
    with hosts(2) as machines, up_on(machines[0], founder):
        cable(machines[0], machines[1])
        link = said(founder, "share", "--network", "team", str(tmp_path / "file")).splitlines()[-1]
        said(member, "network", "join", said(founder, "network", "invite").splitlines()[-1])
        with up_on(machines[1], member):
            until(lambda: bool(connected(founder) and connected(member)), "both are connected")
            machines[moving].ip("addr", "del", f"10.77.0.{moving + 1}/24", "dev", "lan0")
            machines[moving].ip("addr", "add", "10.77.0.9/24", "dev", "lan0")
            said(member, "get", link, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
