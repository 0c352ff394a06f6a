"""A network of hosts: a namespace each, a virtual cable to one switch, and a rate in either direction of each cable.

    host ──eth0 (tbf: up) ══ to-host (tbf: down)── bridge          for hosts without delay and loss
                                              └─── relay ── bridge  for the others: relay.py in the switch's namespace

Cables, addresses and everything else lie inside the namespaces and go with them. Addresses are 10.77.0.N/16 and what
IPv6 gives itself. The bridge floods multicast, so that mDNS works.
"""

import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from simulations.labs import ownership
from simulations.labs.programs import Program, Words
from simulations.labs.tools import LabError, ip, ip_batch, program, require_root, tc

ROOT = Path(__file__).parents[2]
SWITCH = "switch"
BRIDGE = "lan"
OTHER_BRIDGE = "island"
TRUNK, TRUNK_END = "trunk", "trunk-end"

BURST = 128 * 1024
"""Bytes that may leave at full speed: above one frame of a sender that uses segmentation offload, which would be cut
into single datagrams otherwise, at ten times the processor time for everyone on the way."""

QUEUE = 0.08
"""Seconds that a full queue before a cable takes to leave: what a home router or a small switch has."""

QUEUE_MIN = 512 * 1024


@dataclass(frozen=True, slots=True)
class Cable:
    """Rates in bits a second. Delay (seconds), loss and reordering (shares of datagrams) of what the host sends."""

    up: int
    down: int
    delay: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0

    @property
    def slow(self) -> bool:
        """Whether it goes through the relay."""
        return bool(self.delay or self.loss or self.reorder)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes on a cable, headers included, as the rates count them."""

    sent: int
    received: int


@dataclass(slots=True)
class Host:
    """One host. `place` is its number at the switch: it changes when the host moves."""

    name: str
    index: int
    cable: Cable
    namespace: str
    folder: Path
    programs: list[Program] = field(default_factory=list)
    moves: int = 0
    before: Traffic = Traffic(0, 0)
    """What went over cables that it no longer has."""

    @property
    def address(self) -> str:
        return f"10.77.{self.moves}.{self.index}"

    @property
    def interface(self) -> str:
        return f"eth{self.moves}"

    @property
    def plug(self) -> str:
        """The cable's end at the switch."""
        return f"to-{self.name}" if not self.moves else f"to-{self.name}-{self.moves}"

    @property
    def hardware_address(self) -> str:
        return f"02:00:00:00:{self.moves:02x}:{self.index:02x}"

    def start(self, words: Words, environment: Mapping[str, str] | None = None, log: str = "errors.log") -> Program:
        """Starts a program on this host. It is stopped with the lab."""
        started = Program(self.namespace, words, self.folder / log, environment)
        self.programs.append(started)
        return started

    def send_signal(self, number: int) -> None:
        """To every program on it."""
        for each in self.programs:
            each.send_signal(number)

    def errors(self) -> str:
        """The end of what its programs have logged."""
        return "\n".join(
            path.read_text("utf-8", "replace")[-2000:] for path in sorted(self.folder.glob("*.log"))
        ).strip()

    def stop(self) -> None:
        """Ends every program on it, the last one first."""
        for each in reversed(self.programs):
            each.stop()


