"""Invite tokens: all that it takes to join a network, as one word of text.

A token is a bearer's: who has the text can make its own chain with the token's key, offline, as often as it likes,
until the token expires or is revoked. Its first part, which an error message may quote, is no secret.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from forge_p2p.content.armor import armor, unarmor
from forge_p2p.content.contact import Contact, pack_contact, unpack_contact
from forge_p2p.content.membership import (
    CHAIN_BYTES_MAX,
    KEY_SIZE,
    LABEL_CHARS,
    Chain,
    Membership,
    decode_chain,
    encode_chain,
    issue_certificate,
    label_fits,
    verify_token_chain,
)
from forge_p2p.content.sealing import SECRET_SIZE
from forge_p2p.errors import Malformed, UsageError
from forge_p2p.ids import NetworkId, NodeId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TOKEN_VERSION: Final = 1
CONTACTS_MAX: Final = 8
NAME_CHARS: Final = LABEL_CHARS

_NAME: Final = "fnet"

_Key = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
_Secret = Annotated[bytes, Meta(min_length=SECRET_SIZE, max_length=SECRET_SIZE)]


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """A token's bytes: a MessagePack array. What is public comes first."""

    network: _Key
    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARS)]
    chain: Annotated[bytes, Meta(max_length=CHAIN_BYTES_MAX)]
    contacts: Annotated[list[tuple[bytes, list[tuple[bytes, int]]]], Meta(max_length=CONTACTS_MAX)]
    secret: _Secret
    seed: _Key


@dataclass(frozen=True, slots=True)
class Token:
    """`name` is the network's; `chain` ends at the token's key, of which `seed` is the private half; `contacts` are
    members to begin with, at most `CONTACTS_MAX`."""

    network: NetworkId
    name: str
    chain: Chain
    contacts: tuple[Contact, ...]
    secret: bytes = field(repr=False)
    seed: bytes = field(repr=False)

    @property
    def key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def id(self) -> bytes:
        """The token's public key, by which it can be revoked."""
        return self.key.public_key().public_bytes_raw()


def name_fits(name: str) -> bool:
    """Whether a network may be called so: 1 to `NAME_CHARS` printable characters without white space around them."""
    return name != "" and name == name.strip() and label_fits(name)


def verify_token(token: Token, now: float) -> Membership:
    """What the token gives, at `now` in Unix seconds. Raises `NotAMember`."""
    return verify_token_chain(token.chain, token.network, token.id, now)


def enrol(token: Token, node: NodeId, now: float, label: str = "") -> Chain:
    """The chain by which `node` is a member, with the token's role and for as long as the token lives. Raises
    `NotAMember` for a token that is not good at `now`."""
    given = verify_token(token, now)
    certificate = issue_certificate(
        token.key, token.network, node, given.role, issued=int(now), expires=given.expires, label=label
    )
    return (*token.chain, certificate)


def format_token(token: Token) -> str:
    """The text of `token`, about 600 characters with two addresses; `parse_token` takes it back."""
    contacts = [pack_contact(contact) for contact in token.contacts[:CONTACTS_MAX]]
    body = _Body(token.network, token.name, encode_chain(token.chain), contacts, token.secret, token.seed)
    return armor(_NAME, TOKEN_VERSION, msgspec.msgpack.encode(body))


def is_token(text: str) -> bool:
    """Whether `text` is meant to be a token."""
    return text.strip().lower().startswith(_NAME)


def parse_token(text: str) -> Token:
    """The token that `text` is; its certificates are not verified yet. Raises `UsageError`, which never quotes what is
    secret: no token, another version, truncated, mistyped, impossible."""
    _, data = unarmor(text, (_NAME,), TOKEN_VERSION, "token")
    try:
        body = msgspec.msgpack.decode(data, type=_Body)
        contacts = tuple(unpack_contact(node_id, addresses) for node_id, addresses in body.contacts)
        token = Token(NetworkId(body.network), body.name, decode_chain(body.chain), contacts, body.secret, body.seed)
    except (msgspec.DecodeError, Malformed) as error:
        raise UsageError(f"this token is malformed: {error}", hint="ask for a new one") from error
    if not name_fits(token.name):
        raise UsageError("this token is malformed: its network has no proper name", hint="ask for a new one")
    return token
