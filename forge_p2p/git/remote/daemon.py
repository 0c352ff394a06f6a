"""A connection to `git daemon` that git talks over by way of its helper for Forge, where Forge has nothing.

`connect` (gitremote-helpers(7)) hands git a stream to the service that it asks for; here it is the one that git would
have opened itself: gitprotocol-pack(5), "Git Transport". So there is no question beside it, and nothing that git does
over it is seen to but its first fetch.

Where anybody has told git to do something else about such URLs, git itself is left to find out what.

Imports next to nothing, as `relay`.
"""

import _socket
import os
import select
from collections.abc import Mapping

from forge_p2p.git.remote.standing import SERVICES, StandIn, write_all

_SCHEME = "git://"
_PORT = 9418

_CAPABILITIES = b"connect\noption\nfetch\npush\ncheck-connectivity\nobject-format\n\n"

_SAID_IN = ("GIT_ALLOW_PROTOCOL", "GIT_PROTOCOL_FROM_USER", "GIT_PROXY_COMMAND", "GIT_OVERRIDE_VIRTUAL_HOST")
_SAID_BY = ("protocol.", "core.gitproxy", "url.")
"""Variables and settings that change how git connects, or whether."""

_FAMILIES = {b"family ipv4": _socket.AF_INET, b"family ipv6": _socket.AF_INET6}

_LABEL = 63
"""Characters between two dots of a host's name (RFC 1035)."""

_READ = 1 << 18
_LENGTH = 4
_TOLD = 500
"""Bytes of its reason that are shown; git shows it as well."""
_FIRST = (b"command=fetch", b"want ")
"""What a request for objects begins with behind its length, of the newest protocol and of those before."""


def is_plain(url: str, settings: Mapping[str, str], environment: Mapping[str, str]) -> bool:
    """Whether it is all that there is to know about where to connect to, and how."""
    told = any(name in environment for name in _SAID_IN) or any(name.startswith(_SAID_BY) for name in settings)
    return not told and _parted(url) is not None


def _parted(url: str) -> tuple[str, int, str] | None:
    """Host, port and path; `None` if there is anything in it that git would have to make out."""
    place, _, path = url.removeprefix(_SCHEME).partition("/")
    host, colon, port = place.partition(":")
    is_clear = url.isascii() and url.isprintable() and not set(url) & set(" %?#@[]\\")
    is_clear &= all(0 < len(label) <= _LABEL for label in host.split("."))
    if not (is_clear and path) or path.startswith("~") or (colon and not (port.isdigit() and int(port) < 1 << 16)):
        return None
    return host, int(port or _PORT), f"/{path}"


class Daemon(StandIn):
    """To the daemon at a plain URL."""

    _family = 0
    """Of addresses: any."""
    _refusal: str | None = None
    """What the server has begun with, if that is why there is nothing; None before it has said anything."""

    def run(self, source: int, sink: int) -> bytes | str:
        """See `StandIn`."""
        os.write(sink, _CAPABILITIES)
        said = b""
        while data := os.read(source, _READ):
            said += data
            while b"\n" in said:
                line, _, said = said.partition(b"\n")
                word, _, rest = line.partition(b" ")
                if word == b"connect" and rest in SERVICES:
                    return self._connect(rest, source, sink)
                if word != b"option":
                    return line or ""
                self.hear(rest)
                self._family = _FAMILIES.get(rest, self._family)
                os.write(sink, b"unsupported\n" if rest.startswith(b"servpath ") else b"ok\n")
        return ""

    def _connect(self, service: bytes, source: int, sink: int) -> str:
        """Why there is nothing to be had; empty once git has what it wants."""
        parted = _parted(self.url)
        assert parted is not None
        host, port, path = parted
        self.begin_asking()
        try:
            connection = _connected(host, port, self._family)
        except OSError as error:
            return error.strerror or str(error)
        try:
            place = self.url.removeprefix(_SCHEME).partition("/")[0]
            request = b"%s %s\0host=%s\0\0version=2\0" % (service, path.encode(), place.encode())
            connection.sendall(b"%04x" % (_LENGTH + len(request)) + request)
            os.write(sink, b"\n")
            self._pump(connection, source, sink)
        except OSError:
            pass  # one of the two has gone, and git tells of the other
        finally:
            connection.close()
        return self._refusal or ""

    def _pump(self, connection: _socket.socket, source: int, sink: int) -> None:
        server = connection.fileno()
        waiting = select.poll()
        for each, events in ((server, select.POLLIN), (source, select.POLLIN), (sink, 0)):
            waiting.register(each, events)
        while True:
            ready = {each for each, _ in waiting.poll()}
            if sink in ready:  # where git listens no longer
                return
            if source in ready and not self._pass_on(os.read(source, _READ), connection):
                waiting.unregister(source)
            if server in ready:
                if not (data := os.read(server, _READ)):
                    return
                if self._refusal is None:
                    self._refusal = _told_instead(data)
                write_all(sink, data)

    def _pass_on(self, data: bytes, connection: _socket.socket) -> bool:
        """Whether there is more to come: git closes its end when it has said all, and listens on."""
        if data.startswith(_FIRST, _LENGTH):
            self.begin_fetching()
        if data:
            connection.sendall(data)
        else:
            connection.shutdown(_socket.SHUT_WR)
        return bool(data)


def _told_instead(data: bytes) -> str:
    """What a server says instead of what was asked for, safe for a terminal; empty if it says that."""
    if not data.startswith(b"ERR ", _LENGTH):
        return ""
    from forge_p2p.content.pathtext import path_text

    return path_text(data[_LENGTH + 4 :][:_TOLD].strip())


def _connected(host: str, port: int, family: int) -> _socket.socket:
    """Tries all addresses of this family. Raises `OSError`."""
    fault = OSError("it has no address")
    for found, kind, protocol, _, address in _socket.getaddrinfo(host, port, family, _socket.SOCK_STREAM):
        connection = _socket.socket(found, kind, protocol)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            fault = error
        else:
            connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
            return connection
    raise fault
