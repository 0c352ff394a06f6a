"""The socket: what is sent in batches arrives as the same datagrams."""

import errno
import select
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address
from forge_p2p.net.udp import MAX_BATCH, Datagram, SocketAddress, UdpSocket


@pytest.fixture
def receivers() -> Iterator[list[UdpSocket]]:
    sockets = [UdpSocket.bind(Address("127.0.0.1", 0)) for _ in range(2)]
    yield sockets
    for each in sockets:
        each.close()


def arrived(receiver: UdpSocket, count: int) -> list[bytes]:
    """The next `count` datagrams, coalesced ones taken apart."""
    found: list[bytes] = []
    while len(found) < count:
        assert select.select([receiver.raw], [], [], 10)[0], f"{len(found)} of {count} arrived"
        for data, segment, _ in receiver.receive(64):
            found += [data[start : start + segment] for start in range(0, len(data), segment)]
    return found


SIZES = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([1, 64, 1200, 1452, 9000])), min_size=1, max_size=100)


@pytest.mark.parametrize("use_offload", [True, False])
def test_batches_arrive_as_they_were_sent(receivers: list[UdpSocket], use_offload: bool) -> None:
    sender = UdpSocket.bind(Address("127.0.0.1", 0), offload=use_offload)

    @given(SIZES)
    def check(sizes: list[tuple[int, int]]) -> None:
        datagrams: list[Datagram] = []
        for number, (receiver, size) in enumerate(sizes):
            address = receivers[receiver].raw.getsockname()
            datagrams.append((number.to_bytes(1).ljust(size, b"."), address))
        assert sender.send(datagrams) == len(datagrams)
        for target in receivers:
            sent = [data for data, address in datagrams if address == target.raw.getsockname()]
            assert arrived(target, len(sent)) == sent

    check()
    sender.close()


def test_a_full_socket_takes_what_it_can() -> None:
    """Nobody reads, and the sender's own buffer is small: the rest stays with the caller."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender = UdpSocket(near, offload=False)

    class Connected(socket.socket):
        def sendto(self, data: bytes, address: object) -> int:  # type: ignore[override]
            return self.send(data)

    connected = Connected(fileno=near.detach())
    sender._raw = connected
    sent = sender.send([(b"x" * 1000, ("", 0))] * 100_000)
    assert 0 < sent < 100_000
    connected.close()
    far.close()


def test_too_large_a_datagram_counts_as_sent_and_is_noted(receivers: list[UdpSocket]) -> None:
    address: SocketAddress = receivers[1].raw.getsockname()
    assert receivers[0].send([(bytes(65_508), address), (b"next", address)]) == 2
    assert receivers[0].too_big == [address]
    assert arrived(receivers[1], 1) == [b"next"]


class Refusing(socket.socket):
    """A kernel that refuses segmentation offload with one error or another."""

    error = errno.EIO
    batches = 0

    def sendmsg(self, *_: object) -> int:
        Refusing.batches += 1
        raise OSError(self.error, "refused")


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_refused_batches_are_sent_singly_from_then_on(receivers: list[UdpSocket], error: int) -> None:
    raw = Refusing(socket.AF_INET, socket.SOCK_DGRAM)
    raw.bind(("127.0.0.1", 0))
    raw.error = error
    Refusing.batches = 0
    sender = UdpSocket(raw)
    address = receivers[0].raw.getsockname()
    for _ in range(3):
        datagrams: list[Datagram] = [(bytes([number]) * 100, address) for number in range(MAX_BATCH + 10)]
        assert sender.send(datagrams) == len(datagrams)
        assert arrived(receivers[0], len(datagrams)) == [data for data, _ in datagrams]
    assert Refusing.batches <= 2, "it tried again and again"
    sender.close()


def test_a_packet_that_finds_no_taker_comes_back_as_a_quote(receivers: list[UdpSocket]) -> None:
    gone = UdpSocket.bind(Address("127.0.0.1", 0))
    address = gone.raw.getsockname()
    gone.close()
    assert receivers[0].send([(b"is anybody there?", address)]) == 1
    assert select.select([receivers[0].raw], [], [], 10)[0]
    assert receivers[0].receive(64) == []
    assert receivers[0].refused == [b"is anybody there?"]
    assert not select.select([receivers[0].raw], [], [], 0)[0], "the queue of errors is empty again"


def test_an_error_about_one_peer_takes_nothing_from_another(receivers: list[UdpSocket]) -> None:
    gone = UdpSocket.bind(Address("127.0.0.1", 0))
    address = gone.raw.getsockname()
    gone.close()
    there = receivers[1].raw.getsockname()
    for number in range(20):
        assert receivers[0].send([(b"lost", address)]) == 1
        assert receivers[0].send([(bytes([number]), there)]) == 1
    assert arrived(receivers[1], 20) == [bytes([number]) for number in range(20)]


def test_what_the_network_refuses_counts_as_lost(receivers: list[UdpSocket]) -> None:
    nowhere: SocketAddress = ("255.255.255.255", 9)  # nobody asked for leave to broadcast
    assert receivers[0].send([(b"lost", nowhere), (b"kept", receivers[1].raw.getsockname())]) == 2
    assert arrived(receivers[1], 1) == [b"kept"]


def test_addresses_have_one_plain_form() -> None:
    dual = UdpSocket.bind(Address("::", 0))
    assert dual.to_address(("::ffff:192.0.2.1", 7, 0, 0)) == Address("192.0.2.1", 7)
    assert dual.to_address(("2001:db8::1", 7, 0, 0)) == Address("2001:db8::1", 7)
    assert dual.to_address(("fe80::1%lo", 7, 0, 1)) == Address("fe80::1%1", 7)
    assert dual.to_socket_address(Address("192.0.2.1", 7)) == ("::ffff:192.0.2.1", 7, 0, 0)
    assert dual.to_socket_address(Address("fe80::1%lo", 7)) == ("fe80::1", 7, 0, 1)
    for host in ("no-such-name", "1.2.3", "", "::1::2"):
        with pytest.raises(PeerError, match="not a numeric IP address"):
            dual.to_socket_address(Address(host, 7))
    with pytest.raises(PeerError, match="no network interface"):
        dual.to_socket_address(Address("fe80::1%nosuch", 7))
    dual.close()
