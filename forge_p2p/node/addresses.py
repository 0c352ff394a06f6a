"""The addresses that a ticket should carry: where this node can be reached from elsewhere."""

import ipaddress

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
    from forge_p2p.errors import UsageError

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
