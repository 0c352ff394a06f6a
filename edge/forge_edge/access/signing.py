"""Signed URLs: one path, for one method, until it expires, for whoever has the URL.

    PATH?expires=UNIX&key=NUMBER[&network=HEX]&signature=BASE64URL

The signature is the HMAC-SHA256 of "forge-gateway url", method, path as sent, expiry and, where there is one, network,
each after a NUL. GET covers HEAD. An upload says whose members may have it; a path says nothing of that. Other
parameters of the query are not covered, and change nothing but the form of the answer.
"""

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Final

from forge_edge.access.keys import MAC_SIZE, Keys
from forge_p2p.errors import Refused
from forge_p2p.ids import NetworkId

PARAMETERS: Final = ("expires", "key", "signature")
METHODS: Final = ("GET", "PUT")


def sign_url(keys: Keys, method: str, path: str, expires: int, network: NetworkId | None = None) -> str:
    """`path` with its signature, good until `expires` (Unix seconds). `network`: whose an upload is."""
    into = network.hex() if network is not None else ""
    number, mac = keys.sign(_message(method, path, expires, into))
    signature = urlsafe_b64encode(mac).decode().rstrip("=")
    return f"{path}?expires={expires}&key={number}{f'&network={into}' if into else ''}&signature={signature}"


def is_signed(query: Mapping[str, str]) -> bool:
    """Whether a request's query is meant to be a signature."""
    return "signature" in query


def require_signature(keys: Keys, method: str, path: str, query: Mapping[str, str]) -> None:
    """Raises `Refused` unless the query signs this request now."""
    expires, number, signature = (query.get(name, "") for name in PARAMETERS)
    refused = Refused("this URL is not signed by this gateway, or has expired")
    if not (_is_number(expires) and _is_number(number) and len(signature) == len(_encoded_zeros())):
        raise refused
    try:
        mac = urlsafe_b64decode(signature + "=")
    except ValueError:
        raise refused from None
    covered = "GET" if method == "HEAD" else method
    message = _message(covered, path, int(expires), query.get("network", ""))
    if not keys.is_signed(int(number), message, mac) or int(expires) <= time.time():
        raise refused


def _message(method: str, path: str, expires: int, network: str) -> bytes:
    parts = ["forge-gateway url", method, path, str(expires), *([network] if network else [])]
    return "\0".join(parts).encode("utf-8", "replace")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 12


def _encoded_zeros() -> str:
    return urlsafe_b64encode(bytes(MAC_SIZE)).decode().rstrip("=")
