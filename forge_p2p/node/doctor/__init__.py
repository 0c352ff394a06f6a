"""`forge doctor`: one look at everything that a node needs, in plain words.

Each check is a function that looks at the real thing and returns a `Finding`: it writes a file, opens the store, sends
itself a datagram. "fail" is what keeps Forge from working, "warn" what makes it slower or narrower than it could be.
Nothing is repaired and nothing made.
"""

import time
from collections.abc import Callable, Iterator
from functools import cache, partial

from forge_p2p.errors import ForgeError
from forge_p2p.node.control import NoNode
from forge_p2p.node.doctor import disk, memberships, multicast, peers, sockets, system
from forge_p2p.node.doctor.findings import fail
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.results import DoctorResult, Finding, Progress

Check = Callable[[], Finding]


def doctor(node: LocalNode, *, report: Report) -> DoctorResult:
    """Runs every check. A few seconds when something does not answer, half a second otherwise."""
    findings: list[Finding] = []
    for name, check in _checks(node):
        report(Progress("check", items=len(findings), note=name))
        try:
            findings.append(check())
        except ForgeError as error:
            findings.append(fail(name, error.message, error.hint))
    return DoctorResult(
        findings=findings,
        failed=sum(each.verdict == "fail" for each in findings),
        warned=sum(each.verdict == "warn" for each in findings),
    )


def _checks(node: LocalNode) -> Iterator[tuple[str, Check]]:
    """What is looked at, in the order in which one thing rests on another."""
    home, config = node.home, node.config
    status = cache(partial(system.ask_node, home))
    yield "folder", lambda: disk.check_folder(home)
    yield "key", lambda: disk.check_key(home)
    yield "space", lambda: disk.check_space(home.store, config.store)
    yield "file system", lambda: disk.check_file_system(home.store)
    yield "store", lambda: disk.check_store(node)
    yield "node", lambda: system.check_node(home, status())
    yield "clock", lambda: system.check_clock(time.time(), system.known_dates(home))
    yield "open files", system.check_open_files
    yield "port", lambda: sockets.check_port(config.listen, not isinstance(status(), NoNode))
    yield "UDP", sockets.check_udp
    yield "IPv6", sockets.check_ipv6
    yield "UDP buffers", sockets.check_buffers
    yield "UDP offload", sockets.check_offload
    yield "LAN", lambda: multicast.check_multicast(config.net.lan)
    yield "networks", lambda: memberships.check_memberships(node, time.time())
    yield "static peers", lambda: peers.check_peers(node)
