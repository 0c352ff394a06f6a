"""Where a node speaks, what it says of itself and what it believes of others, on all sorts of machines."""

from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.net.base import Address
from forge_p2p.net.interfaces import IFF_LOOPBACK, IFF_MULTICAST, IFF_POINTOPOINT, IFF_SLAVE, IFF_UP, Interface
from forge_p2p.net.links import MAX_ADDRESSES, MAX_LINKS, Links, choose_links

LAN = IFF_UP | IFF_MULTICAST


def interface(name: str, index: int, flags: int, *addresses: str) -> Interface:
    return Interface(name, index, flags, tuple(ip_interface(address) for address in addresses))


LOOPBACK = interface("lo", 1, IFF_UP | IFF_LOOPBACK, "127.0.0.1/8", "::1/128")
CABLE = interface("test0", 2, LAN, "192.168.1.7/24", "2001:db8::7/64", "fe80::7/64")
WIFI = interface("test1", 3, LAN, "10.1.2.3/16", "fe80::8/64")
BRIDGE = interface("test2", 4, LAN, "172.17.0.1/16")
TUNNEL = interface("test3", 5, LAN | IFF_POINTOPOINT, "10.9.0.2/32")
MACHINE = [LOOPBACK, CABLE, WIFI, BRIDGE, TUNNEL]


def test_every_link_is_spoken_on_and_announced() -> None:
    links = choose_links("::", MACHINE)
    assert set(links.speaking) == {"192.168.1.7", "fe80::7", "10.1.2.3", "fe80::8", "172.17.0.1"}
    assert links.announced == ("192.168.1.7", "10.1.2.3", "172.17.0.1", "2001:db8::7", "fe80::7", "fe80::8")
    assert links.is_lan


def test_a_node_without_ipv6_announces_none() -> None:
    links = choose_links("0.0.0.0", MACHINE)
    assert links.announced == ("192.168.1.7", "10.1.2.3", "172.17.0.1")
    assert links.usable(["192.168.1.9", "2001:db8::9", "fe80::9%2"], 7) == (Address("192.168.1.9", 7),)


@pytest.mark.parametrize(
    ("host", "speaking"), [("10.1.2.3", {"10.1.2.3", "fe80::8"}), ("fe80::8%3", {"10.1.2.3", "fe80::8"})]
)
def test_a_node_on_one_address_announces_that_one(host: str, speaking: set[str]) -> None:
    links = choose_links(host, MACHINE)
    assert links.announced == (host.partition("%")[0],)
    assert set(links.speaking) == speaking


@pytest.mark.parametrize("machine", [MACHINE, [LOOPBACK]])
def test_a_node_on_loopback_stays_there(machine: list[Interface]) -> None:
    links = choose_links("127.0.0.1", machine)
    assert links.speaking == links.announced == ("127.0.0.1",)
    assert not links.is_lan
    assert links.usable(["127.0.0.1", "8.8.8.8"], 7) == (Address("127.0.0.1", 7),)


def test_a_machine_without_a_lan_has_loopback() -> None:
    assert choose_links("::", [LOOPBACK, TUNNEL]).speaking == ("127.0.0.1",)
    assert choose_links("::", []).speaking == ()
    assert choose_links("::1", MACHINE).speaking == ()


@pytest.mark.parametrize("flags", [IFF_MULTICAST, IFF_UP, LAN | IFF_SLAVE, LAN | IFF_POINTOPOINT])
def test_what_is_no_lan(flags: int) -> None:
    assert not choose_links("::", [LOOPBACK, interface("test9", 9, flags, "192.168.1.7/24")]).is_lan


def test_one_address_on_two_interfaces_is_spoken_from_once() -> None:
    """A VLAN has its cable's MAC, and so its link-local address: it speaks from another."""
    vlan = interface("test0.5", 6, LAN, "fe80::7/64", "fd00::7/64")
    assert set(choose_links("::", [CABLE, vlan]).speaking) == {"192.168.1.7", "fe80::7", "fd00::7"}


def test_a_machine_with_many_interfaces() -> None:
    many = [interface(f"veth{number}", number, LAN, f"fe80::{number:x}/64") for number in range(10, 110)]
    links = choose_links("::", [*many, CABLE])
    assert "192.168.1.7" in links.speaking
    assert len(links.speaking) == MAX_LINKS + 1
    assert links.announced[0] == "192.168.1.7"
    assert len(links.announced) == MAX_ADDRESSES


def test_the_likeliest_address_comes_first() -> None:
    heard = ["fe80::9%2", "172.17.0.1", "10.99.0.1", "2001:db8::9", "192.168.1.9", "192.168.1.9"]
    assert [each.host for each in choose_links("::", MACHINE).usable(heard, 7)] == [
        "192.168.1.9",
        "2001:db8::9",
        "10.99.0.1",
        "172.17.0.1",
        "fe80::9%2",
    ]


WRONG = """
8.8.8.8 2600::1 224.0.0.251 ff02::fb 0.0.0.0 :: 127.0.0.1 ::1 255.255.255.255
fe80::9 ::ffff:192.168.1.9 ::ffff:8.8.8.8 nobody 192.168.1.9:80 fe80::9%
"""


@pytest.mark.parametrize("address", ["", *WRONG.split()])
def test_what_is_no_neighbours_address(address: str) -> None:
    """The internet's, everybody's, this machine's own, link-local without a scope, and no address at all."""
    assert choose_links("::", MACHINE).usable([address], 7) == ()


@given(st.lists(st.ip_addresses().map(str) | st.text(max_size=20), max_size=300))
def test_only_so_many(heard: list[str]) -> None:
    assert len(Links(ipv6=True, is_lan=True).usable(heard, 7)) <= MAX_ADDRESSES
