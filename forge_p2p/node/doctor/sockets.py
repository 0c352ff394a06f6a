"""UDP on this machine: the port, the way to oneself, and what the kernel gives a socket."""

import errno
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address
from forge_p2p.net.interfaces import Interface, interfaces
from forge_p2p.net.udp import SOCKET_BUFFER, Datagram, UdpSocket
from forge_p2p.node.addresses import parse_listen
from forge_p2p.node.doctor.findings import fail, ok, warn
from forge_p2p.node.doctor.wording import size
from forge_p2p.node.results import Finding

TIMEOUT: Final = 0.5
"""Seconds for a datagram that does not leave the machine."""

BUFFER_ENOUGH: Final = 2 * 1024 * 1024
"""Bytes: what arrives at 1 Gbit/s in 16 ms, for which a busy process may not get the processor."""

SEGMENT: Final = 1200


def check_port(listen: str, node_is_up: bool) -> Finding:
    """Whether the configured address is this machine's, and free. Raises `UsageError` for what is no address."""
    address = parse_listen(listen)
    if node_is_up:
        return ok("port", f"{listen}, in use by the node")
    try:
        UdpSocket.bind(address).close()
    except PeerError as error:
        taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
        hint = "ss -ulpn shows who has it" if taken else "forge up --listen, or listen in config.toml"
        return fail("port", error.message, hint)
    return ok("port", f"{listen} can be listened on" if address.port else f"{listen}: any free one")


def check_udp() -> Finding:
    """Whether each of this machine's addresses takes a datagram from itself."""
    addresses = [address for one in interfaces() if one.is_up for address in _addresses(one)]
    if not addresses:
        return fail("UDP", "this machine has no network address at all", "bring an interface up: ip link, ip addr")
    with ThreadPoolExecutor(len(addresses)) as pool:
        reasons = zip(addresses, pool.map(_talk_to_oneself, addresses), strict=True)
        deaf = [f"{address.host} ({reason})" for address, reason in reasons if reason]
    if deaf:
        which = ", ".join(deaf)
        hint = "a firewall on this machine drops UDP: let UDP in (nft list ruleset, iptables -S show the rules)"
        return fail("UDP", f"datagrams do not get through to {which}", hint)
    return ok("UDP", f"datagrams get through to all {len(addresses)} addresses of this machine")


def _addresses(interface: Interface) -> list[Address]:
    return [
        Address(
            f"{address.ip}%{interface.index}" if address.version == 6 and address.is_link_local else str(address.ip), 0
        )
        for address in interface.addresses
    ]


def _talk_to_oneself(address: Address) -> str:
    """What went wrong in sending a datagram to `address` from there; empty when it came."""
    try:
        listener = UdpSocket.bind(address)
    except PeerError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.EADDRNOTAVAIL:
            return ""  # it has just gone, or is still being checked for duplicates
        return error.message
    try:
        listener.send([(b"forge doctor", listener.raw.getsockname())])
        return "" if _readable(listener.raw) else "nothing arrives"
    finally:
        listener.close()


def _readable(raw: socket.socket) -> bool:
    return bool(select.select([raw], [], [], TIMEOUT)[0])


def check_ipv6() -> Finding:
    """Which of the two internet protocols this machine has."""
    found = {address for one in interfaces() if not one.is_loopback for address in one.addresses}
    versions = {address.version for address in found if not address.is_link_local}
    local = any(address.version == 6 for address in found)
    if versions == {4, 6}:
        return ok("IPv6", "IPv4 and IPv6 addresses")
    if versions == {4}:
        return ok("IPv6", "link-local IPv6 and IPv4" if local else "IPv4 alone: who has IPv6 alone cannot be reached")
    if versions == {6}:
        return ok("IPv6", "IPv6 alone: who has IPv4 alone cannot be reached")
    hint = "connect a network; until then nodes of this machine alone reach each other"
    return warn("IPv6", "link-local IPv6 alone: neighbours on the same cable" if local else "loopback alone", hint)


def check_buffers(enough: int = BUFFER_ENOUGH) -> Finding:
    """Whether the kernel lets a socket have the buffers that a burst needs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        given = {}
        for option, name in ((socket.SO_RCVBUF, "rmem"), (socket.SO_SNDBUF, "wmem")):
            probe.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
            given[name] = probe.getsockopt(socket.SOL_SOCKET, option) // 2  # Linux doubles it for its own records
    small = [f"net.core.{name}_max={SOCKET_BUFFER}" for name, bytes_ in given.items() if bytes_ < enough]
    what = f"{size(given['rmem'])} to receive, {size(given['wmem'])} to send"
    if small:
        hint = f"sysctl -w {' '.join(small)}, and the same in /etc/sysctl.d/ to keep it"
        return warn("UDP buffers", f"{what}: bursts get lost, and fast transfers are slowed down", hint)
    return ok("UDP buffers", what)


def check_offload(*, offload: bool = True) -> Finding:
    """Whether the kernel takes and gives datagrams in bulk."""
    try:
        near, far = (UdpSocket.bind(Address("127.0.0.1", 0), offload=offload) for _ in range(2))
    except PeerError as error:
        return fail("UDP offload", error.message, "bring loopback up: ip link set lo up")
    try:
        to = far.raw.getsockname()
        batch: list[Datagram] = [(bytes([number]) * SEGMENT, to) for number in range(4)]
        near.send(batch)
        reads = far.receive(len(batch)) if _readable(far.raw) else []
    finally:
        near.close()
        far.close()
    if len(reads) == 1:
        return ok("UDP offload", "the kernel takes and gives datagrams in bulk (GSO, GRO)")
    hint = "Linux 5.0 and later have it; some containers' network drivers do not"
    return warn(
        "UDP offload", "the kernel takes datagrams one by one: transfers cost several times the processor", hint
    )
