"""Credentials that only members can read: a certificate chain, encrypted under the network's secret.

    format (1 byte, 2), nonce (12), ChaCha20-Poly1305 (RFC 8439) of the chain with its tag (16)

The key is HKDF-SHA256 (RFC 5869) of the secret. Server, client and direction are authenticated with it, so that what
one node showed to another opens at no third, and cannot be sent back. A node tries each of its networks: which one the
sender is in, and whether it is in any, is nobody else's to know.
"""

import os
from enum import Enum
from typing import Final

from forge_p2p.ids import NodeId

SEALED_FORMAT: Final = 2
"""First byte; a ticket's capability begins with 1."""

SECRET_SIZE: Final = 32

_INFO: Final = b"forge credentials"
_NONCE: Final = 12
_TAG: Final = 16
OVERHEAD: Final = 1 + _NONCE + _TAG
"""Bytes that sealing adds."""


class Direction(Enum):
    """Who shows the credentials."""

    CLIENT = b"\0"
    SERVER = b"\1"


def seal(
    secret: bytes,
    server: NodeId,
    client: NodeId,
    direction: Direction,
    credentials: bytes,
    *,
    nonce: bytes | None = None,
) -> bytes:
    """`credentials` for one session between these two nodes. `nonce`: 12 bytes, fresh from the operating system unless
    given; random ones may repeat after some 2**32 sessions of a network, and then tell two chains' difference."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if nonce is None:
        nonce = os.urandom(_NONCE)
    sealed = ChaCha20Poly1305(_key(secret)).encrypt(nonce, credentials, server + client + direction.value)
    return bytes((SEALED_FORMAT,)) + nonce + sealed


def unseal(secret: bytes, server: NodeId, client: NodeId, direction: Direction, sealed: bytes) -> bytes | None:
    """What `seal` was given; `None` for what was sealed under another secret or for another session, or was changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if len(sealed) < OVERHEAD or sealed[0] != SEALED_FORMAT:
        return None
    nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
    try:
        return ChaCha20Poly1305(_key(secret)).decrypt(nonce, body, server + client + direction.value)
    except InvalidTag:
        return None


def _key(secret: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), SECRET_SIZE, None, _INFO).derive(secret)
