"""A network for tests: keys, certificates and chains, right ones and wrong ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.content.contact import Contact
from forge_p2p.content.invite import Token, enrol
from forge_p2p.content.membership import Certificate, Chain, Role, issue_certificate
from forge_p2p.content.revocation import Revocation, revoke
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.node.membership.networks import Joined

NOW = 1_800_000_000
DAY = 86_400


def key(number: int) -> Ed25519PrivateKey:
    """Always the same one."""
    return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


def public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


@dataclass
class Member:
    """A node in a network."""

    private: Ed25519PrivateKey
    chain: Chain

    @property
    def node_id(self) -> NodeId:
        return NodeId(public(self.private))


@dataclass
class World:
    """A network and its key. Numbers name keys: the same number, the same key. `now`: when all is signed."""

    number: int = 1000
    secret: bytes = bytes(range(32))
    name: str = "studio"
    now: int = NOW
    key: Ed25519PrivateKey = field(init=False)
    id: NetworkId = field(init=False)

    def __post_init__(self) -> None:
        self.key = key(self.number)
        self.id = NetworkId(public(self.key))

    def certificate(
        self,
        issuer: Ed25519PrivateKey,
        subject: int,
        role: Role,
        *,
        delegable: bool = False,
        issued: int | None = None,
        expires: int = 0,
        label: str = "",
    ) -> Certificate:
        return issue_certificate(
            issuer,
            self.id,
            public(key(subject)),
            role,
            issued=self.now - DAY if issued is None else issued,
            expires=expires,
            delegable=delegable,
            label=label,
        )

    def founder(self, number: int = 1) -> Member:
        """An admin by the network's key itself."""
        return Member(key(number), (self.certificate(self.key, number, Role.ADMIN),))

    def token(
        self,
        number: int,
        role: Role = Role.READER,
        by: Member | None = None,
        expires: int = 0,
        contacts: Sequence[Contact] = (),
        label: str = "",
    ) -> Token:
        """A token by the network's key, or by an admin."""
        issuer, above = (by.private, by.chain) if by else (self.key, ())
        certificate = self.certificate(issuer, number, role, delegable=True, expires=expires, label=label)
        seed = key(number).private_bytes_raw()
        return Token(self.id, self.name, (*above, certificate), tuple(contacts), self.secret, seed)

    def member(self, number: int, token: Token, now: float | None = None, label: str = "") -> Member:
        """Who joined by a token."""
        return Member(key(number), enrol(token, NodeId(public(key(number))), self.now if now is None else now, label))

    def revoke(self, revoked: bytes, by: Member | None = None, time: int | None = None) -> Revocation:
        """A revocation by the network's key, or by a member."""
        signer, chain = (by.private, by.chain) if by else (self.key, ())
        return revoke(signer, self.id, revoked, time=self.now if time is None else time, chain=chain)

    @classmethod
    def of(cls, joined: Joined, now: int) -> "World":
        """The network that a node has made."""
        world = cls(secret=joined.secret, name=joined.name, now=now)
        assert joined.key is not None
        world.key, world.id = joined.key, joined.network
        return world
