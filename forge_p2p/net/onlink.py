"""A socket that hears its neighbours alone.

mDNS packets leave with a hop limit of 255, and every router takes one off, so a packet that still has 255 was sent on
this link (RFC 6762 section 11). The kernel's own check for that (IP_MINTTL) is for TCP; a classic BPF program of nine
instructions does it for UDP, before the packet costs the process anything.
"""

import contextlib
import ctypes
import socket
import struct
from typing import Final

HOP_LIMIT: Final = 255

_SO_ATTACH_FILTER: Final = 26
_NETWORK_HEADER: Final = 0xFFF00000
"""asm-generic/socket.h; SKF_NET_OFF of linux/filter.h, from where an offset counts from the IP header."""

_LOAD_BYTE: Final = 0x30
_SHIFT_RIGHT: Final = 0x74
_JUMP: Final = 0x05
_JUMP_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_PROGRAM: Final = (
    (_LOAD_BYTE, 0, 0, _NETWORK_HEADER),
    (_SHIFT_RIGHT, 0, 0, 4),
    (_JUMP_EQUAL, 2, 0, 6),  # the version
    (_LOAD_BYTE, 0, 0, _NETWORK_HEADER + 8),  # IPv4's time to live
    (_JUMP, 0, 0, 1),
    (_LOAD_BYTE, 0, 0, _NETWORK_HEADER + 7),  # IPv6's hop limit
    (_JUMP_EQUAL, 0, 1, HOP_LIMIT),
    (_RETURN, 0, 0, 0xFFFFFFFF),  # the whole packet
    (_RETURN, 0, 0, 0),  # none of it
)
"""struct sock_filter: code, jump if true, jump if false, constant."""


def hear_neighbours_only(listener: socket.socket) -> None:
    """Drops what was not sent on this link, and lets what is sent say that it was. Does what the system offers."""
    for level, option in ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)):
        with contextlib.suppress(OSError):  # an IPv4 socket has no hop limit
            listener.setsockopt(level, option, HOP_LIMIT)
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM))
    with contextlib.suppress(OSError):  # not Linux
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_PROGRAM), ctypes.addressof(program))
        )
