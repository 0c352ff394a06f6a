"""The links that LAN discovery works on: where it speaks, what it says of this node, what it believes of others.

A *link* is an interface that carries multicast. A node speaks from one IPv4 and one IPv6 address of each, and announces
the addresses of all of them: IPv4 first, link-local IPv6 last. Of what others announce it believes only what can be on
a LAN: an address within one of its own networks, or one that no router of the internet would pass on. Otherwise one
forged packet would send every node of the LAN dialling some host far away.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from forge_p2p.net.base import Address
from forge_p2p.net.interfaces import Interface, IpInterface

MAX_LINKS = 16
"""One socket joins the group on all of them, and Linux lets a socket join 20 (net.ipv4.igmp_max_memberships)."""

MAX_ADDRESSES = 8
"""That a node announces, and that are kept of another."""

_CONSIDERED = 64
"""Addresses of one peer that are looked at: a forged packet may hold hundreds."""

IpAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Links:
    """`speaking` and `announced` are numeric addresses without scopes; `own` are all of this machine's, with their
    networks. `is_lan` is false when only loopback is left, where nodes of one machine still find each other."""

    speaking: tuple[str, ...] = ()
    announced: tuple[str, ...] = ()
    own: tuple[IpInterface, ...] = ()
    ipv6: bool = False
    is_lan: bool = False

    def usable(self, texts: Iterable[str], port: int) -> tuple[Address, ...]:
        """Which of a peer's addresses are worth a dial, likeliest first, at most `MAX_ADDRESSES`; link-local IPv6 ones
        need their scope."""
        found: dict[IpAddress, int] = {}
        for text, _ in zip(texts, range(_CONSIDERED), strict=False):
            ip = _parsed(text)
            if ip is not None and (rank := self._rank(ip)) is not None:
                found.setdefault(ip, rank)
        best = sorted(found, key=lambda ip: (found[ip], ip.version, ip.packed))
        return tuple(Address(str(ip), port) for ip in best[:MAX_ADDRESSES])

    def _rank(self, ip: IpAddress) -> int | None:
        """Lower is likelier; `None` for what cannot be a neighbour's."""
        if ip.is_multicast or ip.is_unspecified or ip.is_reserved or (ip.version == 6 and not self.ipv6):
            return None
        if ip.is_loopback:
            return None if self.is_lan else 0
        if isinstance(ip, IPv6Address) and ip.is_link_local:
            return 3 if ip.scope_id else None
        if any(ip == own.ip for own in self.own):
            return 2  # a node of this machine, or an address that every machine has, like that of Docker's bridge
        if any(ip in own.network for own in self.own):
            return 0
        return None if ip.is_global else 1


def choose_links(host: str, interfaces: Sequence[Interface]) -> Links:
    """The links of a node that listens on `host`, "::" and "0.0.0.0" meaning every interface."""
    listening = ip_address(host.partition("%")[0])
    everywhere = listening.is_unspecified
    here = [one for one in interfaces if everywhere or any(listening == own.ip for own in one.addresses)]
    chosen = [] if listening.is_loopback else [one for one in here if one.carries_multicast]
    chosen = sorted(chosen, key=_is_bare)[:MAX_LINKS]
    own = tuple(address for one in interfaces for address in one.addresses)
    if not chosen:
        loopback = any(one.is_loopback for one in here)
        local = ("127.0.0.1",) if loopback and str(listening) != "::1" else ()
        return Links(local, local, own, ipv6=False)
    ipv6 = listening.version == 6
    announced = _announced(chosen, ipv6) if everywhere else (str(listening),)
    return Links(_speaking(chosen), announced, own, ipv6, is_lan=True)


def _is_bare(interface: Interface) -> bool:
    """Whether it has link-local IPv6 alone."""
    return all(address.version == 6 and address.is_link_local for address in interface.addresses)


def _speaking(links: Sequence[Interface]) -> tuple[str, ...]:
    """One address of each version a link. Link-local for IPv6: only packets from there tell the receiver which of its
    own links they came by. An address that two interfaces share would not say which of them is meant."""
    found: dict[str, None] = {}
    for link in links:
        by_version: dict[int, str] = {}
        for address in sorted(link.addresses, key=lambda address: not address.is_link_local):
            text = str(address.ip)
            if text not in found:
                by_version.setdefault(address.version, text)
        found.update(dict.fromkeys(by_version.values()))
    return tuple(found)


def _announced(links: Sequence[Interface], ipv6: bool) -> tuple[str, ...]:
    every = [address for link in links for address in link.addresses if ipv6 or address.version == 4]
    every.sort(key=lambda address: (address.version, address.is_link_local))
    return tuple(dict.fromkeys(str(address.ip) for address in every))[:MAX_ADDRESSES]


def _parsed(text: str) -> IpAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
