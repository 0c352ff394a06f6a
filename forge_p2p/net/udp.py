"""One non-blocking UDP socket that moves datagrams in bulk.

A system call a datagram caps a Python process near 50 MB/s. Linux takes up to 64 equal datagrams in one `sendmsg`
(UDP_SEGMENT, "GSO") and hands several of one sender over in one `recvmsg` (UDP_GRO); the callers here speak in such
batches throughout, and where the kernel has neither, the same calls send and read one datagram each.

The don't-fragment bit is set and the kernel's own path MTU cache is not consulted for sending (IP_PMTUDISC_PROBE): ICMP
is easily forged, and `mtu` finds out by itself what gets through. ICMP's word that nothing listens at an address is
passed on with the packet that it quotes, so that the caller can tell whether that was one of its own.
"""

import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address

SocketAddress = tuple[Any, ...]
"""As the socket module has it: (host, port) or (host, port, flow, scope)."""

Datagram = tuple[bytes, SocketAddress]

UDP_SEGMENT = 103
UDP_GRO = 104
"""Options of level IPPROTO_UDP, linux/udp.h; the socket module does not name them."""

IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_PROBE = 3
"""linux/in.h, linux/in6.h: set DF, ignore what ICMP said about the path."""

IP_RECVERR = 11
IPV6_RECVERR = 25
MSG_ERRQUEUE = 0x2000
"""linux/in.h, linux/in6.h, linux/socket.h: ICMP errors in a queue of the socket's, each with the packet it quotes."""

SOCKET_BUFFER = 8 * 1024 * 1024
"""Asked for; the kernel gives at most net.core.{r,w}mem_max."""

MAX_BATCH = 64
"""Segments in one send: UDP_MAX_SEGMENTS of older kernels."""

MAX_BATCH_BYTES = 65_000
"""Below the 65,507 bytes an IPv4 datagram can hold before it is cut."""

_ANCILLARY_SPACE = socket.CMSG_SPACE(4)
_TOO_BIG = (errno.EMSGSIZE, errno.EINVAL, errno.EIO)
_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES)
_ERROR_READS = 64
_QUOTE = 128
"""Bytes of the quoted packet: more than its connection ids need."""


