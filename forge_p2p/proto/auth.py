"""Who the client is, and what it may have.

The server's identity is proven by TLS before a session starts. The client proves its own by signing the server's fresh
nonce together with the server's id: a proof made for one server or one connection is worth nothing at another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from forge_p2p.ids import Hash, NodeId
from forge_p2p.wire.codes import Code

DOMAIN = b"forge/1 client proof\x00"
"""So that a signature over a hello can never be taken for one over anything else."""

Sign = Callable[[bytes], bytes]
"""Ed25519 over any text, with the node's key; 64 bytes."""


class Scope(Protocol):
    """What a peer may ask for."""

    @property
    def member(self) -> bool:
        """Whether it belongs to the network of the session: only then is it answered about nodes, providers and
        holdings, and are its news heard."""

    def allows(self, chunk: Hash) -> bool:
        """Must not touch the store: how long a refusal takes must not tell whether the chunk is there."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """All chunks or none."""

    allowed: bool
    member: bool = False

    def allows(self, chunk: Hash) -> bool:
        return self.allowed


NOTHING = Fixed(False)
EVERYTHING = Fixed(True)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: `Code.DENIED`, `EXPIRED`, `REVOKED` or `BUSY`, and one line for the person at the other end."""

    code: Code
    reason: str


class Authorizer(Protocol):
    """Decides about a client whose identity is proven. Called once a session."""

    def authorize(self, client_id: NodeId, credentials: bytes, now: float) -> Scope | Refusal | None:
        """`None` when the decision takes longer than a call may: the session then waits for `Session.decide`."""


def proof_text(server_id: NodeId, nonce: bytes, client_id: NodeId) -> bytes:
    """What the client signs. All parts but the domain have a fixed size, so no two tuples give one text."""
    return DOMAIN + server_id + nonce + client_id


def proof_holds(server_id: NodeId, nonce: bytes, client_id: NodeId, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(client_id).verify(signature, proof_text(server_id, nonce, client_id))
    except (InvalidSignature, ValueError):
        return False
    return True