class Lab:
    """Hosts that are up. Made by `open_lab`."""

    _labs = itertools.count()

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.hosts: dict[str, Host] = {}
        self.folder = folder
        self._prefix = f"{ownership.prefix()}{next(self._labs)}-"
        self._opened = opened
        self.switch = self._namespace(SWITCH)

    def _namespace(self, name: str) -> str:
        namespace = f"{self._prefix}{name}"
        ip("netns", "add", namespace)
        self._opened.callback(ownership.remove_namespace, namespace)
        return namespace

    def build(self, cables: Mapping[str, Cable], seed: int) -> None:
        """Makes hosts, cables, bridges and, where a cable is slow, the relay."""
        _settings(self.switch, {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1})
        bridge = "type bridge mcast_snooping 0 forward_delay 0"
        ip_batch(
            [f"link add name {name} {bridge}\nlink set dev {name} up" for name in (BRIDGE, OTHER_BRIDGE)], self.switch
        )
        for index, (name, cable) in enumerate(cables.items(), 1):
            self._add_host(name, index, cable)
        if any(cable.slow for cable in cables.values()):
            self._start_relay(seed)

    def _add_host(self, name: str, index: int, cable: Cable) -> None:
        folder = self.folder / name
        folder.mkdir()
        host = self.hosts[name] = Host(name, index, cable, self._namespace(name), folder)
        # Duplicate address detection would keep IPv6 addresses unusable for a second or two.
        _settings(host.namespace, {"ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0})
        self._opened.callback(host.stop)
        ip_batch(["link set dev lo up"], host.namespace)
        self._lay_cable(host)

    def _lay_cable(self, host: Host) -> None:
        near, far = host.interface, host.plug
        ends = f"{near} address {host.hardware_address} netns {host.namespace}", f"{far} netns {self.switch}"
        ip_batch([f"link add name {ends[0]} type veth peer name {ends[1]}"])
        joined = [] if host.cable.slow else [f"link set dev {far} master {BRIDGE}"]
        ip_batch([*joined, f"link set dev {far} up"], self.switch)
        ip_batch(
            [
                f"address add {host.address}/16 dev {near}",
                f"link set dev {near} up",
                f"route replace 224.0.0.0/4 dev {near}",
            ],
            host.namespace,
        )
        _set_rate(host.namespace, near, host.cable.up)
        _set_rate(self.switch, far, host.cable.down)

    def _start_relay(self, seed: int) -> None:
        ip_batch(
            [
                f"link add name {TRUNK} type veth peer name {TRUNK_END}",
                f"link set dev {TRUNK_END} master {BRIDGE}",
                f"link set dev {TRUNK} up",
                f"link set dev {TRUNK_END} up",
            ],
            self.switch,
        )
        slow = [host for host in self.hosts.values() if host.cable.slow]
        ports: list[dict[str, object]] = [{"interface": TRUNK, "address": "", "trunk": True}]
        for host in slow:
            cable = host.cable
            faults = {"delay": cable.delay, "loss": cable.loss, "reorder": cable.reorder}
            ports.append({"interface": host.plug, "address": host.hardware_address, **faults})
        words = [sys.executable, "-m", "simulations.labs.hosted.relay"]
        relay = Program(self.switch, words, self.folder / "relay.log", {"PYTHONPATH": str(ROOT)})
        self._opened.callback(relay.stop)
        relay.tell(json.dumps({"ports": ports, "seed": seed}))
        relay.line()
        self.relay = relay

    # What goes wrong with cables

    def unplug(self, name: str) -> None:
        """Pulls a host's cable: both ends see that."""
        ip_batch([f"link set dev {self.hosts[name].plug} down"], self.switch)

    def plug(self, name: str) -> None:
        """Puts it back."""
        ip_batch([f"link set dev {self.hosts[name].plug} up"], self.switch)

    def partition(self, island: Sequence[str]) -> None:
        """Parts the hosts named from all others."""
        self._require_bridged(island)
        ip_batch([f"link set dev {self.hosts[name].plug} master {OTHER_BRIDGE}" for name in island], self.switch)

    def heal(self) -> None:
        """Ends every partition."""
        bridged = [host for host in self.hosts.values() if not host.cable.slow]
        ip_batch([f"link set dev {host.plug} master {BRIDGE}" for host in bridged], self.switch)

    def move(self, name: str) -> None:
        """From Wi-Fi to cable: a new interface with another address appears, and the old one goes."""
        self._require_bridged([name])
        host = self.hosts[name]
        old, host.before = host.interface, self.traffic(name)
        host.moves += 1
        self._lay_cable(host)
        ip_batch([f"link delete dev {old}"], host.namespace)

    def _require_bridged(self, names: Sequence[str]) -> None:
        for name in names:
            if self.hosts[name].cable.slow:
                raise LabError(f"{name} hangs on the relay: only hosts without delay and loss can be moved or parted")

    # What goes over them

    def traffic(self, name: str) -> Traffic:
        """Of one host since the lab was opened."""
        host = self.hosts[name]
        sent = _passed(host.namespace, host.interface)[host.interface]
        received = _passed(self.switch, host.plug)[host.plug]
        return Traffic(host.before.sent + sent, host.before.received + received)

    def received(self) -> dict[str, int]:
        """Bytes that every host has received, at the price of one look."""
        passed = _passed(self.switch)
        return {name: host.before.received + passed.get(host.plug, 0) for name, host in self.hosts.items()}


@contextmanager
def open_lab(cables: Mapping[str, Cable], folder: Path, seed: int = 1) -> Iterator[Lab]:
    """Hosts by name, on one network. Takes everything down in the end, what runs on them included. Raises `LabError`
    where that cannot be had on this machine."""
    require_root()
    for name in ("ip", "tc", "nsenter"):
        program(name)
    ownership.sweep()
    with ExitStack() as opened:
        lab = Lab(folder, opened)
        lab.build(cables, seed)
        yield lab


def _set_rate(namespace: str, interface: str, rate: int) -> None:
    limit = max(QUEUE_MIN, int(rate / 8 * QUEUE))
    tc(namespace, *f"qdisc add dev {interface} root tbf rate {rate}bit burst {BURST} limit {limit}".split())


def _passed(namespace: str, interface: str = "") -> dict[str, int]:
    """Bytes that went out, by interface. The rate limiter counts the headers of every datagram in a frame; the
    interface's own counters would count them once a frame."""
    words = ["-s", "-j", "qdisc", "show", *(["dev", interface] if interface else [])]
    shown = json.loads(tc(namespace, *words))
    return {each.get("dev", interface): each["bytes"] for each in shown if each["kind"] == "tbf"}


def _settings(namespace: str, values: Mapping[str, int]) -> None:
    script = "\n".join(f"echo {value} > /proc/sys/net/{name}" for name, value in values.items())
    ip("netns", "exec", namespace, "sh", "-ec", script)
