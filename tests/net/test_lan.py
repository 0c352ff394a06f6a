"""LAN discovery with real packets, between hosts that are network namespaces joined by a cable."""

import ipaddress
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import Queue
from typing import Any

import pytest
import trio

from forge_p2p.net.advert import MAX_TAGS
from forge_p2p.net.lan import QUEUED, Gone, Sighting, lan_discovery
from forge_p2p.net.neighbours import MAX_PEERS
from tests.net.lan_peer import id_of
from tests.net.namespaces import Host, cable, hosts

PATIENCE = 30
Said = dict[str, Any]


class Peer:
    """A running `lan_peer`, and everything it says."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: Queue[Said | None] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def until(self, fits: Callable[[Said], bool]) -> Said:
        """The next thing it says that fits; what it says before that is passed over."""
        while True:
            said = self._lines.get(timeout=PATIENCE)
            assert said is not None, "the process has ended"
            if fits(said):
                return said

    def sees(self, seed: int, fits: Callable[[Said], bool] = lambda said: True) -> Said:
        return self.until(lambda said: said.get("sighting") == id_of(seed).hex() and fits(said))

    def ask(self, line: str, answer: str) -> Any:
        self.say(line)
        return self.until(lambda said: answer in said)[answer]

    def wait_for_problem(self, text: str) -> None:
        """Asks until the problem has `text` in it; the empty text stands for none."""
        for _ in range(PATIENCE * 10):
            problem = self.ask("problem", "problem")
            if text in problem and bool(text) == bool(problem):
                return
            threading.Event().wait(0.1)
        raise AssertionError(f"the problem stays {problem!r}")

    def quit(self) -> None:
        self.say("quit")
        assert self.process.wait(PATIENCE) == 0


@contextmanager
def peer(host: Host, seed: int, *options: str) -> Iterator[Peer]:
    process = host.start("tests.net.lan_peer", str(seed), *options)
    try:
        running = Peer(process)
        running.until(lambda said: "up" in said)
        yield running
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    with hosts(2) as (near, far):
        yield near, far


def tags(*seeds: int) -> list[str]:
    return [bytes([seed] * 16).hex() for seed in seeds]


def places(said: Said) -> list[str]:
    return [host for host, _ in said["addresses"]]


def dial(peer: Peer, said: Said, host: str) -> bool:
    port = next(port for where, port in said["addresses"] if where == host)
    return bool(peer.ask(f"dial {said['sighting']} {host} {port}", "dialled"))


def test_two_find_each_other_and_part(pair: tuple[Host, Host]) -> None:
    cable(*pair)
    with peer(pair[0], 1) as one, peer(pair[1], 2) as two:
        for here, there, address in ((one, 2, "10.77.0.2"), (two, 1, "10.77.0.1")):
            said = here.sees(there, lambda said: len(said["addresses"]) == 2)
            assert said["tags"] == tags(there)
            assert places(said)[0] == address, "IPv4 first"
            link_local = ipaddress.IPv6Address(places(said)[1])
            assert link_local.is_link_local
            assert link_local.scope_id, "an address that can be dialled says by which link"
            assert dial(here, said, address)
            assert dial(here, said, str(link_local))
        one.say("tags " + " ".join(tags(1, 7)))
        two.sees(1, lambda said: said["tags"] == tags(1, 7))
        one.say("tags")
        two.sees(1, lambda said: said["tags"] == [])
        one.quit()
        two.until(lambda said: said.get("gone") == id_of(1).hex())
        with peer(pair[0], 1):
            two.sees(1)


def test_ipv6_alone(pair: tuple[Host, Host]) -> None:
    cable(*pair, addresses=())
    with peer(pair[0], 1) as one, peer(pair[1], 2) as two:
        said = one.sees(2)
        assert dial(one, said, *places(said))
        two.sees(1)


def test_ipv4_alone(pair: tuple[Host, Host]) -> None:
    cable(*pair)
    with peer(pair[0], 1, "--host", "0.0.0.0") as one, peer(pair[1], 2, "--host", "10.77.0.2") as two:
        said = one.sees(2)
        assert places(said) == ["10.77.0.2"]
        assert dial(one, said, "10.77.0.2")
        assert places(two.sees(1)) == ["10.77.0.1"]


def test_interfaces_come_and_go(pair: tuple[Host, Host]) -> None:
    """A machine without a network gets one, then another address, then no cable, then a cable again."""
    near, far = pair
    with peer(near, 1, "--scan", "0.5") as one, peer(far, 2, "--scan", "0.5") as two:
        two.wait_for_problem("on loopback alone")
        cable(near, far)
        one.sees(2, lambda said: "10.77.0.2" in places(said))
        two.sees(1, lambda said: "10.77.0.1" in places(said))
        two.wait_for_problem("")
        near.ip("addr", "del", "10.77.0.1/24", "dev", "lan0")
        near.ip("addr", "add", "10.77.0.3/24", "dev", "lan0")
        said = two.sees(1, lambda said: "10.77.0.3" in places(said) and "10.77.0.1" not in places(said))
        assert dial(two, said, "10.77.0.3")
        near.ip("link", "del", "lan0")
        two.wait_for_problem("on loopback alone")
        cable(near, far, ("10.78.0.1/24", "10.78.0.2/24"))
        two.sees(1, lambda said: "10.78.0.1" in places(said))


def test_a_second_link(pair: tuple[Host, Host]) -> None:
    near, far = pair
    cable(near, far)
    with peer(near, 1) as one, peer(far, 2) as two:
        one.sees(2)
        two.sees(1)
        near.ip("link", "add", "lan1", "type", "veth", "peer", "name", "lan1", "netns", far.namespace)
        near.ip("addr", "add", "10.79.0.1/24", "dev", "lan1")
        far.ip("addr", "add", "10.79.0.2/24", "dev", "lan1")
        near.ip("link", "set", "lan1", "up")
        far.ip("link", "set", "lan1", "up")
        assert places(one.sees(2, lambda said: "10.79.0.2" in places(said)))[:2] == ["10.77.0.2", "10.79.0.2"]
        two.sees(1, lambda said: "10.79.0.1" in places(said))


def test_no_multicast_is_a_problem_and_no_failure(pair: tuple[Host, Host]) -> None:
    near, far = pair
    cable(near, far)
    near.ip("link", "set", "lan0", "multicast", "off")
    near.ip("link", "set", "lo", "down")
    with peer(near, 1) as one:
        one.wait_for_problem("no network interface is up that carries multicast")
        near.ip("link", "set", "lo", "up")
        one.wait_for_problem("on loopback alone")
        one.quit()


def test_a_firewall_is_noticed(pair: tuple[Host, Host]) -> None:
    near, far = pair
    cable(near, far)
    near.drop("-p", "udp", "--dport", "5353")
    with peer(near, 1, "--scan", "0.5") as one, peer(far, 2) as two:
        one.wait_for_problem("does not hear its own announcements")
        two.sees(1)
        near.let_in()
        one.sees(2)
        one.wait_for_problem("")


HOLD_PORT = """
import socket
held = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
held.bind(("::", 5353))
print("held", flush=True)
input()
"""


def test_a_taken_port_is_a_problem_until_it_is_free(pair: tuple[Host, Host]) -> None:
    near, far = pair
    cable(near, far)
    with ExitStack() as stack:
        holder = subprocess.Popen(
            near.inside("python3", "-c", HOLD_PORT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(holder.wait)
        stack.callback(holder.kill)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        one = stack.enter_context(peer(near, 1, "--scan", "0.5"))
        one.wait_for_problem("cannot use UDP port 5353")
        holder.communicate("\n")
        one.wait_for_problem("")
        with peer(far, 2) as two:
            one.sees(2)
            two.sees(1)


@pytest.mark.parametrize("kind", ["noise", "mutants", "halves", "liars", "crowd"])
def test_a_rude_neighbour_changes_nothing(pair: tuple[Host, Host], kind: str) -> None:
    """Whatever it sends, who is really there is found, and nobody is told of what cannot be a node."""
    near, far = pair
    cable(near, far)
    with peer(near, 1) as one:
        rude = far.start("tests.net.rude_neighbour", kind, "10.77.0.2")
        assert rude.communicate(timeout=PATIENCE)[0] == "sent\n"
        with peer(far, 2) as two:
            two.sees(1, lambda said: said["tags"] == tags(1))
            said = one.sees(2, lambda said: said["tags"] == tags(2))
            assert dial(one, said, "10.77.0.2")
        count = one.ask("count", "count")
        assert {"noise": count == 1, "liars": count == 1, "crowd": 100 < count <= MAX_PEERS}.get(kind, True), count
        one.quit()


async def test_a_slow_reader_misses_nothing() -> None:
    """On loopback, where other tests may have nodes: more changes than the channel holds, told as they ended."""
    me, other = id_of(101), id_of(102)
    async with lan_discovery(me, 1, host="127.0.0.1") as lan:
        async with lan_discovery(other, 2, host="127.0.0.1") as its:
            await seen(lan.sightings, lambda news: news.node_id == other)
            for number in range(QUEUED + 1):
                its.update([bytes([number] * 16)])
            last = frozenset({bytes([QUEUED] * 16)})
            await seen(lan.sightings, lambda news: isinstance(news, Sighting) and news.tags == last)
            assert [one.tags for one in lan.peers if one.node_id == other] == [last]
            its.update(bytes([number] * 16) for number in range(MAX_TAGS + 1))
            await seen(lan.sightings, lambda news: isinstance(news, Sighting) and len(news.tags) == MAX_TAGS)
        await seen(lan.sightings, lambda news: news == Gone(other))


async def seen(
    sightings: "trio.MemoryReceiveChannel[Sighting | Gone]", fits: Callable[[Sighting | Gone], bool]
) -> None:
    with trio.fail_after(PATIENCE):
        async for news in sightings:
            if fits(news):
                return


async def test_nobody_has_to_listen() -> None:
    async with lan_discovery(id_of(103), 1, host="127.0.0.1") as lan:
        lan.sightings.close()
        async with lan_discovery(id_of(104), 2, host="127.0.0.1") as other:
            await seen(other.sightings, lambda news: news.node_id == id_of(103))


async def test_errors_in_the_context_come_out_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        async with lan_discovery(id_of(105), 1, host="127.0.0.1"):
            raise ZeroDivisionError


async def test_cancelled_at_once() -> None:
    with trio.CancelScope() as scope:
        async with lan_discovery(id_of(106), 1, host="127.0.0.1"):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
