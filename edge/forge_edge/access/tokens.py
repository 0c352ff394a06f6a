"""Bearer tokens: what a client without Forge shows in `Authorization: Bearer fgate1…`.

A gateway's token is not a network's. A network's token makes whoever holds it a member, who learns the network's secret
and can speak for it everywhere; a web proxy's log or a build's environment is no place for that. This one opens a
gateway, for one network, to read or to write, until it expires or its id is revoked.

    MessagePack array: key number, id (8 bytes), network (32 bytes), may write, expiry (Unix seconds, 0 = never), label
    HMAC-SHA256 of "forge-gateway token" and the array (32 bytes)
"""

import os
import time
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from forge_edge.access.keys import MAC_SIZE, Keys, gateway_folder
from forge_p2p.content.armor import armor, unarmor
from forge_p2p.errors import DiskError, Refused, StoreError, UsageError
from forge_p2p.ids import NetworkId
from forge_p2p.node.home import Home, unwritable
from forge_p2p.node.records import write_record

TOKEN_VERSION: Final = 1
TOKEN_CHARS: Final = 512
"""No token is longer."""

ID_SIZE: Final = 8
_NAME: Final = "fgate"
_DOMAIN: Final = b"forge-gateway token\0"


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    key: int
    id: Annotated[bytes, Meta(min_length=ID_SIZE, max_length=ID_SIZE)]
    network: Annotated[bytes, Meta(min_length=32, max_length=32)]
    write: bool
    expires: Annotated[int, Meta(ge=0, le=1 << 40)]
    label: Annotated[str, Meta(max_length=64)]


@dataclass(frozen=True, slots=True)
class GatewayToken:
    """What a token that was verified gives. `expires`: Unix seconds, 0 = never."""

    id: bytes
    network: NetworkId
    write: bool
    expires: int
    label: str


def issue_token(keys: Keys, network: NetworkId, *, write: bool, expires: int, label: str = "") -> tuple[str, str]:
    """A new token, and its id in hex."""
    body = _Body(keys.newest(), os.urandom(ID_SIZE), network, write, expires, label)
    data = msgspec.msgpack.encode(body)
    _, mac = keys.sign(_DOMAIN + data)
    return armor(_NAME, TOKEN_VERSION, data + mac), body.id.hex()


def read_token(keys: Keys, revoked: frozenset[bytes], text: str) -> GatewayToken:
    """What `text` gives now. Raises `Refused`, which never quotes it."""
    refused = Refused("this token is not one of this gateway's, or is not good any more")
    if len(text) > TOKEN_CHARS:
        raise refused
    try:
        _, data = unarmor(text, (_NAME,), TOKEN_VERSION, "token")
        body = msgspec.msgpack.decode(data[:-MAC_SIZE], type=_Body)
    except (UsageError, msgspec.DecodeError, ValueError):
        raise refused from None
    if not keys.is_signed(body.key, _DOMAIN + data[:-MAC_SIZE], data[-MAC_SIZE:]) or body.id in revoked:
        raise refused
    if body.expires and body.expires <= time.time():
        raise refused
    return GatewayToken(body.id, NetworkId(body.network), body.write, body.expires, body.label)


class Revoked:
    """Ids of tokens that are not good any more, in `path`: HOME/gateway/revoked, one in hex a line."""

    def __init__(self, home: Home) -> None:
        self.path = gateway_folder(home) / "revoked"

    def ids(self) -> frozenset[bytes]:
        """All of them. Raises `StoreError` for a line that is none: a typing error must not let anybody in."""
        try:
            found = frozenset(bytes.fromhex(line) for line in self.path.read_text("ascii").split())
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise DiskError(f"cannot read {self.path}: {error.strerror}") from error
        except ValueError as error:
            raise StoreError(
                f"{self.path} has a line that is no token's id", hint="until it is put right, nobody is let in"
            ) from error
        return found

    def add(self, identity: str) -> None:
        """Revokes one. Raises `UsageError`, `StoreError`, `DiskError`."""
        try:
            new = bytes.fromhex(identity)
        except ValueError:
            new = b""
        if len(new) != ID_SIZE:
            raise UsageError(f"{identity!r} is no token's id", hint="forge-edge token prints it beside the token")
        lines = sorted(each.hex() for each in self.ids() | {new})
        try:
            write_record(self.path, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            raise unwritable(str(self.path), error) from error
