"""A guarded socket hears what was sent on this link, and nothing that a router has passed on."""

import socket

import pytest

from forge_p2p.net.onlink import HOP_LIMIT, hear_neighbours_only

HOPS = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}


@pytest.mark.parametrize(("listen", "send"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")])
def test_hop_limits(listen: str, send: str) -> None:
    def opened(address: str) -> socket.socket:
        return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)

    with opened(listen) as listener, opened(send) as sender:
        listener.bind((listen, 0))
        hear_neighbours_only(listener)
        for hops in (1, 64, HOP_LIMIT - 1, HOP_LIMIT):
            sender.setsockopt(*HOPS[sender.family], hops)
            sender.sendto(hops.to_bytes(1), (send, listener.getsockname()[1]))
        listener.settimeout(10)
        assert listener.recv(10) == HOP_LIMIT.to_bytes(1)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(10)


@pytest.mark.parametrize("family", HOPS)
def test_what_a_guarded_socket_sends_passes_a_guard(family: socket.AddressFamily) -> None:
    address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family, socket.SOCK_DGRAM) as near, socket.socket(family, socket.SOCK_DGRAM) as far:
        for each in (near, far):
            each.bind((address, 0))
            hear_neighbours_only(each)
        near.sendto(b"hello", far.getsockname())
        far.settimeout(10)
        assert far.recv(10) == b"hello"
