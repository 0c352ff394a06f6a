"""One request as far as it can be judged before anything is looked up."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aiohttp import web

from forge_edge.access.limits import client_of, plain_address
from forge_edge.settings import Network

if TYPE_CHECKING:
    from forge_edge.access.grants import Grant

QUERY_FIELDS = 16

UNKNOWN = "unknown"
"""Who asks from an address that is none: one client, and in no network."""


@dataclass(slots=True)
class Asked:
    """`path` as it was sent, percent-encoded; `client`: an address, as `access.limits` counts them. `grant` is set once
    the credentials are known to be good."""

    raw: web.BaseRequest
    method: str
    path: str
    query: dict[str, str]
    address: str
    client: str
    grant: "Grant | None" = None
    sent: int = 0
    """Bytes of the answer's body so far."""

    def header(self, name: str) -> str:
        """A header's value, empty if there is none."""
        return self.raw.headers.get(name, "")


def asked_by(raw: web.BaseRequest, proxies: tuple[Network, ...]) -> Asked:
    """Reads a request. `proxies` are believed when they say whom they speak for."""
    path, _, query = raw.raw_path.partition("?")
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS)) if query else {}
    except ValueError:
        fields = {"": ""}
    address = raw.remote or UNKNOWN
    if proxies and is_in(address, proxies):
        address = _forwarded(raw.headers.getall("X-Forwarded-For", []), proxies) or address
    return Asked(raw, raw.method, path, fields, address, client_of(address))


def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of these networks."""
    try:
        plain = plain_address(address)
    except ValueError:
        return False
    return any(plain in each for each in networks)


def _forwarded(headers: list[str], proxies: tuple[Network, ...]) -> str:
    """The last address of X-Forwarded-For that no proxy of ours is: what comes before it is only claimed. Some proxies
    add a header of their own to one that a client sent, so all of them count, as one list (RFC 9110, 5.3). Whoever is
    behind a proxy is never taken for the proxy itself; empty only if the proxy speaks for nobody."""
    for text in reversed(",".join(headers).split(",") if headers else []):
        address = text.strip()
        try:
            ip_address(address)
        except ValueError:
            return UNKNOWN
        if not is_in(address, proxies):
            return address
    return ""
