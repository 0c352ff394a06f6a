"""Hosts on a cable of their own: network namespaces of this machine. They need root, `ip` and `iptables`."""

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cli.harness import ROOT

PACKAGES = {"ip": "iproute2", "iptables": "iptables", "ip6tables": "iptables"}

_numbers = itertools.count()


def run(*words: str) -> str:
    """What the command printed. Fails the test, saying why."""
    program = shutil.which(words[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert program is not None, f"{words[0]} is not installed: apt-get install {PACKAGES[words[0]]}"
    done = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr} (these tests need root)"
    return done.stdout


@dataclass(frozen=True)
class Host:
    """One namespace, which has `lo` and, when cabled, `lan0`."""

    namespace: str

    def ip(self, *words: str) -> str:
        """Runs `ip` in it."""
        return run("ip", "-n", self.namespace, *words)

    def inside(self, *words: str) -> list[str]:
        """The words that run a command in it."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def start(self, module: str, *arguments: str) -> "subprocess.Popen[str]":
        """A Python module as a process in it, with pipes."""
        words = self.inside(sys.executable, "-m", module, *arguments)
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def drop(self, *rule: str) -> None:
        """Makes its firewall drop what comes in and fits the rule."""
        for command in ("iptables", "ip6tables"):
            run(*self.inside(command, "-A", "INPUT", *rule, "-j", "DROP"))

    def let_in(self) -> None:
        """Opens its firewall again."""
        for command in ("iptables", "ip6tables"):
            run(*self.inside(command, "-F", "INPUT"))

    def wait_for_ipv6(self) -> None:
        """Waits until `lan0` has given itself an address, which it does a while after the cable is there."""
        for _ in range(500):
            if "scope link" in self.ip("-6", "addr", "show", "dev", "lan0"):
                return
            time.sleep(0.02)
        raise AssertionError(f"{self.namespace} has no IPv6 address on lan0")

    def set(self, setting: str, value: str) -> None:
        """Sets a kernel parameter of its network: `net/…`."""
        run(*self.inside("sh", "-c", f"echo {value} > /proc/sys/{setting}"))


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Hosts with nothing but loopback, removed afterwards with all that runs in them."""
    made = [Host(f"forge-{os.getpid()}-{next(_numbers)}") for _ in range(count)]
    try:
        for host in made:
            run("ip", "netns", "add", host.namespace)
            host.ip("link", "set", "lo", "up")
            host.set("net/ipv6/conf/default/accept_dad", "0")  # looking for duplicates of its addresses takes 2 s
        yield made
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "del", host.namespace], check=False, capture_output=True)


def cable(near: Host, far: Host, addresses: Sequence[str] = ("10.77.0.1/24", "10.77.0.2/24")) -> None:
    """Connects two hosts by their `lan0`. Without `addresses` they have those that IPv6 gives itself."""
    near.ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", far.namespace)
    for host, address in zip((near, far), addresses, strict=False):
        host.ip("addr", "add", address, "dev", "lan0")
    for host in (near, far):
        host.ip("link", "set", "lan0", "up")
