"""Whether LAN discovery can work here: this machine's own multicast has to come back to it on every link."""

import os
import secrets
import select
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from forge_p2p.net.interfaces import Interface, interfaces
from forge_p2p.node.doctor.findings import ok, warn
from forge_p2p.node.results import Finding

PORT: Final = 5353
GROUPS: Final = {4: "224.0.0.251", 6: "ff02::fb"}
"""mDNS, RFC 6762 section 3."""

TIMEOUT: Final = 0.5

INSTEAD: Final = "name peers by net.peers in config.toml or --peer, or turn LAN discovery off with net.lan = false"


def check_multicast(wanted: bool) -> Finding:
    """Sends an mDNS question on every link and listens for it."""
    if not wanted:
        return ok("LAN", "discovery is turned off (net.lan)")
    links = [one for one in interfaces() if one.carries_multicast]
    if not links:
        return warn("LAN", f"no interface carries multicast{_inside()}: nodes of this LAN are not found", _way_out())
    tries = [(link, version) for link in links for version in sorted({each.version for each in link.addresses})]
    with ThreadPoolExecutor(len(tries)) as pool:
        problems = list(pool.map(lambda tried: _try(*tried), tries))
    results = [
        (f"{link.name} (IPv{version})", problem) for (link, version), problem in zip(tries, problems, strict=True)
    ]
    heard = ", ".join(where for where, problem in results if not problem)
    deaf = ", ".join(f"{where}: {problem}" for where, problem in results if problem)
    if not deaf:
        radio = any(Path(f"/sys/class/net/{link.name}/wireless").exists() for link in links)
        beyond = "; an access point may still keep it from others" if radio else ""
        return ok("LAN", f"multicast is heard on {heard}{beyond}{_bounds()}")
    still = f"; it is heard on {heard}" if heard else ""
    return warn("LAN", f"multicast does not work on {deaf}{still}{_inside()}", _way_out())


def _try(link: Interface, version: int) -> str:
    """What keeps a packet to the group from being heard on this link; empty when it was heard."""
    question = _question()
    try:
        with ExitStack() as stack:
            listener = stack.enter_context(_opened(version))
            listener.bind(("", PORT))
            _join(listener, link, version)
            sender = stack.enter_context(_opened(version))
            _speak_on(sender, link, version)
            sender.sendto(question, (GROUPS[version], PORT))
            return "" if _hears(listener, question) else "a firewall or the network drops it"
    except OSError as error:
        return error.strerror or str(error)


def _opened(version: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return opened


def _join(listener: socket.socket, link: Interface, version: int) -> None:
    if version == 6:
        membership = socket.inet_pton(socket.AF_INET6, GROUPS[6]) + struct.pack("@I", link.index)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
    else:
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _mreqn(link))


def _speak_on(sender: socket.socket, link: Interface, version: int) -> None:
    if version == 6:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.index)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    else:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _mreqn(link))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)


def _mreqn(link: Interface) -> bytes:
    """struct ip_mreqn: group, address, interface."""
    return struct.pack("@4s4si", socket.inet_aton(GROUPS[4]), bytes(4), link.index)


def _hears(listener: socket.socket, question: bytes) -> bool:
    """Whether `question` is among what arrives; the port has other traffic, too."""
    while select.select([listener], [], [], TIMEOUT)[0]:
        if listener.recv(9000) == question:
            return True
    return False


def _question() -> bytes:
    """An mDNS query for the address of a name that nobody has."""
    label = f"forge-doctor-{secrets.token_hex(4)}".encode()
    name = bytes([len(label)]) + label + b"\x05local\0"
    return struct.pack(">6H", 0, 0, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1)


def _is_container() -> bool:
    marks = ("/.dockerenv", "/run/.containerenv")
    return any(os.path.exists(mark) for mark in marks) or "container" in os.environ


def _inside() -> str:
    return " in this container" if _is_container() else ""


def _bounds() -> str:
    return "; this is a container, whose LAN may be other containers alone" if _is_container() else ""


def _way_out() -> str:
    first = (
        "give the container the host's network (docker run --network host)"
        if _is_container()
        else "let UDP port 5353 in"
    )
    return f"{first}, or {INSTEAD}"