class UdpSocket:
    """A bound socket. `send` and `receive` never block and never raise for what one peer or its network did."""

    def __init__(self, raw: socket.socket, *, offload: bool = True) -> None:
        self._raw = raw
        self._segmenting = offload
        self.too_big: list[SocketAddress] = []
        """Addresses that a datagram was too large for; the reader takes them out."""
        self.refused: list[bytes] = []
        """Beginnings of packets of ours that found no taker, as ICMP quotes them; the reader takes them out."""
        raw.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            raw.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        _set_quietly(raw, socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        _set_quietly(raw, socket.IPPROTO_IP, IP_RECVERR, 1)
        if raw.family == socket.AF_INET6:
            _set_quietly(raw, socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
            _set_quietly(raw, socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        if offload:
            _set_quietly(raw, socket.IPPROTO_UDP, UDP_GRO, 1)

    @classmethod
    def bind(cls, listen: Address, *, offload: bool = True) -> "UdpSocket":
        """Binds; `::` serves IPv4 too, and means IPv4 alone where there is no IPv6. Raises `PeerError`."""
        try:
            return cls(_bound(listen), offload=offload)
        except OSError as error:
            hint = "choose another address or port to listen on"
            raise PeerError(
                f"cannot listen on {listen.host} port {listen.port}: {error.strerror}", hint=hint
            ) from error

    @property
    def raw(self) -> socket.socket:
        return self._raw

    @property
    def address(self) -> Address:
        return self.to_address(self._raw.getsockname())

    def close(self) -> None:
        self._raw.close()

    def to_address(self, address: SocketAddress) -> Address:
        """The plain form: IPv4 peers of a dual-stack socket lose their `::ffff:`, link-local ones keep their scope."""
        host = str(address[0])
        if host.startswith("::ffff:"):
            host = host[7:]
        elif len(address) == 4 and address[3]:
            host = f"{host.partition('%')[0]}%{address[3]}"
        return Address(host, int(address[1]))

    def to_socket_address(self, address: Address) -> SocketAddress:
        """The form this socket sends to. Raises `PeerError` where it cannot."""
        host, _, scope = address.host.partition("%")
        try:
            ip = ipaddress.ip_address(host)
        except ValueError as error:
            raise PeerError(f"{address.host!r} is not a numeric IP address") from error
        if self._raw.family == socket.AF_INET6:
            mapped = f"::ffff:{ip}" if ip.version == 4 else str(ip)
            return (mapped, address.port, 0, _scope_id(scope))
        if ip.version == 6:
            raise PeerError(f"cannot reach {address.host}: this node has IPv4 only", hint="listen on an IPv6 address")
        return (str(ip), address.port)

    def receive(self, limit: int) -> list[tuple[bytes, int, SocketAddress]]:
        """Up to `limit` reads of `(bytes, segment size, sender)`: the bytes are datagrams of the segment size each but
        the last, which may be shorter. Empty when nothing is waiting but ICMP errors."""
        received = []
        read = self._raw.recvmsg
        for _ in range(limit):
            try:
                data, ancillary, _, sender = read(65_536, _ANCILLARY_SPACE)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error about an earlier send, which stands in the queue of errors too
            if data:
                received.append((data, _segment_size(data, ancillary), sender))
        if not received:
            self._read_errors()
        return received

    def send(self, datagrams: Sequence[Datagram]) -> int:
        """Sends in order and returns how many are dealt with; fewer than given means that the socket is full. What the
        network refuses counts as sent, and so as lost: QUIC repeats it."""
        done = 0
        total = len(datagrams)
        while done < total:
            count = self._batch_length(datagrams, done) if self._segmenting else 1
            batch = datagrams[done : done + count]
            try:
                self._send_batch(batch)
            except BlockingIOError:
                break
            except OSError:
                self._send_again(batch)
            done += count
        return done

    def _send_batch(self, datagrams: Sequence[Datagram]) -> None:
        data, address = datagrams[0]
        if len(datagrams) == 1:
            self._raw.sendto(data, address)
            return
        segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", len(data)))]
        self._raw.sendmsg([datagram[0] for datagram in datagrams], segment, 0, address)

    def _send_again(self, datagrams: Sequence[Datagram]) -> None:
        """After an error, which may have been about an earlier send to somebody else: once more, then differently."""
        self._read_errors()
        try:
            self._send_batch(datagrams)
        except OSError as error:
            self._read_errors()
            if len(datagrams) > 1 and error.errno in _TOO_BIG:
                self._send_singly(datagrams)
            elif error.errno == errno.EMSGSIZE:
                self.too_big.append(datagrams[0][1])

    def _read_errors(self) -> None:
        """Empties the queue of ICMP errors, which otherwise keeps the socket looking readable."""
        for _ in range(_ERROR_READS):
            try:
                quoted, ancillary, _, _ = self._raw.recvmsg(_QUOTE, 512, MSG_ERRQUEUE)
            except OSError:
                return
            for level, kind, value in ancillary:
                is_error = (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR))
                if is_error and int.from_bytes(value[:4], sys.byteorder) in _UNREACHABLE:
                    self.refused.append(quoted)

    def _send_singly(self, datagrams: Sequence[Datagram]) -> None:
        """After a refused batch: where the single datagrams pass, the fault was segmentation's, and it stays off."""
        for data, address in datagrams:
            try:
                self._raw.sendto(data, address)
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    self._read_errors()
                    self.too_big.append(address)
                    return
        self._segmenting = False

    def _batch_length(self, datagrams: Sequence[Datagram], start: int) -> int:
        """How many from `start` on one system call can take: one address, one size, the last may be shorter."""
        data, address = datagrams[start]
        size = len(data)
        most = min(MAX_BATCH, MAX_BATCH_BYTES // size, len(datagrams) - start)
        for index in range(start + 1, start + most):
            data, other = datagrams[index]
            if other != address or len(data) > size:
                return index - start
            if len(data) < size:
                return index - start + 1
        return max(most, 1)


def _bound(listen: Address) -> socket.socket:
    host, _, scope = listen.host.partition("%")
    if host == "::":
        try:
            return _bound_to(socket.AF_INET6, ("::", listen.port, 0, 0))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            host = "0.0.0.0"  # noqa: S104 - the caller asked for every interface
    if ":" in host:
        return _bound_to(socket.AF_INET6, (host, listen.port, 0, _scope_id(scope)))
    return _bound_to(socket.AF_INET, (host, listen.port))


def _bound_to(family: socket.AddressFamily, address: SocketAddress) -> socket.socket:
    raw = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        raw.bind(address)
    except OSError:
        raw.close()
        raise
    return raw


def _scope_id(scope: str) -> int:
    if not scope or scope.isdecimal():
        return int(scope or 0)
    try:
        return socket.if_nametoindex(scope)
    except OSError as error:
        raise PeerError(f"there is no network interface named {scope!r}") from error


def _segment_size(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_UDP and kind == UDP_GRO:
            return int.from_bytes(value[:4], sys.byteorder) or len(data)
    return len(data)


def _set_quietly(raw: socket.socket, level: int, option: int, value: int) -> None:
    """Sets what not every kernel has."""
    try:
        raw.setsockopt(level, option, value)
    except OSError:
        return
