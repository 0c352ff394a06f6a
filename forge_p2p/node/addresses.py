"""Addresses as people write them, and those that a ticket carries: where this node can be reached from elsewhere."""

import ipaddress

from forge_p2p.content.contact import Contact
from forge_p2p.errors import UsageError
from forge_p2p.ids import NODE_ID_SIZE, NodeId
from forge_p2p.net.base import Address

MAX_ADDRESSES = 8
"""More would make a ticket long; a machine with more interfaces is reached by its first ones."""


def reachable(listening: Address) -> list[Address]:
    """Addresses of this machine's interfaces on the listening port, IPv4 first; only the one listened on, if it is one
    in particular; loopback when there is nothing else."""
    host = ipaddress.ip_address(listening.host)
    if not host.is_unspecified:
        return [listening]
    found = [ip for ip in _interface_addresses() if host.version == 6 or ip.version == 4]
    useful = [ip for ip in found if not (ip.is_loopback or ip.is_link_local or ip.is_multicast)]
    chosen = sorted(useful, key=lambda ip: ip.version) or [ipaddress.ip_address("127.0.0.1")]
    return [Address(str(ip), listening.port) for ip in chosen[:MAX_ADDRESSES]]


def _interface_addresses() -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    import ifaddr

    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            found.append(ipaddress.ip_address(text))
    return found


def parse_listen(text: str) -> Address:
    """`ADDR:PORT`, `[V6ADDR]:PORT`, `:PORT` or `PORT`. Raises `UsageError`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "::"
    try:
        number = int(port)
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise UsageError(
            f"cannot listen on {text!r}: {error}", hint="write ADDR:PORT, for example 0.0.0.0:7000"
        ) from error
    if not 0 <= number <= 65535:
        raise UsageError(f"cannot listen on {text!r}: port {number} is not between 0 and 65535")
    return Address(str(address), number)


def parse_peer(text: str) -> Contact:
    """`NODEID@ADDR:PORT` or `NODEID@[V6ADDR]:PORT`: a static peer. Raises `UsageError`."""
    written, at, place = text.strip().rpartition("@")
    host, _, port = place.rpartition(":")
    if not at or not port.isascii() or not port.isdecimal() or (":" in host) != host.startswith("["):
        raise _no_peer(text, "it is not of the form NODEID@ADDR:PORT")
    try:
        node_id = NodeId(bytes.fromhex(written))
    except ValueError:
        node_id = NodeId(b"")
    if len(node_id) != NODE_ID_SIZE:
        raise _no_peer(text, f"a node id has {2 * NODE_ID_SIZE} hexadecimal digits")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise _no_peer(text, f"{host!r} is not a numeric IP address") from None
    if address.is_unspecified or address.is_multicast or not 0 < int(port) <= 65535:
        raise _no_peer(text, f"nobody can be reached at {place}")
    return Contact(node_id, ((str(address), int(port)),))


def _no_peer(text: str, reason: str) -> UsageError:
    hint = "write NODEID@192.0.2.1:4433 or NODEID@[2001:db8::1]:4433; forge status on that machine shows both"
    return UsageError(f"{text!r} is not a peer: {reason}", hint=hint)
